//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// openLayout reads an OCI layout and returns its one image, which has to be an
// index, and the descriptor by which index.json names it. Lists of referrers
// stand beside it.
func openLayout(dir string) (v1.ImageIndex, v1.Descriptor, error) {
	path, err := layout.FromPath(dir)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	top, err := path.ImageIndex()
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	m, err := top.IndexManifest()
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	entries := slices.DeleteFunc(m.Manifests, func(d v1.Descriptor) bool {
		return strings.HasPrefix(d.Annotations[ocispec.AnnotationRefName], "sha256-")
	})
	if len(entries) != 1 {
		return nil, v1.Descriptor{}, fmt.Errorf("%s/index.json has %d images, want 1", dir, len(entries))
	}
	index, err := top.ImageIndex(entries[0].Digest)
	return index, entries[0], err
}

// platformImages returns the images of an index by architecture.
func platformImages(index v1.ImageIndex) (map[string]v1.Image, error) {
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	images := map[string]v1.Image{}
	for _, d := range m.Manifests {
		if d.Platform == nil {
			return nil, fmt.Errorf("manifest %s has no platform", d.Digest)
		}
		if _, ok := images[d.Platform.Architecture]; ok {
			return nil, fmt.Errorf("two manifests for %s", d.Platform.Architecture)
		}
		if images[d.Platform.Architecture], err = index.Image(d.Digest); err != nil {
			return nil, err
		}
	}
	return images, nil
}

// imagesOf is platformImages of the one index of a layout.
func imagesOf(t testing.TB, dir string) map[string]v1.Image {
	t.Helper()
	index, _, err := openLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	images, err := platformImages(index)
	if err != nil {
		t.Fatal(err)
	}
	return images
}

// file is an entry of an image's file tree with its content.
type file struct {
	tar.Header
	content []byte
}

// walkLayer calls f for every entry of a layer, in order. The content may be
// read while f runs.
func walkLayer(layer v1.Layer, f func(*tar.Header, io.Reader) error) error {
	r, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	defer r.Close()
	entries := tar.NewReader(r)
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(h, entries); err != nil {
			return err
		}
	}
}

// tree reads all layers of an image into one map from absolute path to file.
// Layers that are made of components never hide each other's files: only
// directories may come twice, and then alike.
func tree(t testing.TB, image v1.Image) map[string]file {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]file{}
	for _, layer := range layers {
		err := walkLayer(layer, func(h *tar.Header, r io.Reader) error {
			content, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			path := filepath.Join("/", h.Name)
			if old, ok := files[path]; ok && !sameDirectory(&old.Header, h) {
				t.Errorf("%s is in two layers, and not alike:\n  %s\n  %s", path, headerLine(&old.Header), headerLine(h))
			}
			files[path] = file{Header: *h, content: content}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// sameDirectory tells whether two layers agree about a directory. Each has its
// own date, that of its component.
func sameDirectory(a, b *tar.Header) bool {
	return a.Typeflag == tar.TypeDir && b.Typeflag == tar.TypeDir && a.Mode == b.Mode && a.Uid == b.Uid && a.Gid == b.Gid
}

// headerLine says all of a tar header that can differ between two builds.
func headerLine(h *tar.Header) string {
	return fmt.Sprintf("%s type %c mode %o owner %d:%d (%s:%s) size %d time %s link %q format %s", h.Name, h.Typeflag, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname, h.Size, h.ModTime.UTC(), h.Linkname, h.Format)
}

// firstDifference goes down two layouts that should be the same, and names the
// first thing that differs: a manifest, a key of the configuration, an entry of
// a layer. It returns "" for layouts with the same index.
func firstDifference(a, b string) (string, error) {
	indexA, topA, err := openLayout(a)
	if err != nil {
		return "", err
	}
	indexB, topB, err := openLayout(b)
	if err != nil {
		return "", err
	}
	if topA.Digest == topB.Digest {
		if !reflect.DeepEqual(topA, topB) {
			return fmt.Sprintf("index.json: %+v and %+v", topA, topB), nil
		}
		return "", nil
	}
	imagesA, err := platformImages(indexA)
	if err != nil {
		return "", err
	}
	imagesB, err := platformImages(indexB)
	if err != nil {
		return "", err
	}
	for arch, imageA := range imagesA {
		imageB, ok := imagesB[arch]
		if !ok {
			return "only one has an image for " + arch, nil
		}
		if d, err := imageDifference(imageA, imageB); d != "" || err != nil {
			return arch + ": " + d, err
		}
	}
	return rawDifference("index", indexA.RawManifest, indexB.RawManifest)
}

func imageDifference(a, b v1.Image) (string, error) {
	layersA, err := a.Layers()
	if err != nil {
		return "", err
	}
	layersB, err := b.Layers()
	if err != nil {
		return "", err
	}
	if len(layersA) != len(layersB) {
		return fmt.Sprintf("%d and %d layers", len(layersA), len(layersB)), nil
	}
	for i := range layersA {
		if d, err := layerDifference(layersA[i], layersB[i]); d != "" || err != nil {
			return fmt.Sprintf("layer %d: %s", i, d), err
		}
	}
	if d, err := rawDifference("configuration", a.RawConfigFile, b.RawConfigFile); d != "" || err != nil {
		return d, err
	}
	return rawDifference("manifest", a.RawManifest, b.RawManifest)
}

func layerDifference(a, b v1.Layer) (string, error) {
	digestA, err := a.Digest()
	if err != nil {
		return "", err
	}
	digestB, err := b.Digest()
	if err != nil || digestA == digestB {
		return "", err
	}
	listA, err := entryLines(a)
	if err != nil {
		return "", err
	}
	listB, err := entryLines(b)
	if err != nil {
		return "", err
	}
	for i := range max(len(listA), len(listB)) {
		var lineA, lineB string
		if i < len(listA) {
			lineA = listA[i]
		}
		if i < len(listB) {
			lineB = listB[i]
		}
		if lineA != lineB {
			return fmt.Sprintf("entry %d:\n  %s\n  %s", i, lineA, lineB), nil
		}
	}
	return fmt.Sprintf("the same entries, but %s and %s: compression or padding differs", digestA, digestB), nil
}

// entryLines describes each entry of a layer in a line.
func entryLines(layer v1.Layer) ([]string, error) {
	var lines []string
	err := walkLayer(layer, func(h *tar.Header, r io.Reader) error {
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%s %v sha256 %x", headerLine(h), h.PAXRecords, sum.Sum(nil)))
		return nil
	})
	return lines, err
}

func rawDifference(what string, a, b func() ([]byte, error)) (string, error) {
	rawA, err := a()
	if err != nil {
		return "", err
	}
	rawB, err := b()
	if err != nil || bytes.Equal(rawA, rawB) {
		return "", err
	}
	return fmt.Sprintf("%s:\n  %s\n  %s", what, rawA, rawB), nil
}

// blobs maps the path of every file beneath dir, relative to it, to what would
// change if it were written again.
func blobs(t testing.TB, dir string) map[string]os.FileInfo {
	t.Helper()
	found := map[string]os.FileInfo{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		found[name] = info
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
