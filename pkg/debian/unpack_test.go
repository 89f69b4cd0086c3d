package debian_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

type file = debiantest.File

func reopen(t *testing.T, dir string) *cache.Cache {
	t.Helper()
	c, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func read(t *testing.T, c rootfs.Content) string {
	t.Helper()
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// unpackBytes puts a .deb into a new cache and unpacks it as package some 1.0.
func unpackBytes(t *testing.T, data []byte, limits debian.Limits) (*debian.Package, error) {
	t.Helper()
	store := newStore(t)
	digest, size, err := store.Put(context.Background(), bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	r, err := debian.NewResolver(debian.Options{Store: store, Snapshot: debian.None, Offline: true, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	return r.Unpack(context.Background(), lock.Package{
		Name: "some", Version: "1.0", Arch: "all", Archive: "debian", Path: "pool/some.deb", Size: size, SHA256: strings.TrimPrefix(digest, "sha256:"),
	})
}

func describe(entries []rootfs.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%c %04o %d:%d %s", e.Type, e.Mode, e.UID, e.GID, e.Path)
		if e.Link != "" {
			b.WriteString(" -> " + e.Link)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestUnpackKeepsModesOwnersAndLinks(t *testing.T) {
	for _, compression := range []string{"xz", "gz", "zst", "none"} {
		d := deb{Name: "some", Compression: compression, Fields: fields("Section", "misc"),
			Scripts: map[string]string{"postinst": "#!/bin/sh\n", "conffiles": "/etc/conf\nremove-on-upgrade /etc/gone\n"},
			Files: []file{
				{Name: "/usr/"}, {Name: "/usr/bin/", Mode: 0o755}, {Name: "/usr/bin/su", Mode: 0o4755, Body: "su"},
				{Name: "/usr/bin/sg", Mode: 0o2755, GID: 42, Body: "sg"}, {Name: "/tmp/", Mode: 0o1777, UID: 1, GID: 2},
				{Name: "/usr/bin/alias", Type: tar.TypeLink, Link: "./usr/bin/su"}, {Name: "/usr/bin/again", Type: tar.TypeLink, Link: "./usr/bin/alias"},
				{Name: "/usr/bin/link", Type: tar.TypeSymlink, Link: "../../etc/conf"},
				{Name: "/etc/"}, {Name: "/etc/conf", Body: "conf"}, {Name: "/etc/empty"}, {Name: "/etc/nät \"x\"", Body: "su"},
			}}
		p, err := unpackBytes(t, d.Bytes(), debian.Limits{})
		if err != nil {
			t.Fatalf("%s: %v", compression, err)
		}
		const want = `d 0755 0:0 /usr
d 0755 0:0 /usr/bin
f 4755 0:0 /usr/bin/su
f 2755 0:42 /usr/bin/sg
d 1777 1:2 /tmp
h 0644 0:0 /usr/bin/alias -> /usr/bin/su
h 0644 0:0 /usr/bin/again -> /usr/bin/su
l 0777 0:0 /usr/bin/link -> ../../etc/conf
d 0755 0:0 /etc
f 0644 0:0 /etc/conf
f 0644 0:0 /etc/empty
f 0644 0:0 /etc/nät "x"
`
		if got := describe(p.Entries); got != want {
			t.Errorf("%s:\n%s", compression, got)
		}
		if got := read(t, p.Entries[3].Content) + read(t, p.Entries[9].Content) + read(t, p.Entries[10].Content); got != "sgconf" {
			t.Errorf("%s: contents %q", compression, got)
		}
		sum := sha256.Sum256([]byte("su"))
		if got := p.Entries[2].Content.Digest(); got != "sha256:"+hex.EncodeToString(sum[:]) {
			t.Errorf("digest %s", got)
		}
		if !p.Date.Equal(debiantest.DefaultDate) || p.Control.Get("section") != "misc" || string(p.ControlFile) != d.Control() {
			t.Errorf("%v %v", p.Date, p.Control)
		}
		sum5 := md5.Sum([]byte("conf"))
		if want := []debian.Conffile{{Path: "/etc/conf", MD5: hex.EncodeToString(sum5[:])}, {Path: "/etc/gone", RemoveOnUpgrade: true}}; !reflect.DeepEqual(p.Conffiles, want) {
			t.Errorf("conffiles %+v", p.Conffiles)
		}
		script, ok := p.File("postinst")
		if !ok || script.Mode != 0o755 || read(t, script.Content) != "#!/bin/sh\n" {
			t.Errorf("postinst: %+v", script)
		}
		sums, ok := p.File("md5sums")
		if text := read(t, sums.Content); !ok || !sums.Generated || strings.Contains(text, "etc/conf") || !strings.Contains(text, "  usr/bin/su\n") {
			t.Errorf("md5sums: %v %s", sums.Generated, text)
		}
	}
}

func TestAWarmUnpackNeedsNoPackage(t *testing.T) {
	f := simple(t)
	p := locked(t, f)
	first := mustUnpack(t, f.again(), p)
	f.opts.Offline = true
	again := mustUnpack(t, f.again(), p)
	if describe(first.Entries) != describe(again.Entries) || !reflect.DeepEqual(first.Control, again.Control) || !first.Date.Equal(again.Date) {
		t.Error("the record differs from what was recorded")
	}
	if read(t, again.Entries[1].Content) != "some" || again.Entries[1].Component != "base" || again.Entries[1].Origin != "some" {
		t.Errorf("%+v", again.Entries[1])
	}
}

// raw makes a package of parts that no packer would write.
func raw(control, data []byte) []byte {
	return debiantest.Ar(debiantest.Member{Name: "debian-binary", Body: []byte("2.0\n")}, debiantest.Member{Name: "control.tar", Body: control}, debiantest.Member{Name: "data.tar", Body: data})
}

func dataOf(files ...file) []byte {
	control := debiantest.Tar(debiantest.DefaultDate, []file{{Name: "./control", Body: deb{Name: "some"}.Control()}})
	return raw(control, debiantest.Tar(debiantest.DefaultDate, files))
}

func TestPackagesThatNoPackerWritesAreRefused(t *testing.T) {
	good := deb{Name: "some", Compression: "none", Files: []file{{Name: "/a", Body: "a"}}}
	control := debiantest.Tar(debiantest.DefaultDate, []file{{Name: "./control", Body: good.Control()}})
	empty := debiantest.Tar(debiantest.DefaultDate, nil)
	member := func(name string, body []byte) debiantest.Member { return debiantest.Member{Name: name, Body: body} }
	binary := member("debian-binary", []byte("2.0\n"))
	for _, c := range []struct {
		title string
		data  []byte
		want  string
	}{
		{"nothing", nil, "is not a size"},
		{"not an archive", []byte("hello, this is no archive"), "not an ar archive"},
		{"an archive without members", []byte("!<arch>\n"), "missing"},
		{"a member that is cut short", good.Bytes()[:len(good.Bytes())-100], "cut short"},
		{"a header that is cut short", good.Bytes()[:30], "header"},
		{"no debian-binary", debiantest.Ar(member("control.tar", control)), "not debian-binary"},
		{"another format", debiantest.Ar(member("debian-binary", []byte("3.0\n"))), "is not supported"},
		{"no data", debiantest.Ar(binary, member("control.tar", control)), "missing"},
		{"data before control", debiantest.Ar(binary, member("data.tar", empty), member("control.tar", control)), "data.tar"},
		{"two data archives", debiantest.Ar(binary, member("control.tar", control), member("data.tar", empty), member("data.tar", empty)), "after data.tar"},
		{"a stray member", debiantest.Ar(binary, member("other", nil)), "other"},
		{"an unknown compression", debiantest.Ar(binary, member("control.tar.bz2", control), member("data.tar", empty)), `"bz2" is not supported`},
		{"damaged xz", debiantest.Ar(binary, member("control.tar.xz", []byte("no xz")), member("data.tar", empty)), "xz"},
		{"an xz dictionary of 4 GiB", debiantest.Ar(binary, member("control.tar.xz", hugeXZ), member("data.tar", empty)), "dictionary"},
		{"no control file", raw(empty, empty), "control"},
		{"a control file of another package", raw(debiantest.Tar(debiantest.DefaultDate, []file{{Name: "./control", Body: "Package: other\nVersion: 1.0\nArchitecture: all\n"}}), empty), `Package is "other"`},
		{"a control file twice", raw(debiantest.Tar(debiantest.DefaultDate, []file{{Name: "./control", Body: good.Control()}, {Name: "control", Body: good.Control()}}), empty), "twice"},
		{"a control directory", raw(debiantest.Tar(debiantest.DefaultDate, []file{{Name: "./x/"}}), empty), "not a plain file"},
		{"leaving the root", dataOf(file{Name: "./../etc/passwd"}), "leaves its directory"},
		{"leaving the root on the way", dataOf(file{Name: "./usr/../../x"}), "leaves its directory"},
		{"an absolute name", dataOf(file{Name: "raw:/etc/passwd"}), "absolute"},
		{"a double slash", dataOf(file{Name: "./usr//bin"}), "not plain"},
		{"a newline in a name", dataOf(file{Name: "./a\nb"}), "control character"},
		{"not UTF-8", dataOf(file{Name: "./a\xff"}), "UTF-8"},
		{"a long name", dataOf(file{Name: "./" + strings.Repeat("x", 300)}), "not plain"},
		{"a device", dataOf(file{Name: "./dev", Type: tar.TypeChar}), "devices"},
		{"a pipe", dataOf(file{Name: "./pipe", Type: tar.TypeFifo}), "devices"},
		{"the same file twice", dataOf(file{Name: "./a"}, file{Name: "a"}), "twice"},
		{"a file in the place of a directory", dataOf(file{Name: "./a/"}, file{Name: "./a"}), "twice"},
		{"a file below a link", dataOf(file{Name: "./a", Type: tar.TypeSymlink, Link: "/etc"}, file{Name: "./a/passwd"}), "not a directory"},
		{"a hard link to nothing", dataOf(file{Name: "./a", Type: tar.TypeLink, Link: "./b"}), "before it"},
		{"a hard link outwards", dataOf(file{Name: "./a", Type: tar.TypeLink, Link: "../../etc/shadow"}), "leaves its directory"},
		{"a hard link to a directory", dataOf(file{Name: "./d/"}, file{Name: "./a", Type: tar.TypeLink, Link: "./d"}), "before it"},
		{"the root as a file", dataOf(file{Name: "./", Type: tar.TypeSymlink, Link: "x"}), "root"},
	} {
		t.Run(c.title, func(t *testing.T) {
			_, err := unpackBytes(t, c.data, debian.Limits{})
			wantError(t, err, c.want)
		})
	}
}

// hugeXZ is the beginning of a stream whose block asks for the largest
// dictionary.
var hugeXZ = []byte("\xfd7zXZ\x00\x00\x01\x69\x22\xde\x36\x02\x00\x21\x01\x28\x00\x00\x00\x00\x00\x00\x00\x00\x00")

func TestBombsAreStopped(t *testing.T) {
	zeros := strings.Repeat("\x00", 8<<20)
	for _, compression := range []string{"xz", "gz", "zst"} {
		d := deb{Name: "some", Compression: compression, Files: []file{{Name: "/zeros", Body: zeros}}}
		_, err := unpackBytes(t, d.Bytes(), debian.Limits{Data: 1 << 20})
		wantError(t, err, "data archive", "larger than allowed")
	}
	d := deb{Name: "some", Scripts: map[string]string{"postinst": zeros}}
	_, err := unpackBytes(t, d.Bytes(), debian.Limits{Control: 1 << 20})
	wantError(t, err, "control archive", "larger than allowed")

	_, err = unpackBytes(t, dataOf(file{Name: "./a"}, file{Name: "./b"}, file{Name: "./c"}), debian.Limits{Entries: 2})
	wantError(t, err, "more than 2 entries")

	f := simple(t)
	f.opts.Limits.Index = 100
	_, _, err = f.resolve()
	wantError(t, err, "larger than allowed")
	f.opts.Limits = debian.Limits{Release: 100}
	_, _, err = f.resolve()
	wantError(t, err, "at most 100")
}

func TestSlimKeepsLicencesAndDropsDocumentation(t *testing.T) {
	d := deb{Name: "some", Files: []file{
		{Name: "/usr/"}, {Name: "/usr/bin/"}, {Name: "/usr/bin/x", Body: "x"},
		{Name: "/usr/share/"}, {Name: "/usr/share/doc/"}, {Name: "/usr/share/doc/some/"}, {Name: "/usr/share/doc/some/copyright", Body: "licence"},
		{Name: "/usr/share/doc/some/examples/"}, {Name: "/usr/share/doc/some/examples/e", Body: "e"}, {Name: "/usr/share/doc/linked", Type: tar.TypeSymlink, Link: "some"},
		{Name: "/usr/share/man/"}, {Name: "/usr/share/man/man1/"}, {Name: "/usr/share/man/man1/x.1.gz", Body: "man"},
		{Name: "/usr/share/locale/"}, {Name: "/usr/share/locale/locale.alias", Body: "alias"}, {Name: "/usr/share/locale/de/"}, {Name: "/usr/share/locale/de/x.mo"},
		{Name: "/usr/share/lintian/"}, {Name: "/usr/share/lintian/overrides/"}, {Name: "/usr/share/lintian/overrides/some"},
		{Name: "/usr/bin/man-link", Type: tar.TypeLink, Link: "./usr/share/man/man1/x.1.gz"}, {Name: "/usr/bin/man-link-2", Type: tar.TypeLink, Link: "./usr/share/man/man1/x.1.gz"},
	}}
	p, err := unpackBytes(t, d.Bytes(), debian.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `d 0755 0:0 /usr
d 0755 0:0 /usr/bin
f 0644 0:0 /usr/bin/x
d 0755 0:0 /usr/share
d 0755 0:0 /usr/share/doc
d 0755 0:0 /usr/share/doc/some
f 0644 0:0 /usr/share/doc/some/copyright
l 0777 0:0 /usr/share/doc/linked -> some
d 0755 0:0 /usr/share/man
d 0755 0:0 /usr/share/locale
f 0644 0:0 /usr/share/locale/locale.alias
d 0755 0:0 /usr/share/lintian
d 0755 0:0 /usr/share/lintian/overrides
f 0644 0:0 /usr/bin/man-link
h 0644 0:0 /usr/bin/man-link-2 -> /usr/bin/man-link
`
	kept := slim.Keep(p.Entries)
	if got := describe(kept); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := read(t, kept[13].Content); got != "man" {
		t.Errorf("a link to a dropped file holds %q", got)
	}
}

func TestKeepLeavesOutWhatPatternsName(t *testing.T) {
	entries := []rootfs.Entry{
		{Path: "/usr/lib/a", Type: rootfs.Dir},
		{Path: "/usr/lib/a/gconv", Type: rootfs.Dir},
		{Path: "/usr/lib/a/gconv/UTF-32.so", Type: rootfs.File},
		{Path: "/usr/lib/a/gconv/sub/x", Type: rootfs.File},
		{Path: "/usr/lib/a/gconvert", Type: rootfs.File},
		{Path: "/usr/bin/iconv", Type: rootfs.File},
		{Path: "/usr/bin/iconv-2", Type: rootfs.Hardlink, Link: "/usr/bin/iconv"},
	}
	for _, c := range []struct{ patterns, want string }{
		{"/usr/lib/*/gconv/*", "/usr/lib/a /usr/lib/a/gconvert /usr/bin/iconv /usr/bin/iconv-2"},
		{"/usr/lib/a/gconv/UTF-32.so", "/usr/lib/a /usr/lib/a/gconv /usr/lib/a/gconv/sub/x /usr/lib/a/gconvert /usr/bin/iconv /usr/bin/iconv-2"},
		{"/usr/lib/* /usr/bin/iconv", "/usr/bin/iconv-2"},
		{"*.so", "/usr/lib/a /usr/lib/a/gconv /usr/lib/a/gconv/sub/x /usr/lib/a/gconvert /usr/bin/iconv /usr/bin/iconv-2"},
		{"/usr/lib/a/gcon", "/usr/lib/a /usr/lib/a/gconv /usr/lib/a/gconv/UTF-32.so /usr/lib/a/gconv/sub/x /usr/lib/a/gconvert /usr/bin/iconv /usr/bin/iconv-2"},
	} {
		var got []string
		for _, e := range (debian.RuleOptions{Exclude: strings.Fields(c.patterns)}).Keep(entries) {
			got = append(got, e.Path)
			if e.Type == rootfs.Hardlink && strings.Contains(c.patterns, "iconv") {
				t.Errorf("%s: a hard link to a file that is left out", c.patterns)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s keeps %v, want %s", c.patterns, got, c.want)
		}
	}
}
