package debian

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

func sampleDeb(compression string) []byte {
	return debiantest.Deb{Name: "some", Compression: compression, Scripts: map[string]string{"conffiles": "/a\n"},
		Files: []debiantest.File{{Name: "/usr/"}, {Name: "/usr/a", Body: "a"}, {Name: "/usr/b", Type: '1', Link: "./usr/a"}, {Name: "/c", Type: '2', Link: "usr/a"}}}.Bytes()
}

func FuzzAr(f *testing.F) {
	f.Add(sampleDeb("gz"))
	f.Add([]byte("!<arch>\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := newArReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		var total int64
		for {
			name, content, err := a.next()
			if err != nil {
				return
			}
			if name == "" || strings.Contains(name, "/") {
				t.Fatalf("member name %q", name)
			}
			if total += content.Size(); total > int64(len(data)) {
				t.Fatal("members are larger than the archive")
			}
		}
	})
}

// FuzzUnpack holds whatever can be unpacked against what an image relies on.
func FuzzUnpack(f *testing.F) {
	for _, c := range []string{"none", "gz", "zst", "xz"} {
		f.Add(sampleDeb(c))
	}
	store, err := cache.Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	defer store.Close()
	r, err := NewResolver(Options{Store: store, Offline: true, Limits: Limits{Control: 1 << 20, Data: 1 << 20, Entries: 1000}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		name := filepath.Join(t.TempDir(), "deb")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		deb, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer deb.Close()
		rec, err := r.unpackDeb(context.Background(), deb, lock.Package{Name: "some", Version: "1.0", Arch: "all", Size: int64(len(data))})
		if err != nil {
			return
		}
		tree := rootfs.New()
		pkg, err := r.remember("key", rec, lock.Package{Name: "some", Version: "1.0", Arch: "all"})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range pkg.Entries {
			if err := tree.Add(e); err != nil {
				t.Fatalf("the tree refuses %+v: %v", e, err)
			}
		}
		RuleOptions{Slim: true, Exclude: []string{"/usr/*a*/*"}}.Keep(pkg.Entries)
	})
}

func FuzzControl(f *testing.F) {
	f.Add([]byte(debiantest.Deb{Name: "some"}.Control()))
	f.Add([]byte("A: b\n c\n\n\nD: e"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := newStanzaReader(bytes.NewReader(data), int64(len(data)))
		for {
			s, err := p.next()
			if err != nil || s == nil {
				return
			}
			for _, field := range s {
				if field.Name == "" || strings.ContainsAny(field.Name, " :\n") {
					t.Fatalf("field name %q", field.Name)
				}
				if s.Get(field.Name) != field.Value {
					t.Fatalf("field %q is lost", field.Name)
				}
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	m := debiantest.NewMirror(time.Unix(1e9, 0))
	f.Add([]byte(m.Suite("debian", "trixie").Add(debiantest.Deb{Name: "some", Fields: map[string]string{"Depends": "other (>= 1)", "Provides": "x"}}).Packages("all")))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := readIndex(context.Background(), bytes.NewReader(data), "", int64(len(data)))
		if err != nil {
			return
		}
		for _, c := range list {
			c.suite = &suite{repository: repository{Suite: "trixie"}, release: &release{}}
			if !cleanRelative(c.Filename) {
				t.Fatalf("path %q", c.Filename)
			}
		}
		u := newUniverse("amd64", list, nil)
		for name := range u.best {
			// Whatever comes of it: it must come to an end.
			_, _, _ = solve(u, &wanted{Names: []string{name}})
		}
	})
}

func FuzzInRelease(f *testing.F) {
	m := debiantest.NewMirror(time.Unix(1e9, 0))
	m.Suite("debian", "trixie").Add(debiantest.Deb{Name: "some"})
	f.Add(m.Files()["debian/dists/trixie/InRelease"])
	f.Fuzz(func(t *testing.T, data []byte) {
		text, _, err := openInRelease(data)
		if err != nil {
			text = data
		}
		rel, err := parseRelease(text)
		if err != nil {
			return
		}
		for name, file := range rel.files {
			if !cleanRelative(name) || !isSHA256(file.sha256) || file.size < 0 {
				t.Fatalf("file %q: %+v", name, file)
			}
		}
	})
}

func FuzzVersion(f *testing.F) {
	f.Add("1:2.0~rc1-3", "1:2.0-3+b1")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := CompareVersions(a, b), CompareVersions(b, a)
		if (x < 0) != (y > 0) || (x == 0) != (y == 0) || CompareVersions(a, a) != 0 {
			t.Fatalf("%q against %q: %d, but %d", a, b, x, y)
		}
	})
}

func FuzzDepends(f *testing.F) {
	f.Add("libc6 (>= 2.38), debconf (>= 0.5) | debconf-2.0 [amd64], perl:any")
	f.Fuzz(func(t *testing.T, field string) {
		clauses, err := parseDepends(field, "amd64")
		if err != nil {
			return
		}
		for _, c := range clauses {
			again, err := parseDepends(c.String(), "amd64")
			if err != nil || len(again) != 1 || again[0].String() != c.String() {
				t.Fatalf("%q reads back as %v, %v", c, again, err)
			}
		}
	})
}

func FuzzAptSources(f *testing.F) {
	f.Add([]byte("deb [arch=amd64] http://mirror.example/debian trixie main\n"))
	f.Add([]byte("Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		// Foreign files: anything but a panic will do.
		_, _ = parseSourcesList(data)
		_, _ = parseSources(data)
	})
}

func FuzzXZ(f *testing.F) {
	f.Add(debiantest.Compress("xz", []byte("hello")))
	f.Fuzz(func(_ *testing.T, data []byte) {
		z, done, err := decompress(bytes.NewReader(data), "xz")
		if err != nil {
			return
		}
		defer done()
		_, _ = io.Copy(io.Discard, &limitedReader{r: z, left: 1 << 20})
	})
}

// FuzzApplets holds what must be true of the applets of any program: names
// that can be linked, each once, in order.
func FuzzApplets(f *testing.F) {
	f.Add(debiantest.Busybox(binary.LittleEndian, debiantest.BusyboxApplets()))
	f.Add(debiantest.Busybox(binary.BigEndian, debiantest.BusyboxApplets()))
	f.Fuzz(func(t *testing.T, program []byte) {
		all, err := applets(program)
		if err != nil {
			return
		}
		for i, a := range all {
			if a.Name == "" || strings.ContainsAny(a.Name, "/\x00") || a.Dir == "" || i > 0 && a.Name <= all[i-1].Name {
				t.Fatalf("applet %d is %q in %q", i, a.Name, a.Dir)
			}
		}
	})
}
