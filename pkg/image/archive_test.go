package image_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ggcrname "github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/layer"
)

func writeArchive(t *testing.T, x v1.ImageIndex, name image.Name) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := image.WriteArchive(t.Context(), path, x, name); err != nil {
		t.Fatal(err)
	}
	return path
}

// unpack puts an archive into a directory, and returns its headers.
func unpack(t *testing.T, path string) (string, []*tar.Header) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := t.TempDir()
	var headers []*tar.Header
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return dir, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
		if h.Typeflag == tar.TypeReg {
			writeFile(t, filepath.Join(dir, h.Name), string(readAll(t, tr)))
		}
	}
}

func TestAnArchiveIsALayout(t *testing.T) {
	x := fourArchs(t, openCache(t, t.TempDir()))
	dir, headers := unpack(t, writeArchive(t, x, image.Name{Repository: "etcd", Tags: []string{"3.6.16-0", "latest"}}))
	wantLayout(t, dir, x, "3.6.16-0", "latest")
	top, err := os.ReadFile(filepath.Join(dir, ocispec.ImageIndexFile))
	if err != nil {
		t.Fatal(err)
	}
	if got := topManifests(t, top)[1].Annotations["io.containerd.image.name"]; got != "docker.io/library/etcd:latest" {
		t.Errorf("containerd would call it %q", got)
	}
	seen := map[string]bool{}
	for _, h := range headers {
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Format != tar.FormatUSTAR || seen[h.Name] {
			t.Errorf("header %+v", h)
		}
		seen[h.Name] = true
	}
}

func TestAnArchiveIsADockerArchiveOverTheSameBlobs(t *testing.T) {
	x := fourArchs(t, openCache(t, t.TempDir()))
	path := writeArchive(t, x, image.Name{Repository: "etcd", Tags: []string{"latest", "3.6.16-0"}})
	dir, _ := unpack(t, path)
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var entries []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(b, &entries); err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"etcd:latest", "etcd:latest-amd64", "etcd:3.6.16-0", "etcd:3.6.16-0-amd64"},
		{"etcd:latest-arm64", "etcd:3.6.16-0-arm64"},
		{"etcd:latest-ppc64le", "etcd:3.6.16-0-ppc64le"},
		{"etcd:latest-s390x", "etcd:3.6.16-0-s390x"},
	}
	if len(entries) != len(want) {
		t.Fatalf("manifest.json is %s", b)
	}
	for i, e := range entries {
		if !slices.Equal(e.RepoTags, want[i]) {
			t.Errorf("entry %d has the tags %q, want %q", i, e.RepoTags, want[i])
		}
		for _, p := range append(e.Layers, e.Config) {
			if _, err := os.Stat(filepath.Join(dir, p)); err != nil || !strings.HasPrefix(p, "blobs/sha256/") {
				t.Errorf("%s: %v", p, err)
			}
		}
		tag, err := ggcrname.NewTag(e.RepoTags[0])
		if err != nil {
			t.Fatal(err)
		}
		img, err := tarball.ImageFromPath(path, &tag)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(img); err != nil {
			t.Error(err)
		}
	}
}

// Engines before docker 23 read no zstd, and load what manifest.json names.
func TestADockerArchiveHasNoZstdLayer(t *testing.T) {
	x := makeIndex(t, openCache(t, t.TempDir()), layer.Zstd, "amd64")
	path := writeArchive(t, x, image.Name{Repository: "etcd", Tags: []string{"v1"}})
	dir, _ := unpack(t, path)
	img, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		diffID, err := l.DiffID()
		if err != nil {
			t.Fatal(err)
		}
		// Every engine reads a layer that is no more than its tar archive.
		b, err := os.ReadFile(filepath.Join(dir, "blobs", "sha256", diffID.Hex))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tar.NewReader(bytes.NewReader(b)).Next(); err != nil {
			t.Errorf("layer %s: %v", diffID, err)
		}
	}
	if len(layers) != 2 {
		t.Errorf("%d layers, want 2", len(layers))
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
}

func TestAnArchiveOfOnePlatformHasThePlainTagOnly(t *testing.T) {
	c := openCache(t, t.TempDir())
	dir, _ := unpack(t, writeArchive(t, makeIndex(t, c, layer.Gzip, "arm64"), image.Name{Repository: "etcd", Tags: []string{"v1"}}))
	b, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(`"RepoTags":["etcd:v1"]`)) {
		t.Errorf("manifest.json is %s", b)
	}
}

func TestAnArchiveIsTheSameWhereverItIsWritten(t *testing.T) {
	read := func() []byte {
		b, err := os.ReadFile(writeArchive(t, fourArchs(t, openCache(t, t.TempDir())), name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(read(), read()) {
		t.Error("two archives differ")
	}
}

func TestAFailedArchiveLeavesTheOldOneAsItWas(t *testing.T) {
	c := openCache(t, t.TempDir())
	path := writeArchive(t, makeIndex(t, c, layer.Gzip, "amd64"), name)
	before := snapshot(t, filepath.Dir(path))
	other := openCache(t, t.TempDir())
	x := fourArchs(t, other)
	if err := os.RemoveAll(filepath.Join(other.Dir(), "blobs", "sha256")); err != nil {
		t.Fatal(err)
	}
	err := image.WriteArchive(t.Context(), path, x, name)
	if !errors.Is(err, cache.ErrNotFound) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want cache.ErrNotFound for %s", err, path)
	}
	if !maps.Equal(before, snapshot(t, filepath.Dir(path))) {
		t.Errorf("something changed: %s", names(t, filepath.Dir(path)))
	}
}

func TestAnArchiveNeedsAnImageAndAPlace(t *testing.T) {
	x, err := image.NewIndex(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, image.WriteArchive(t.Context(), filepath.Join(t.TempDir(), "x.tar"), x, name), "at least one image")
	x = makeIndex(t, openCache(t, t.TempDir()), layer.Gzip, "amd64")
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "")
	wantError(t, image.WriteArchive(t.Context(), filepath.Join(file, "x.tar"), x, name), file)
	dir := t.TempDir()
	wantError(t, image.WriteArchive(t.Context(), dir, x, name), dir)
}
