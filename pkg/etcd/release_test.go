package etcd_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

func TestOfficialReleaseIsPinnedAndUnpackedWithoutAnyGo(t *testing.T) {
	archs := []string{"amd64", "arm64", "ppc64le", "s390x"}
	p := newPage(t, archs...)
	for name, base := range map[string]string{"http": serve(t, p), "folder": filepath.Dir(p.dir), "file URL": "file://" + filepath.Dir(p.dir)} {
		t.Run(name, func(t *testing.T) {
			m := releaseMachine(t)
			r := from(t, base)
			pin, err := m.pinRelease(r)
			if err != nil {
				t.Fatal(err)
			}
			if pin.Version != released || pin.Line != "3.6" || !pin.Date.Equal(etcdtest.Date()) || pin.GoMod != "" || pin.Release.Signature != "none" {
				t.Errorf("pinned %+v", pin)
			}
			if got := pin.Release.Checksums; got.Path != "v"+released+"/SHA256SUMS" || got.Size == 0 || len(got.SHA256) != 64 {
				t.Errorf("the checksums are %+v", got)
			}
			for _, arch := range archs {
				a := pin.Release.Archives[arch]
				content, err := os.ReadFile(filepath.Join(filepath.Dir(p.dir), a.Path))
				if err != nil {
					t.Fatal(err)
				}
				if a.SHA256 != hexSHA256(string(content)) || a.Size != int64(len(content)) || a.Binaries["etcdutl"] != topOf(arch)+"etcdutl" {
					t.Errorf("%s: pinned %+v", arch, a)
				}
				made, err := m.unpackRelease(r, pin, arch, all...)
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range all {
					if got := read(t, m.compiler().Content(made[name])); !bytes.Equal(got, program(arch, name)) {
						t.Errorf("%s for %s is %q", name, arch, got)
					}
				}
			}
			if n := m.ran.total(); n != 0 {
				t.Errorf("%d processes were started", n)
			}
		})
	}
	if n := p.count("etcd-v" + released + "-linux-amd64.tar.gz"); n != 1 {
		t.Errorf("the archive was downloaded %d times", n)
	}
}

func read(t *testing.T, c etcd.Content) []byte {
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
	return b
}

func TestReleaseOfOneArchitectureAndSourceOfTheRest(t *testing.T) {
	m := newMachine(t, []string{fake})
	p := newPage(t, "amd64")
	r := from(t, filepath.Dir(p.dir))
	request := request(fake)
	request.FromByArch = map[string]string{"amd64": "release"}
	request.Archs = []string{"amd64", "arm64"}
	pin, err := (&etcd.Resolver{Go: etcd.NewGo(m.env, m.ran), Store: m.store, Releases: r}).Resolve(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if len(pin.Release.Archives) != 1 || pin.GoMod == "" || pin.Packages["etcd"] == "" {
		t.Errorf("pinned %+v", pin)
	}
	c := m.releaseCompiler(r)
	if err := c.Prefetch(t.Context(), pin, request.Archs, []string{"etcd"}); err != nil {
		t.Fatal(err)
	}
	made, err := c.Compile(t.Context(), pin, "amd64", []string{"etcd"})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, c.Content(made["etcd"])); !bytes.Equal(got, program("amd64", "etcd")) {
		t.Errorf("the official etcd is %d bytes", len(got))
	}
	if n := m.ran.count("build"); n != 0 {
		t.Errorf("%d compilers ran", n)
	}
	if made, err = c.Compile(t.Context(), pin, "arm64", []string{"etcd"}); err != nil || made["etcd"].Size < 1<<20 {
		t.Errorf("the compiled etcd: %v, %v", made, err)
	}
}

func TestWarmStoreAsksNoReleasePage(t *testing.T) {
	p := newPage(t, "amd64")
	m := releaseMachine(t)
	pin, err := m.pinRelease(from(t, serve(t, p)), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	nowhere := from(t, filepath.Join(t.TempDir(), "nowhere"))
	cold, err := m.unpackRelease(nowhere, pin, "amd64", all...)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.releaseCompiler(nowhere).Prefetch(t.Context(), pin, []string{"amd64"}, all); err != nil {
		t.Fatal(err)
	}
	if warm, err := m.unpackRelease(nowhere, pin, "amd64", all...); err != nil || !equal(cold, warm) {
		t.Errorf("cold %v, warm %v: %v", cold, warm, err)
	}
}

func TestDamagedArchiveInTheStoreIsFetchedAgain(t *testing.T) {
	p := newPage(t, "amd64")
	m := releaseMachine(t)
	r := from(t, filepath.Dir(p.dir))
	pin, err := m.pinRelease(r, "amd64")
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	err = filepath.WalkDir(m.store.Dir(), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == pin.Release.Archives["amd64"].SHA256 {
			damaged++
			return errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, []byte("damaged"), 0o644))
		}
		return err
	})
	if err != nil || damaged != 1 {
		t.Fatalf("%d blobs damaged: %v", damaged, err)
	}
	again := newMachine(t, nil)
	again.store = reopen(t, m.store.Dir())
	if _, err := again.unpackRelease(r, pin, "amd64", all...); err != nil {
		t.Error(err)
	}
}

func TestSignatureOfTheChecksumsIsVerifiedAndRecorded(t *testing.T) {
	signer, stranger := newKey(t, "releases@etcd.example"), newKey(t, "someone@mirror.example")
	sign := func(p *page, key *openpgp.Entity) {
		sums, err := os.ReadFile(filepath.Join(p.dir, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := openpgp.ArmoredDetachSign(&b, key, bytes.NewReader(sums), nil); err != nil {
			t.Fatal(err)
		}
		p.write("SHA256SUMS.asc", b.Bytes())
	}
	good, forged, bare := newPage(t, "amd64"), newPage(t, "amd64"), newPage(t, "amd64")
	sign(good, signer)
	sign(forged, stranger)
	fingerprint := fmt.Sprintf("%X", signer.PrimaryKey.Fingerprint)
	key := public(t, signer)
	for name, c := range map[string]struct {
		page *page
		keys [][]byte
		want string
		says []string
	}{
		"signed":                 {good, [][]byte{key}, fingerprint, nil},
		"signed, among keys":     {good, [][]byte{public(t, stranger), key}, fingerprint, nil},
		"signed, without a key":  {good, nil, "unverified", nil},
		"unsigned":               {bare, nil, "none", nil},
		"unsigned, with a key":   {bare, [][]byte{key}, "", []string{"has no signature beside it"}},
		"signed by someone else": {forged, [][]byte{key}, "", []string{"SHA256SUMS.asc is not a signature by any of the given keys", "nothing of the release was used"}},
	} {
		t.Run(name, func(t *testing.T) {
			pin, err := releaseMachine(t).pinSigned(from(t, filepath.Dir(c.page.dir)), c.keys, "amd64")
			if c.says != nil {
				wantError(t, err, c.says...)
			} else if err != nil || pin.Release.Signature != c.want {
				t.Errorf("the signature is %+v, %v", pin.Release, err)
			}
		})
	}
	_, err := releaseMachine(t).pinSigned(from(t, filepath.Dir(good.dir)), [][]byte{key, []byte("no key")}, "amd64")
	wantError(t, err, "etcd.keyring[1]: it is no file of OpenPGP keys")
}

func newKey(t *testing.T, email string) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity("test", "", email, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func public(t *testing.T, e *openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Serialize(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReleaseThatIsNotWhatItShouldBeIsRefused(t *testing.T) {
	const name = "etcd-v" + released + "-linux-amd64.tar.gz"
	without := func(files []file, drop string) []file {
		return slices.DeleteFunc(files, func(f file) bool { return f.name == topOf("amd64")+drop })
	}
	with := func(more ...file) []file { return append(without(official("amd64"), "etcd"), more...) }
	etcdIs := func(content []byte) []file { return with(file{name: topOf("amd64") + "etcd", content: content}) }
	for what, c := range map[string]struct {
		archive []byte
		says    []string
	}{
		"no archive":             {[]byte("404 page not found"), []string{"no gzip archive"}},
		"truncated archive":      {pack(t, official("amd64")...)[:200], []string{"unexpected EOF"}},
		"trailing damage":        {append(pack(t, official("amd64")...), "garbage"...), []string{"it is damaged"}},
		"without etcdctl":        {pack(t, without(official("amd64"), "etcdctl")...), []string{"has no etcd-v3.6.99-linux-amd64/etcdctl"}},
		"another architecture's": {pack(t, etcdIs(program("arm64", ""))...), []string{"etcd is not what it should be", "EM_AARCH64", "not for amd64"}},
		"a script":               {pack(t, etcdIs([]byte("#!/bin/sh\n"))...), []string{"no ELF file"}},
		"a dynamic program":      {pack(t, etcdIs(dynamic("amd64"))...), []string{"it is not static"}},
		"a link out of it":       {pack(t, with(file{name: topOf("amd64") + "etcd", kind: tar.TypeSymlink})...), []string{"no file of a program's size"}},
		"two of a name":          {pack(t, append(official("amd64"), file{name: topOf("amd64") + "./etcd", content: program("amd64", "other")})...), []string{"twice"}},
		"an empty program":       {pack(t, etcdIs(nil)...), []string{"no file of a program's size"}},
		"everything at its top":  {pack(t, file{name: "etcd", content: program("amd64", "")}), []string{"has no etcd-v3.6.99-linux-amd64/etcd"}},
		"a tar that is no tar":   {gzipped(t, bytes.Repeat([]byte("x"), 4096)), []string{"it is damaged"}},
		"an empty archive":       {gzipped(t, nil), []string{"has no"}},
	} {
		t.Run(what, func(t *testing.T) {
			p := newPage(t)
			p.publish(name, c.archive)
			m := releaseMachine(t)
			_, err := m.pinRelease(from(t, filepath.Dir(p.dir)), "amd64")
			wantError(t, err, append(c.says, "pinning the official release of etcd 3.6.99", "v3.6.99/"+name)...)
		})
	}
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReleasePageThatFailsIsToldAndLeavesNothing(t *testing.T) {
	const name = "etcd-v" + released + "-linux-amd64.tar.gz"
	p := newPage(t, "amd64")
	whole, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	pin, err := releaseMachine(t).pinRelease(from(t, filepath.Dir(p.dir)), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		serve http.HandlerFunc
		says  []string
	}{
		"not found":       {http.NotFound, []string{"not there (404 Not Found)", "choose a mirror"}},
		"forbidden":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, []string{"403 Forbidden"}},
		"always busy":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, []string{"503 Service Unavailable", "after 3 attempts"}},
		"redirect loop":   {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, []string{"redirects lead nowhere", "leads back to itself"}},
		"redirects away":  {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }, []string{"redirects lead nowhere: more than 10"}},
		"other content":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), len(whole))) }, []string{"its SHA-256 is", "changed it, or it was published anew", "nothing of it was used"}},
		"longer content":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(append(slices.Clone(whole), 0)) }, []string{"not what was expected", "bytes, not"}},
		"shorter content": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole[:100]) }, []string{"100 bytes, not"}},
		"endless content": {endless, []string{"not what was expected: more than"}},
		"always truncated": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
			_, _ = w.Write(whole[:100])
		}, []string{"unexpected EOF", "after 3 attempts"}},
		"silent": {func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, []string{"no byte arrived for 1s"}},
	} {
		t.Run(what, func(t *testing.T) {
			m := releaseMachine(t)
			base := serve(t, c.serve)
			_, err := m.unpackRelease(from(t, base), pin, "amd64", "etcd")
			wantError(t, err, append(c.says, "unpacking the official release of etcd 3.6.99 for amd64", base+"/v3.6.99/"+name)...)
			if m.compiler().Has(pin, "amd64", []string{"etcd"}) || m.store.Has("sha256:"+pin.Release.Archives["amd64"].SHA256) {
				t.Error("something was stored")
			}
			if err := m.releaseCompiler(from(t, base)).Prefetch(t.Context(), pin, []string{"amd64"}, []string{"etcd"}); err == nil {
				t.Error("it can be prefetched")
			}
		})
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	for b := make([]byte, 64<<10); r.Context().Err() == nil; {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

func TestInterruptedDownloadGoesOnWhereItStopped(t *testing.T) {
	p := newPage(t, "amd64")
	pin, err := releaseMachine(t).pinRelease(from(t, filepath.Dir(p.dir)), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	var ranges []string
	var mu sync.Mutex
	flaky := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		ranges = append(ranges, r.Header.Get("Range"))
		n := len(ranges)
		mu.Unlock()
		if n == 1 {
			w.Header().Set("Content-Length", fmt.Sprint(pin.Release.Archives["amd64"].Size))
			f, err := os.Open(filepath.Join(filepath.Dir(p.dir), r.URL.Path))
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			_, _ = io.CopyN(w, f, 123)
			return
		}
		p.ServeHTTP(w, r)
	})
	m := releaseMachine(t)
	if _, err := m.unpackRelease(from(t, serve(t, flaky)), pin, "amd64", all...); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ranges, []string{"", "bytes=123-"}) {
		t.Errorf("asked for the ranges %q", ranges)
	}
}

func TestCancelledDownloadEndsAtOnce(t *testing.T) {
	p := newPage(t, "amd64")
	m := releaseMachine(t)
	pin, err := m.pinRelease(from(t, filepath.Dir(p.dir)), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	hanging := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	cold := releaseMachine(t)
	_, err = cold.releaseCompiler(from(t, serve(t, hanging))).Compile(ctx, pin, "amd64", []string{"etcd"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}

func TestReleaseThatDoesNotExistIsToldWithItsRemedy(t *testing.T) {
	empty := t.TempDir()
	p := newPage(t, "amd64")
	unreadable := newPage(t)
	unreadable.write("SHA256SUMS", []byte("<html>Not what you think</html>"))
	for name, c := range map[string]struct {
		base string
		arch string
		key  string
		says []string
	}{
		"version":      {empty, "amd64", "etcd.versions", []string{"no official release of etcd 3.6.99", "from: source"}},
		"architecture": {filepath.Dir(p.dir), "s390x", "etcd.from", []string{"no official release for s390x", "etcd-v3.6.99-linux-s390x.tar.gz", "use source for it"}},
		"checksums":    {filepath.Dir(unreadable.dir), "amd64", "", []string{"SHA256SUMS: line 1 is not a digest"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := releaseMachine(t).pinRelease(from(t, c.base), c.arch)
			wantError(t, err, c.says...)
			var key *etcd.KeyError
			if errors.As(err, &key) != (c.key != "") || c.key != "" && key.Key != c.key {
				t.Errorf("the error is about another key than %q: %#v", c.key, err)
			}
		})
	}
}

func TestPlaceForReleasesThatIsNoneIsRefused(t *testing.T) {
	for base, says := range map[string]string{
		"ftp://mirror.example/etcd":           "neither an http, https or file URL nor a folder",
		"file://mirror.example/etcd":          "on another host",
		"https://":                            "neither an http",
		"https://mirror.example/etcd?x=y":     "neither a query nor a fragment",
		"https://u:secret@mirror.example/a#b": "xxxxx",
	} {
		_, err := etcd.NewReleases(etcd.ReleaseOptions{Base: base})
		wantError(t, err, "where official releases come from", says)
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells a password: %v", err)
		}
	}
}

func TestLockOfAReleaseThatReachesElsewhereIsRefused(t *testing.T) {
	p := newPage(t, "amd64")
	m := releaseMachine(t)
	r := from(t, filepath.Dir(p.dir))
	for name, c := range map[string]struct {
		arch   string
		change func(*lock.Archive)
		says   string
	}{
		"path that climbs":      {"amd64", func(a *lock.Archive) { a.Path = "../../etc/passwd" }, "no path below a release page"},
		"URL as a path":         {"amd64", func(a *lock.Archive) { a.Path = "x?y=z" }, "no path below a release page"},
		"digest of no form":     {"amd64", func(a *lock.Archive) { a.SHA256 = "../x" }, "no SHA-256"},
		"no size":               {"amd64", func(a *lock.Archive) { a.Size = 0 }, "no size"},
		"name that is a path":   {"amd64", func(a *lock.Archive) { a.Binaries["../etcd"] = "x" }, "no binary name"},
		"binary that is not in": {"amd64", func(a *lock.Archive) { delete(a.Binaries, "etcd") }, `has no "etcd"; there are etcdctl, etcdutl`},
		"other architecture":    {"arm64", func(*lock.Archive) {}, "neither modules nor an archive for arm64"},
	} {
		t.Run(name, func(t *testing.T) {
			pin, err := m.pinRelease(r, "amd64")
			if err != nil {
				t.Fatal(err)
			}
			a := pin.Release.Archives["amd64"]
			c.change(&a)
			pin.Release.Archives["amd64"] = a
			_, err = m.unpackRelease(r, pin, c.arch, "etcd")
			wantError(t, err, "the lock of etcd 3.6.99", c.says)
		})
	}
}
