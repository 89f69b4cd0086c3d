package diff_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/etcdimg/etcdimg/pkg/diff"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

// blobs are a source.
type blobs map[v1.Hash][]byte

func (b blobs) Manifest(h v1.Hash) ([]byte, error) { return b[h], nil }
func (b blobs) Open(h v1.Hash) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(b[h])), nil
}

func (b blobs) put(t *testing.T, data []byte) v1.Descriptor {
	t.Helper()
	h, n, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	b[h] = data
	return v1.Descriptor{Digest: h, Size: n}
}

func (b blobs) putJSON(t *testing.T, v any) v1.Descriptor {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b.put(t, data)
}

// image makes an image of layers, each a list of NAME or NAME=CONTENT.
func image(t *testing.T, config string, layers ...[]string) diff.Image {
	t.Helper()
	b := blobs{}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: b.put(t, []byte(config))}
	for _, names := range layers {
		var layer bytes.Buffer
		w := tar.NewWriter(&layer)
		for _, name := range names {
			name, content, _ := strings.Cut(name, "=")
			h := &tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(content))}
			if strings.HasSuffix(name, "/") {
				h.Typeflag, h.Mode = tar.TypeDir, 0o755
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		m.Layers = append(m.Layers, b.put(t, layer.Bytes()))
	}
	return diff.Image{Source: b, Digest: b.putJSON(t, m).Digest}
}

const config = `{"architecture":"amd64","rootfs":{},"history":[]}`

func lines(changes []diff.Change) string {
	var b strings.Builder
	for _, c := range changes {
		if c.Kind != diff.Size {
			fmt.Fprintln(&b, c)
		}
	}
	return b.String()
}

func TestLayersHideWhatIsBeneathThem(t *testing.T) {
	old := image(t, config, []string{"a=1", "d/", "d/x=1", "d/y=1", "o/", "o/x=1"})
	new := image(t, config, []string{"a=1", "d/", "d/x=1", "d/y=1", "o/", "o/x=1"}, []string{"a=2", "d/.wh.x=", "o/", "o/.wh..wh..opq=", "o/z=1"})
	changes, err := diff.Images(old, new, nil)
	if err != nil {
		t.Fatal(err)
	}
	const file = "file 0644 0:0 1 bytes sha256:"
	want := "file /a for amd64: " + file + "6b86b273ff34 → " + file + "d4735e3a265e\n" +
		"file /d/x for amd64: removed " + file + "6b86b273ff34\n" +
		"file /o/x for amd64: removed " + file + "6b86b273ff34\n" +
		"file /o/z for amd64: added " + file + "6b86b273ff34\n"
	if got := lines(changes); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestImagesThatDifferInTheirLayersAloneAreEqual(t *testing.T) {
	changes, err := diff.Images(image(t, config, []string{"a=1"}, []string{"b=1"}), image(t, config, []string{"a=1", "b=1"}), nil)
	if err != nil || lines(changes) != "" {
		t.Errorf("%v\n%s", err, lines(changes))
	}
}

func TestPackagesAreReadFromEitherFormOfDpkgsDatabase(t *testing.T) {
	const stanza = "Package: %s\nStatus: install ok installed\nVersion: %s\n\n"
	old := image(t, config, []string{"var/lib/dpkg/status=" + fmt.Sprintf(stanza, "a", "1") + fmt.Sprintf(stanza, "b", "1")})
	new := image(t, config, []string{"var/lib/dpkg/status.d/a=" + fmt.Sprintf(stanza, "a", "1:2"), "var/lib/dpkg/status.d/a.md5sums=Package: no\nVersion: 1\n"})
	changes, err := diff.Images(old, new, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := lines(changes)
	for _, want := range []string{"package a for amd64: 1 → 1:2\n", "package b for amd64: removed 1\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "package no") {
		t.Errorf("a list of sums is taken for a package:\n%s", got)
	}
}

func TestAnArchitectureThatIsThereOnlyOnceIsAChange(t *testing.T) {
	one := image(t, config, []string{"a=1"})
	src := one.Source.(blobs)
	platform := func(arch string) v1.Descriptor {
		return v1.Descriptor{Digest: one.Digest, MediaType: types.OCIManifestSchema1, Platform: &v1.Platform{OS: "linux", Architecture: arch}}
	}
	index := func(archs ...string) diff.Image {
		x := v1.IndexManifest{SchemaVersion: 2, Annotations: map[string]string{"n": fmt.Sprint(len(archs))}}
		for _, a := range archs {
			x.Manifests = append(x.Manifests, platform(a))
		}
		return diff.Image{Source: src, Digest: src.putJSON(t, x).Digest}
	}
	changes, err := diff.Images(index("amd64", "arm64"), index("amd64"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := lines(changes); !strings.Contains(got, "image arm64: removed sha256:") || !strings.Contains(got, "config annotations.n of the index: 2 → 1\n") || strings.Contains(got, "amd64") {
		t.Errorf("got\n%s", got)
	}
}

func TestALayerThatIsNotWhatItsDigestSaysIsRefused(t *testing.T) {
	old, new := image(t, config, []string{"a=1"}), image(t, config, []string{"a=2"})
	for h, b := range new.Source.(blobs) {
		if bytes.Contains(b, []byte("ustar")) {
			new.Source.(blobs)[h] = bytes.Replace(b, []byte("2\x00"), []byte("3\x00"), 1)
		}
	}
	if _, err := diff.Images(old, new, nil); err == nil {
		t.Error("a damaged layer is compared")
	}
}

func TestLocksTellWhatMoved(t *testing.T) {
	base := func() *lock.Lock {
		return &lock.Lock{
			FormatVersion: 1, Config: json.RawMessage(`{"cmd":"a"}`),
			Files:  []lock.LocalFile{{Path: "motd", SHA256: "aa"}},
			Etcd:   []lock.Etcd{{Version: "3.6.16", Toolchain: "go1.27.3", GoMod: "module m\n\nrequire (\n\tx.org/a v1.0.0\n\tx.org/b v1.0.0\n)\n", GoSum: "x"}},
			Debian: []lock.Debian{{Arch: "amd64", Packages: []lock.Package{{Name: "p", Version: "1", SHA256: "1"}}}, {Arch: "arm64", Packages: []lock.Package{{Name: "p", Version: "1", SHA256: "1"}}}},
			Suites: []lock.Suite{{Archive: "debian", Suite: "trixie", Components: []string{"main"}, Arch: "amd64"}},
		}
	}
	for want, change := range map[string]func(*lock.Lock){
		"format images: 1 → 2":                             func(l *lock.Lock) { l.FormatVersion = 2 },
		`config cmd: "a" → "b"`:                            func(l *lock.Lock) { l.Config = json.RawMessage(`{"cmd":"b"}`) },
		"file motd: sha256:aa → sha256:bb":                 func(l *lock.Lock) { l.Files[0].SHA256 = "bb" },
		"toolchain go of etcd 3.6.16: go1.27.3 → go1.27.4": func(l *lock.Lock) { l.Etcd[0].Toolchain = "go1.27.4" },
		"module x.org/a of etcd 3.6.16: v1.0.0 → v1.1.0":   func(l *lock.Lock) { l.Etcd[0].GoMod = strings.Replace(l.Etcd[0].GoMod, "a v1.0.0", "a v1.1.0", 1) },
		"module go.mod and go.sum of etcd 3.6.16: sha256:": func(l *lock.Lock) { l.Etcd[0].GoSum = "y" },
		"etcd version: 3.6.16 → 3.7.0":                     func(l *lock.Lock) { l.Etcd[0].Version = "3.7.0" },
		"etcd version: added 3.5.0":                        func(l *lock.Lock) { l.Etcd = append(l.Etcd, lock.Etcd{Version: "3.5.0"}) },
		"package p for amd64, arm64: 1 → 2 (security)": func(l *lock.Lock) {
			set(l, lock.Package{Name: "p", Version: "2", SHA256: "2", Archive: "debian-security"}, 0, 1)
		},
		"package p for arm64: 1 → 2":                                         func(l *lock.Lock) { set(l, lock.Package{Name: "p", Version: "2", SHA256: "2"}, 1) },
		"package p for amd64: 1 sha256:1 → 1 sha256:2":                       func(l *lock.Lock) { set(l, lock.Package{Name: "p", Version: "1", SHA256: "2"}, 0) },
		"suite debian trixie main for amd64: 0001-01-01T00:00:00Z → skipped": func(l *lock.Lock) { l.Suites[0].Skipped = "on request" },
		"package p for amd64: removed 1":                                     func(l *lock.Lock) { l.Debian[0].Packages = nil },
		"other schemaVersion: 0 → 1":                                         func(l *lock.Lock) { l.SchemaVersion = 1 },
		"etcd GOAMD64 of etcd 3.6.16: added v3":                              func(l *lock.Lock) { l.Etcd[0].Settings = map[string]string{"GOAMD64": "v3"} },
	} {
		new := base()
		change(new)
		changes, err := diff.Locks(base(), new)
		if err != nil {
			t.Fatal(err)
		}
		if len(changes) != 1 || !strings.HasPrefix(changes[0].String(), want) {
			t.Errorf("got %v, want %s", changes, want)
		}
	}
	if changes, err := diff.Locks(base(), base()); err != nil || len(changes) != 0 {
		t.Errorf("a lock differs from itself: %v %v", changes, err)
	}
}

func set(l *lock.Lock, p lock.Package, archs ...int) {
	for _, i := range archs {
		l.Debian[i].Packages = []lock.Package{p}
	}
}

func TestMarkdownKeepsForeignTextInItsCells(t *testing.T) {
	var b strings.Builder
	err := diff.Markdown(&b, []diff.Change{{Kind: diff.File, Name: "/a|b<img>`", Old: "x`y|\nz", New: strings.Repeat("é", 500)}})
	if err != nil {
		t.Fatal(err)
	}
	want := "### Files (1)\n\n| | before | after |\n|---|---|---|\n| /a\\|b&lt;img>' | `x'y\\| z` | `" + strings.Repeat("é", 120) + "…` |\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
