package rebuild_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/layer"
	"github.com/etcdimg/etcdimg/pkg/provenance"
	"github.com/etcdimg/etcdimg/pkg/rebuild"
)

// file is an entry of a layer.
type file struct {
	tar.Header
	content string
}

func plain(name, content string) file {
	return file{tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg}, content}
}

// shape is an image of one layer.
type shape struct {
	files []file
	level int
	zstd  bool
	more  int // further layers
	user  string
	note  string
}

func (s shape) image(t *testing.T) v1.Image {
	t.Helper()
	var archive, blob bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range s.files {
		f.Size = int64(len(f.content))
		if err := w.WriteHeader(&f.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	mediaType := types.OCILayer
	if s.zstd {
		mediaType = types.OCILayerZStd
		z, err := zstd.NewWriter(&blob)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(archive.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	} else {
		z, err := gzip.NewWriterLevel(&blob, s.level)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(archive.Bytes()); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	img := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: v1.Config{User: s.user}, RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 1 + s.more {
		if img, err = mutate.AppendLayers(img, compressed{static.NewLayer(blob.Bytes(), mediaType), archive.Bytes()}); err != nil {
			t.Fatal(err)
		}
	}
	return mutate.Annotations(img, map[string]string{"note": s.note}).(v1.Image)
}

// compressed is a layer whose archive is known.
type compressed struct {
	v1.Layer
	archive []byte
}

func (c compressed) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(c.archive)), nil
}

func (c compressed) DiffID() (v1.Hash, error) {
	h, _, err := v1.SHA256(bytes.NewReader(c.archive))
	return h, err
}

// built is what a build of that shape gives.
func built(t *testing.T, s shape) *build.Result {
	t.Helper()
	img := s.image(t)
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	i := build.Image{Arch: "amd64", Image: img, Descriptor: describe(t, img)}
	i.Digest = i.Descriptor.Digest.String()
	for range m.Layers {
		i.Layers = append(i.Layers, layer.Layer{Digest: m.Layers[0].Digest.String(), Components: []string{"base"}})
	}
	x := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	d := describe(t, x)
	return &build.Result{Digest: d.Digest.String(), Descriptor: d, Index: x, Images: []build.Image{i}}
}

func describe(t *testing.T, x interface {
	Digest() (v1.Hash, error)
	Size() (int64, error)
	MediaType() (types.MediaType, error)
}) v1.Descriptor {
	t.Helper()
	digest, err := x.Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := x.Size()
	if err != nil {
		t.Fatal(err)
	}
	mediaType, err := x.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{Digest: digest, Size: size, MediaType: mediaType}
}

// stored writes the index of that shape into a layout.
func stored(t *testing.T, s shape) (inspect.Source, v1.Descriptor) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Write(dir, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: built(t, s).Index})); err != nil {
		t.Fatal(err)
	}
	src, d, err := inspect.Open(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src, d
}

func TestTheFirstDifferenceIsNamed(t *testing.T) {
	changed := func(f func(*tar.Header)) shape {
		e := plain("etc/motd", "hello\n")
		f(&e.Header)
		return shape{files: []file{plain("etc/a", "a"), e}}
	}
	was := shape{files: []file{plain("etc/a", "a"), plain("etc/motd", "hello\n")}}
	large := strings.Repeat("0123456789abcdef", 10000)
	for what, c := range map[string]struct {
		there, made shape
		want        string
	}{
		"nothing":           {was, was, ""},
		"a byte":            {was, shape{files: []file{plain("etc/a", "a"), plain("etc/motd", "helio\n")}}, "linux/amd64, layer 1 [base], etc/motd: the content differs, from byte 3 on: it is 6 bytes, and was built as 6 bytes"},
		"a byte far behind": {shape{files: []file{plain("x", large+"a")}}, shape{files: []file{plain("x", large+"b")}}, "x: the content differs, from byte 160000 on"},
		"a longer file":     {was, shape{files: []file{plain("etc/a", "a"), plain("etc/motd", "hello\n\n")}}, "etc/motd: the content differs, from byte 6 on: it is 6 bytes, and was built as 7 bytes"},
		"a mode":            {was, changed(func(h *tar.Header) { h.Mode = 0o600 }), "etc/motd: the mode differs: it is 0644, and was built as 0600"},
		"an owner":          {was, changed(func(h *tar.Header) { h.Gid = 5 }), "etc/motd: the owner differs: it is 0:0, and was built as 0:5"},
		"a date":            {was, changed(func(h *tar.Header) { h.ModTime = h.ModTime.Add(1e9) }), "etc/motd: the date differs"},
		"a name":            {was, changed(func(h *tar.Header) { h.Name = "etc/motto" }), "etc/motd: the name differs: it is etc/motd, and was built as etc/motto"},
		"a file more":       {shape{files: was.files[:1]}, was, "layer 1 [base]: the list of files differs: it is at its end, and was built as going on with etc/motd"},
		"a file less":       {was, shape{files: was.files[:1]}, "it is going on with etc/motd, and was built as at its end"},
		"the compression":   {was, shape{files: was.files, level: 9}, "the compression, and nothing else, differs"},
		"another format":    {shape{files: was.files, zstd: true}, was, "the compression, and nothing else, differs"},
		"a layer more":      {was, shape{files: was.files, more: 1}, "linux/amd64: the number of layers differs: it is 1, and was built as 2"},
		"the configuration": {was, shape{files: was.files, user: "7"}, `linux/amd64: the configuration differs, from byte`},
		"the manifest":      {was, shape{files: was.files, note: "x"}, `linux/amd64: the manifest differs, from byte`},
	} {
		t.Run(what, func(t *testing.T) {
			s, d := stored(t, c.there)
			r := built(t, c.made)
			got, _, err := rebuild.Rebuild(t.Context(), s, d, &provenance.Inputs{}, func(context.Context, *provenance.Inputs) (*build.Result, error) { return r, nil })
			if err != nil {
				t.Fatal(err)
			}
			said := ""
			if got.Difference != nil {
				said = got.Difference.String()
			}
			if !strings.Contains(said, c.want) || c.want == "" && said != "" {
				t.Errorf("difference %q, want %q", said, c.want)
			}
			if got.Digest != d.Digest.String() || got.Built != r.Digest || (got.Digest == got.Built) != (c.want == "") {
				t.Errorf("report %+v", got)
			}
			if _, err := json.Marshal(got); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAnInputThatIsGoneIsAnErrorOfItsOwn(t *testing.T) {
	s, d := stored(t, shape{})
	other := errors.New("the disk is full")
	for _, c := range []struct {
		err  error
		gone bool
	}{
		{fmt.Errorf("unpacking: %w", debian.ErrUnavailable), true},
		{fmt.Errorf("compiling: %w", etcd.ErrUnavailable), true},
		{other, false},
	} {
		_, _, err := rebuild.Rebuild(t.Context(), s, d, &provenance.Inputs{}, func(context.Context, *provenance.Inputs) (*build.Result, error) { return nil, c.err })
		var vanished *rebuild.VanishedError
		if !errors.Is(err, c.err) || errors.As(err, &vanished) != c.gone {
			t.Errorf("%v became %v", c.err, err)
		}
	}
}

func TestAnImageWithoutProvenance(t *testing.T) {
	s, d := stored(t, shape{})
	if _, err := rebuild.Read(t.Context(), s, d, rebuild.Unverified, nil); !errors.Is(err, rebuild.ErrNoProvenance) {
		t.Errorf("error %v", err)
	}
	foreign := func(context.Context, inspect.Source, v1.Hash) ([][]byte, error) {
		return [][]byte{[]byte(`{"_type":"x"}`)}, nil
	}
	if _, err := rebuild.Read(t.Context(), s, d, foreign, nil); !errors.Is(err, rebuild.ErrNoProvenance) {
		t.Errorf("error %v", err)
	}
	refused := errors.New("not signed")
	if _, err := rebuild.Read(t.Context(), s, d, func(context.Context, inspect.Source, v1.Hash) ([][]byte, error) { return nil, refused }, nil); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
}
