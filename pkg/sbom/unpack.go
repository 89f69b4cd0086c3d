package sbom

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// maxUnpacked bounds what the layers of a foreign image may come to, in bytes.
const maxUnpacked = 16 << 30

// Unpack reads an image's layers into a tree, lowest first: tar archives that
// are plain or compressed by gzip or zstd (OCI image-spec, Layer Filesystem
// Changeset). The files' bytes go into the store.
func Unpack(ctx context.Context, store Store, layers ...io.Reader) (*rootfs.Tree, error) {
	u := &unpacker{ctx: ctx, store: store, tree: rootfs.New(), left: maxUnpacked}
	for i, l := range layers {
		if err := u.layer(l); err != nil {
			return nil, fmt.Errorf("unpacking layer %d: %w", i+1, err)
		}
	}
	return u.tree, nil
}

type unpacker struct {
	ctx   context.Context
	store Store
	tree  *rootfs.Tree
	left  int64
}

func (u *unpacker) layer(r io.Reader) error {
	plain, done, err := Decompress(r)
	if err != nil {
		return err
	}
	defer done()
	for t := tar.NewReader(plain); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := u.ctx.Err(); err != nil {
			return err
		}
		if u.left -= h.Size; u.left < 0 {
			return fmt.Errorf("it comes to more than %d bytes", int64(maxUnpacked))
		}
		if err := u.entry(h, t); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

// Decompress tells by its first bytes how a layer is compressed. done lets go of
// what that took.
func Decompress(r io.Reader) (plain io.Reader, done func(), err error) {
	b := bufio.NewReader(r)
	magic, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		return z, func() {}, err
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return b, func() {}, nil
}

// entry does to the tree what one entry of a layer says. What is neither file
// nor directory nor link is left out.
func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	p := path.Clean("/" + h.Name)
	dir, name := path.Split(p)
	if hidden, ok := strings.CutPrefix(name, ".wh."); ok {
		if hidden == ".wh..opq" {
			return u.empty(path.Clean(dir))
		}
		u.tree.Remove(path.Join(dir, hidden))
		return nil
	}
	if p == "/" {
		return nil
	}
	e := rootfs.Entry{Path: p, Mode: uint32(h.Mode) & 0o7777, UID: h.Uid, GID: h.Gid, Component: rootfs.BaseComponent, Origin: "image"}
	switch h.Typeflag {
	case tar.TypeDir:
		e.Type = rootfs.Dir
		if old, ok := u.tree.Get(p); ok && old.Type == rootfs.Dir {
			return nil
		}
	case tar.TypeReg:
		digest, size, err := u.store.Put(u.ctx, r)
		if err != nil {
			return err
		}
		e.Type, e.Content = rootfs.File, content{document{digest, size}, u.store}
	case tar.TypeSymlink:
		e.Type, e.Link = rootfs.Symlink, h.Linkname
	case tar.TypeLink:
		e.Type, e.Link = rootfs.Hardlink, path.Clean("/"+h.Linkname)
	default:
		return nil
	}
	if _, ok := u.tree.Get(p); ok {
		u.tree.Remove(p)
	}
	return u.tree.Replace(e)
}

// empty takes everything out of a directory.
func (u *unpacker) empty(dir string) error {
	var inside []string
	err := u.tree.Walk(func(e *rootfs.Entry) error {
		if path.Dir(e.Path) == dir && e.Path != dir {
			inside = append(inside, e.Path)
		}
		return nil
	})
	for _, p := range inside {
		u.tree.Remove(p)
	}
	return err
}

// Document writes the SBOM of an image that was unpacked, of which nothing is
// known but its files.
func (m *Maker) Document(ctx context.Context, format Format, f Facts, subject string) ([]byte, error) {
	f.Scanned = true
	return m.Image(ctx, format, f, subject, nil)
}
