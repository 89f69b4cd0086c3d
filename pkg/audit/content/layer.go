// Package content lists what is in an image: its files with their modes and
// owners, and its Go programs, as far as an audit looks at them. It keeps what
// it read by the digest of the layer, so that a layer is unpacked once.
//
// It must not know what is good or bad about a file.
package content

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/audit/reach"
	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/sbom"
)

// Store keeps what was read. pkg/cache is one.
type Store interface {
	ReadRecord(kind, key string, v any) error
	WriteRecord(kind, key string, v any) error
	TempDir() (dir string, remove func(), err error)
	Lock(ctx context.Context, kind, key string) (unlock func(), err error)
}

// Source opens layers as they are stored. pkg/inspect has one.
type Source interface {
	Layer(ctx context.Context, digest v1.Hash) (io.ReadCloser, error)
}

// Kind is what a path is.
type Kind string

// The kinds. Gone and Opaque are what a layer takes away.
const (
	File    Kind = "f"
	Dir     Kind = "d"
	Symlink Kind = "l"
	Gone    Kind = "-" // the path, from the layers beneath
	Opaque  Kind = "/" // what the layers beneath have in the directory
	Special Kind = "s" // a device, a pipe
)

// Entry is what a layer says of a path.
type Entry struct {
	Path    string `json:"p"` // absolute
	Kind    Kind   `json:"k"`
	Mode    uint32 `json:"m,omitempty"` // permission bits, setuid, setgid and sticky among them
	UID     int    `json:"u,omitempty"`
	GID     int    `json:"g,omitempty"`
	Size    int64  `json:"s,omitempty"`
	Link    string `json:"l,omitempty"` // what a symbolic link says, or which file a hard link repeats
	Program string `json:"x,omitempty"` // of a Go program: its SHA-256, by which Programs has it
}

// Layer is what is in one layer.
type Layer struct {
	Digest  string
	Entries []Entry
}

const (
	layerKind   = "audit-layer"
	programKind = "audit-program"
	// form is part of the keys under which layers and programs are kept.
	form = "audit content 1"
)

// maxUnpacked bounds what a layer may unpack to, in bytes.
const maxUnpacked = 16 << 30

// Read lists a layer, out of the store where it was read before.
func Read(ctx context.Context, src Source, digest v1.Hash, store Store) (*Layer, error) {
	l := &Layer{Digest: digest.String()}
	key := cache.Key(form, l.Digest)
	if l.known(store, key) {
		return l, nil
	}
	unlock, err := store.Lock(ctx, layerKind, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if l.known(store, key) {
		return l, nil
	}
	r, err := src.Layer(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	dir, remove, err := store.TempDir()
	if err != nil {
		return nil, err
	}
	defer remove()
	h := sha256.New()
	u := &reader{ctx: ctx, store: store, dir: dir}
	err = u.layer(io.TeeReader(r, h))
	if err == nil {
		_, err = io.Copy(h, r) // what follows the end
	}
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", digest, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != digest.Hex {
		return nil, fmt.Errorf("layer %s has the digest sha256:%s: it was changed or damaged", digest, got)
	}
	l.Entries = u.entries
	return l, store.WriteRecord(layerKind, key, l.Entries)
}

// known takes a layer from the store, if all of its programs are there too.
func (l *Layer) known(store Store, key string) bool {
	l.Entries = nil
	if store.ReadRecord(layerKind, key, &l.Entries) != nil {
		return false
	}
	for _, e := range l.Entries {
		if e.Program == "" {
			continue
		}
		if _, err := Program(store, e.Program); err != nil {
			return false
		}
	}
	return true
}

// Program is what is kept of a program that a layer has.
func Program(store Store, sum string) (*reach.Program, error) {
	var p reach.Program
	return &p, store.ReadRecord(programKind, cache.Key(form, sum), &p)
}

type reader struct {
	ctx     context.Context
	store   Store
	dir     string
	entries []Entry
	left    int64
}

func (u *reader) layer(r io.Reader) error {
	plain, done, err := sbom.Decompress(r)
	if err != nil {
		return err
	}
	defer done()
	u.left = maxUnpacked
	for t := tar.NewReader(plain); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, plain)
			return err
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
		e, err := u.entry(h, t)
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		if e.Path != "/" || e.Kind == Opaque {
			u.entries = append(u.entries, e)
		}
	}
}

func (u *reader) entry(h *tar.Header, r io.Reader) (Entry, error) {
	e := Entry{Path: path.Clean("/" + h.Name), Mode: uint32(h.Mode) & 0o7777, UID: h.Uid, GID: h.Gid}
	dir, name := path.Split(e.Path)
	if hidden, ok := strings.CutPrefix(name, ".wh."); ok {
		if hidden == ".wh..opq" {
			return Entry{Path: path.Clean(dir), Kind: Opaque}, nil
		}
		return Entry{Path: path.Join(dir, hidden), Kind: Gone}, nil
	}
	switch h.Typeflag {
	case tar.TypeReg:
		e.Kind, e.Size = File, h.Size
		return u.file(e, r)
	case tar.TypeDir:
		e.Kind = Dir
	case tar.TypeSymlink:
		e.Kind, e.Link = Symlink, h.Linkname
	case tar.TypeLink:
		e.Kind, e.Link = File, path.Clean("/"+h.Linkname)
	default:
		e.Kind = Special
	}
	return e, nil
}

// file looks into a file that can be a program.
func (u *reader) file(e Entry, r io.Reader) (Entry, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return e, err
	}
	if !reach.IsProgram(head) {
		return e, nil
	}
	file, err := os.Create(filepath.Join(u.dir, "file"))
	if err != nil {
		return e, err
	}
	defer os.Remove(file.Name())
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, h), b)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return e, err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if _, err := Program(u.store, sum); err == nil {
		e.Program = sum
		return e, nil
	}
	p, err := reach.Read(u.ctx, file.Name(), u.dir)
	if errors.Is(err, reach.ErrNoProgram) {
		return e, nil
	}
	if err != nil {
		return e, err
	}
	e.Program = sum
	return e, u.store.WriteRecord(programKind, cache.Key(form, sum), p)
}

// Tree is what is in an image, by path.
type Tree map[string]Entry

// Merge lays layers over each other, lowest first (OCI image-spec, Whiteouts).
func Merge(layers []*Layer) Tree {
	t := Tree{}
	for _, l := range layers {
		for _, e := range l.Entries { // a layer hides what is beneath it, not what it has itself
			if e.Kind == Gone || e.Kind == Opaque {
				t.hide(e)
			}
		}
		for _, e := range l.Entries {
			if e.Kind != Gone && e.Kind != Opaque {
				t.put(e)
			}
		}
	}
	return t
}

func (t Tree) hide(e Entry) {
	below := strings.TrimSuffix(e.Path, "/") + "/"
	for p := range t {
		if strings.HasPrefix(p, below) || p == e.Path && e.Kind == Gone {
			delete(t, p)
		}
	}
}

// put places an entry. A hard link is the file that it repeats, and what is no
// directory any more has nothing in it.
func (t Tree) put(e Entry) {
	if old, ok := t[e.Path]; ok && old.Kind == Dir && e.Kind != Dir {
		t.hide(Entry{Path: e.Path, Kind: Opaque})
	}
	if target, ok := t[e.Link]; ok && e.Kind == File && e.Link != "" {
		e.Size, e.Program, e.Mode, e.UID, e.GID = target.Size, target.Program, target.Mode, target.UID, target.GID
	}
	t[e.Path] = e
}
