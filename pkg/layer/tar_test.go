package layer_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/layer"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

func TestTheArchiveOfASmallTree(t *testing.T) {
	c := openCache(t)
	l := makeLayer(t, c, single(t, small(t)), layer.Gzip)
	b := archive(t, c, l)
	var got strings.Builder
	for _, h := range headers(t, bytes.NewReader(b)) {
		fmt.Fprintf(&got, "%c %05o %d:%d %2d %s %s", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size, h.ModTime.UTC().Format(time.RFC3339), h.Name)
		if h.Linkname != "" {
			fmt.Fprintf(&got, " -> %s", h.Linkname)
		}
		if h.Format != tar.FormatUSTAR {
			fmt.Fprintf(&got, " (%v)", h.Format)
		}
		got.WriteByte('\n')
	}
	fmt.Fprintf(&got, "%s, %d bytes\n", sum(b), len(b))
	golden(t, "small.tar.golden", got.String())
}

// The digests stand for every byte of the compressed layers. A new release of
// a compressor may change them; the version of its format must change then.
func TestTheLayersOfASmallTree(t *testing.T) {
	c := openCache(t)
	var got strings.Builder
	for _, how := range allCompressions {
		l := makeLayer(t, c, single(t, small(t)), how)
		fmt.Fprintf(&got, "%s %s %s, %d bytes, diff ID %s\n", how, l.MediaType, l.Digest, l.Size, l.DiffID)
	}
	golden(t, "small.layers.golden", got.String())
}

func TestNobodyIsNamedInAnArchive(t *testing.T) {
	c := openCache(t)
	l := makeLayer(t, c, single(t, small(t)), layer.Gzip)
	for _, h := range headers(t, bytes.NewReader(archive(t, c, l))) {
		if h.Uname != "" || h.Gname != "" || !h.AccessTime.IsZero() || !h.ChangeTime.IsZero() {
			t.Errorf("%s: owner %q:%q, access %v, change %v", h.Name, h.Uname, h.Gname, h.AccessTime, h.ChangeTime)
		}
	}
}

func TestTheDateHasNoFractions(t *testing.T) {
	tr := tree(t, file("etcd", "/a", ""))
	tr.SetDate("etcd", releaseDate.Add(987654321))
	c := openCache(t)
	for _, h := range headers(t, bytes.NewReader(archive(t, c, makeLayer(t, c, single(t, tr), layer.Gzip)))) {
		if !h.ModTime.Equal(releaseDate) || h.Format != tar.FormatUSTAR {
			t.Errorf("%s: %v in %v", h.Name, h.ModTime, h.Format)
		}
	}
}

func TestARootOfItsOwnIsArchived(t *testing.T) {
	c := openCache(t)
	tr := tree(t, dir("base", "/", 0o711, 5), file("base", "/a", ""))
	hs := headers(t, bytes.NewReader(archive(t, c, makeLayer(t, c, single(t, tr), layer.Gzip))))
	if len(hs) != 2 || hs[0].Name != "./" || hs[0].Mode != 0o711 || hs[0].Uid != 5 || hs[1].Name != "a" {
		t.Errorf("headers %+v", hs)
	}
}

func TestContentOfAnotherSizeIsAnError(t *testing.T) {
	for _, size := range []int64{4, 6} {
		tr := tree(t, entry("base", "/etc/motd", wrongSize{rootfs.Bytes([]byte("hello")), size}))
		_, err := (&layer.Writer{Store: openCache(t)}).Layer(t.Context(), single(t, tr), layer.Gzip)
		if err == nil || !strings.Contains(err.Error(), "/etc/motd") {
			t.Errorf("size %d: error %v", size, err)
		}
	}
}

type wrongSize struct {
	rootfs.Content
	size int64
}

func (c wrongSize) Size() int64 { return c.size }
