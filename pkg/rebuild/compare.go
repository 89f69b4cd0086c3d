package rebuild

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/inspect"
)

// Difference is where what was built and what is there begin to differ: the
// first one from the index down.
type Difference struct {
	Where  string `json:"where"`  // "linux/amd64, layer 2 (etcd-3.6.16), usr/local/bin/etcd"
	What   string `json:"what"`   // "content", "mode", "manifest"
	Offset int64  `json:"offset"` // first byte that differs, from 0; -1 where there is no such thing
	Want   string `json:"want"`   // in the image that is there
	Got    string `json:"got"`    // in the one that was built
}

func (d *Difference) String() string {
	at := ""
	if d.Offset >= 0 {
		at = fmt.Sprintf(", from byte %d on", d.Offset)
	}
	return fmt.Sprintf("%s: the %s differs%s: it is %s, and was built as %s", d.Where, d.What, at, d.Want, d.Got)
}

// compare goes down from the manifest or index that is there and the one that
// was built; nil when they are equal. What has the same digest is the same.
func compare(ctx context.Context, s inspect.Source, want v1.Descriptor, r *build.Result) (*Difference, error) {
	if !want.MediaType.IsIndex() {
		if len(r.Images) != 1 {
			return nil, fmt.Errorf("%s is one image, and %d were built", want.Digest, len(r.Images))
		}
		return compareImage(ctx, s, want, r.Images[0])
	}
	if want.Digest == r.Descriptor.Digest {
		return nil, nil
	}
	raw, err := s.Manifest(ctx, want.Digest)
	if err != nil {
		return nil, err
	}
	var m v1.IndexManifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("index %s: %w", want.Digest, err)
	}
	for _, img := range r.Images {
		i := slices.IndexFunc(m.Manifests, func(d v1.Descriptor) bool {
			return d.Platform != nil && d.Platform.Architecture == img.Arch
		})
		if i < 0 {
			return &Difference{Where: "index", What: "list of platforms", Offset: -1, Want: "without linux/" + img.Arch, Got: "with it"}, nil
		}
		if d, err := compareImage(ctx, s, m.Manifests[i], img); d != nil || err != nil {
			return d, err
		}
	}
	built, err := r.Index.RawManifest()
	if err != nil {
		return nil, err
	}
	return differentBytes("index", "manifest", raw, built), nil
}

func compareImage(ctx context.Context, s inspect.Source, want v1.Descriptor, img build.Image) (*Difference, error) {
	if want.Digest == img.Descriptor.Digest {
		return nil, nil
	}
	where := "linux/" + img.Arch
	raw, err := s.Manifest(ctx, want.Digest)
	if err != nil {
		return nil, err
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("image %s: %w", want.Digest, err)
	}
	layers, err := img.Image.Layers()
	if err != nil {
		return nil, err
	}
	if len(layers) != len(m.Layers) {
		return &Difference{Where: where, What: "number of layers", Offset: -1, Want: fmt.Sprint(len(m.Layers)), Got: fmt.Sprint(len(layers))}, nil
	}
	for i, l := range layers {
		name := fmt.Sprintf("%s, layer %d %v", where, i+1, img.Layers[i].Components)
		if m.Layers[i].Digest.String() == img.Layers[i].Digest {
			continue
		}
		if d, err := compareLayer(ctx, s, name, m.Layers[i], l); d != nil || err != nil {
			return d, err
		}
	}
	config, err := s.Blob(ctx, m.Config.Digest)
	if err != nil {
		return nil, err
	}
	builtConfig, err := img.Image.RawConfigFile()
	if err != nil {
		return nil, err
	}
	if d := differentBytes(where, "configuration", config, builtConfig); d != nil {
		return d, nil
	}
	built, err := img.Image.RawManifest()
	if err != nil {
		return nil, err
	}
	return differentBytes(where, "manifest", raw, built), nil
}

// compareLayer compares two layers whose digests differ, entry by entry.
func compareLayer(ctx context.Context, s inspect.Source, where string, want v1.Descriptor, built v1.Layer) (*Difference, error) {
	compressed, err := s.Layer(ctx, want.Digest)
	if err != nil {
		return nil, err
	}
	defer compressed.Close()
	a, err := decompress(compressed)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", want.Digest, err)
	}
	b, err := built.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer b.Close()
	d, err := compareTars(where, tar.NewReader(a), tar.NewReader(b))
	if d != nil || err != nil {
		return d, err
	}
	digest, err := built.Digest()
	return &Difference{Where: where, What: "compression, and nothing else,", Offset: -1, Want: want.Digest.String(), Got: digest.String()}, err
}

// decompress tells gzip, zstd and neither apart by their first bytes.
func decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	magic, err := b.Peek(4)
	switch {
	case err != nil:
		return nil, err
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(b)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return b, nil
}

func compareTars(where string, a, b *tar.Reader) (*Difference, error) {
	for {
		want, errA := a.Next()
		got, errB := b.Next()
		switch endA, endB := errors.Is(errA, io.EOF), errors.Is(errB, io.EOF); {
		case endA && endB:
			return nil, nil
		case endA && errB == nil:
			return &Difference{Where: where, What: "list of files", Offset: -1, Want: "at its end", Got: "going on with " + got.Name}, nil
		case endB && errA == nil:
			return &Difference{Where: where, What: "list of files", Offset: -1, Want: "going on with " + want.Name, Got: "at its end"}, nil
		case errA != nil:
			return nil, fmt.Errorf("%s: %w", where, errA)
		case errB != nil:
			return nil, fmt.Errorf("%s, as built: %w", where, errB)
		}
		if d := compareHeaders(where, want, got); d != nil {
			return d, nil
		}
		offset, err := firstDifference(a, b)
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", where, want.Name, err)
		}
		if offset >= 0 || want.Size != got.Size {
			if offset < 0 {
				offset = min(want.Size, got.Size)
			}
			return &Difference{Where: where + ", " + want.Name, What: "content", Offset: offset,
				Want: fmt.Sprintf("%d bytes", want.Size), Got: fmt.Sprintf("%d bytes", got.Size)}, nil
		}
	}
}

func compareHeaders(where string, a, b *tar.Header) *Difference {
	at := where + ", " + a.Name
	for _, f := range []struct {
		what      string
		want, got any
	}{
		{"name", a.Name, b.Name},
		{"kind", string(a.Typeflag), string(b.Typeflag)},
		{"mode", fmt.Sprintf("%#o", a.Mode), fmt.Sprintf("%#o", b.Mode)},
		{"owner", fmt.Sprintf("%d:%d", a.Uid, a.Gid), fmt.Sprintf("%d:%d", b.Uid, b.Gid)},
		{"date", a.ModTime.UTC(), b.ModTime.UTC()},
		{"link", a.Linkname, b.Linkname},
		{"owner's name", a.Uname + ":" + a.Gname, b.Uname + ":" + b.Gname},
		{"set of PAX records", fmt.Sprint(a.PAXRecords), fmt.Sprint(b.PAXRecords)},
	} {
		if f.want != f.got {
			return &Difference{Where: at, What: f.what, Offset: -1, Want: fmt.Sprint(f.want), Got: fmt.Sprint(f.got)}
		}
	}
	return nil
}

// firstDifference is the offset of the first byte in which two streams differ,
// the shorter one's end included; -1 for equal ones.
func firstDifference(a, b io.Reader) (int64, error) {
	const size = 64 << 10
	bufA, bufB := make([]byte, size), make([]byte, size)
	var at int64
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		if i := firstByte(bufA[:n], bufB[:m]); i >= 0 {
			return at + int64(i), nil
		}
		at += int64(n)
		for _, err := range []error{errA, errB} {
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return 0, err
			}
		}
		if errA != nil || errB != nil {
			return -1, nil
		}
	}
}

// firstByte is where two pieces begin to differ, -1 for equal ones.
func firstByte(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

// differentBytes compares two small documents; nil for equal ones.
func differentBytes(where, what string, want, got []byte) *Difference {
	i := firstByte(want, got)
	if i < 0 {
		return nil
	}
	return &Difference{Where: where, What: what, Offset: int64(i), Want: around(want, i), Got: around(got, i)}
}

// around quotes a document at an offset.
func around(b []byte, at int) string {
	const before, after = 30, 50
	return fmt.Sprintf("%q", b[max(0, at-before):min(len(b), at+after)])
}
