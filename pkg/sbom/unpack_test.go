package sbom

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"testing"

	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
	"github.com/etcdimg/etcdimg/pkg/sbom/sbomtest"
)

func archive(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		body := h.PAXRecords["body"]
		h.PAXRecords, h.Size = nil, int64(len(body))
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func fileEntry(name, body string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, PAXRecords: map[string]string{"body": body}}
}

func TestAnImageOfOthersIsScanned(t *testing.T) {
	store, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	below := archive(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
		fileEntry("etc/os-release", "ID=debian\nVERSION_ID=13\n"),
		fileEntry("etc/gone", "x"), fileEntry("old/one", "x"), fileEntry("old/two", "x"), fileEntry("changed", "before"),
		tar.Header{Typeflag: tar.TypeLink, Name: "again", Linkname: "changed"},
		tar.Header{Typeflag: tar.TypeChar, Name: "dev/null"},
		fileEntry("../outside", "x"),
		fileEntry("var/lib/dpkg/status.d/tool", "Package: tool\nMaintainer: Debian Tool Team <tool@example.org>\nArchitecture: amd64\nVersion: 2.0-1\nDescription: d\n"),
		fileEntry("usr/share/doc/tool/copyright", "License: Expat\n"),
	)
	above := archive(t, fileEntry("etc/.wh.gone", ""), fileEntry("old/.wh..wh..opq", ""), fileEntry("old/three", "x"), fileEntry("changed", "after"),
		tar.Header{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "changed"})
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(above); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	tree, err := Unpack(t.Context(), store, bytes.NewReader(below), &zipped)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	_ = tree.Walk(func(e *rootfs.Entry) error {
		if e.Type != rootfs.Dir {
			paths = append(paths, e.Path)
		}
		return nil
	})
	want := []string{"/again", "/changed", "/etc/os-release", "/link", "/old/three", "/outside", "/usr/share/doc/tool/copyright", "/var/lib/dpkg/status.d/tool"}
	if !slices.Equal(paths, want) {
		t.Errorf("files are %q\nwant %q", paths, want)
	}
	if b, err := tree.ReadFile("/link"); err != nil || string(b) != "after" {
		t.Errorf("the upper layer's file says %q, %v", b, err)
	}
	f := Facts{Name: "foreign", Arch: "amd64", Tree: tree}
	s := sbomtest.New(t)
	for _, format := range []Format{SPDX, CycloneDX} {
		b, err := (&Maker{Store: store}).Document(t.Context(), format, f, subject)
		if err != nil {
			t.Fatal(err)
		}
		checkSchema(t, s, format, b)
		var d spdx.Document
		if format == CycloneDX {
			continue
		}
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		if len(d.Packages) != 2 || d.Packages[1].PackageName != "tool" || d.Packages[1].PackageLicenseDeclared != "MIT" || d.Packages[1].PackageSupplier.Supplier != "Debian" {
			t.Errorf("packages are %+v", d.Packages)
		}
	}
}

func TestALayerThatIsCutShortIsNoLayer(t *testing.T) {
	store, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	whole := archive(t, fileEntry("some", "content that is cut in the middle"))
	if _, err := Unpack(t.Context(), store, bytes.NewReader(whole[:520])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error is %v", err)
	}
}

func FuzzReadCopyright(f *testing.F) {
	f.Add("Format: x\n\nFiles: *\nLicense: GPL-2+ or Artistic, and Expat\n text\n .\n more\n")
	f.Add("see /usr/share/common-licenses/GPL-2, or any later version\n")
	f.Fuzz(func(t *testing.T, text string) {
		if l := readCopyright(text); l.Expression != "" && !ValidLicence(l.Expression) {
			t.Errorf("%q is no licence expression", l.Expression)
		}
	})
}
