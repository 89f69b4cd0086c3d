// Package rootfs is the file tree of an image in memory: for every path its
// mode, owner, link or content by digest, and which component put it there.
// Packages, binaries, accounts and the profile's paths are written into it one
// after the other, under rules that make a clash an error instead of a
// surprise.
//
// It must not know where content came from, nor how a tree becomes layers.
package rootfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// BaseComponent is the component of everything that is neither a package
// group nor a program of its own: accounts, directories, local files.
const BaseComponent = "base"

// Tree is a file tree under construction. It is not safe for concurrent use.
type Tree struct {
	entries map[string]*Entry
	implied map[string]bool // directories that exist only because something lies in them
	dates   map[string]time.Time
}

// New returns a tree that holds nothing but its root, mode 0755.
func New() *Tree {
	t := &Tree{entries: map[string]*Entry{}, implied: map[string]bool{}, dates: map[string]time.Time{}}
	t.entries["/"] = &Entry{Path: "/", Type: Dir, Mode: 0o755, Component: BaseComponent}
	t.implied["/"] = true
	return t
}

// Get returns the entry at exactly that path. The entry must not be changed.
func (t *Tree) Get(p string) (*Entry, bool) {
	e, ok := t.entries[p]
	return e, ok
}

// Lookup returns what is found at a path, symbolic links followed, the last
// element's too. The entry must not be changed.
func (t *Tree) Lookup(p string) (*Entry, bool) {
	at, err := t.Follow(p)
	if err != nil {
		return nil, false
	}
	return t.Get(at)
}

// Implied says whether the directory at p is there only because something lies
// in it: nobody gave it a mode or an owner.
func (t *Tree) Implied(p string) bool { return t.implied[p] }

// Len is the number of entries, the root included.
func (t *Tree) Len() int { return len(t.entries) }

// Walk calls f for every entry, in bytewise order of paths, until f returns an
// error. f must not change the tree.
func (t *Tree) Walk(f func(*Entry) error) error {
	paths := make([]string, 0, len(t.entries))
	for p := range t.entries {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		if err := f(t.entries[p]); err != nil {
			return err
		}
	}
	return nil
}

// SetDate tells that a component was made from an input of that date. The
// newest date of a component is its files' modification time.
func (t *Tree) SetDate(component string, date time.Time) {
	if date.After(t.dates[component]) {
		t.dates[component] = date.UTC()
	}
}

// Date is the newest date that SetDate gave a component, or the Unix epoch.
func (t *Tree) Date(component string) time.Time {
	if d, ok := t.dates[component]; ok {
		return d
	}
	return time.Unix(0, 0).UTC()
}

// Add puts an entry where nothing of another kind or content is. Directories
// that are there already keep their mode and owner, as dpkg does it; links in
// the directory part of the path, and all of those on the way to a directory,
// are followed, also as dpkg does it. What the path implies is created with
// mode 0755, owned by root.
func (t *Tree) Add(e Entry) error { return t.put(e, false) }

// Replace puts an entry whatever is there, a directory with something in it
// excepted. Links are followed as Add follows them.
func (t *Tree) Replace(e Entry) error { return t.put(e, true) }

func (t *Tree) put(e Entry, replace bool) error {
	if err := check(&e); err != nil {
		return err
	}
	resolve := t.Resolve
	if e.Type == Dir {
		resolve = t.Follow
	}
	resolved, err := resolve(e.Path)
	if err == nil && e.Type == Hardlink {
		e.Link, err = t.Resolve(e.Link)
	}
	if err != nil {
		return fmt.Errorf("%s (%s): %w", e.Path, e.Origin, err)
	}
	e.Path = resolved
	old, exists := t.entries[e.Path]
	switch {
	case !exists:
	case e.Type == Dir && old.Type == Dir:
		if !replace && !t.implied[e.Path] {
			return nil
		}
	case old.Type == Dir && (t.hasChildren(e.Path) || !replace && !t.implied[e.Path]):
		return fmt.Errorf("%s: %s wants a %s where %s has a directory", e.Path, e.Origin, e.Type, old.Origin)
	case !replace && !same(old, &e):
		return fmt.Errorf("%s: both %s and %s bring it, and they differ", e.Path, old.Origin, e.Origin)
	}
	if err := t.imply(path.Dir(e.Path), &e); err != nil {
		return err
	}
	t.entries[e.Path] = &e
	delete(t.implied, e.Path)
	return nil
}

func (t *Tree) imply(dir string, child *Entry) error {
	if parent, ok := t.entries[dir]; ok {
		if parent.Type != Dir {
			return fmt.Errorf("%s: %s needs the directory %s, which is a %s of %s", child.Path, child.Origin, dir, parent.Type, parent.Origin)
		}
		return nil
	}
	if err := t.imply(path.Dir(dir), child); err != nil {
		return err
	}
	t.entries[dir] = &Entry{Path: dir, Type: Dir, Mode: 0o755, Component: child.Component, Origin: child.Origin}
	t.implied[dir] = true
	return nil
}

// Remove takes the entry at exactly that path out, and everything beneath it.
// The root itself stays.
func (t *Tree) Remove(p string) {
	if p != "/" {
		delete(t.entries, p)
		delete(t.implied, p)
	}
	prefix := strings.TrimSuffix(p, "/") + "/"
	for q := range t.entries {
		if q != "/" && strings.HasPrefix(q, prefix) {
			delete(t.entries, q)
			delete(t.implied, q)
		}
	}
}

func (t *Tree) hasChildren(dir string) bool {
	prefix := strings.TrimSuffix(dir, "/") + "/"
	for p := range t.entries {
		if p != dir && strings.HasPrefix(p, prefix) {
			return true
		}
	}
	return false
}

const maxLinks = 40 // as the kernel has it

var errLoop = errors.New("too many levels of symbolic links")

// Resolve follows symbolic links in the directory part of a path, as opening
// it inside the image would. The last element is left as it is.
func (t *Tree) Resolve(p string) (string, error) {
	p = path.Clean(p)
	for range maxLinks {
		link := t.firstLink(path.Dir(p))
		if link == nil {
			return p, nil
		}
		p = path.Join(link.target(), strings.TrimPrefix(p, link.Path))
	}
	return "", errLoop
}

// Follow resolves a path with its last element too. What it returns need not
// be there.
func (t *Tree) Follow(p string) (string, error) {
	for range maxLinks {
		resolved, err := t.Resolve(p)
		if err != nil {
			return "", err
		}
		e, ok := t.entries[resolved]
		if !ok || e.Type != Symlink {
			return resolved, nil
		}
		p = e.target()
	}
	return "", errLoop
}

// target is the absolute path that a symbolic link leads to.
func (e *Entry) target() string {
	if path.IsAbs(e.Link) {
		return path.Clean(e.Link)
	}
	return path.Join(path.Dir(e.Path), e.Link)
}

func (t *Tree) firstLink(dir string) *Entry {
	for i := 1; i <= len(dir); i++ {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		if e, ok := t.entries[dir[:i]]; ok && e.Type == Symlink {
			return e
		}
	}
	return nil
}

// ReadFile returns the content of the regular file at p, links followed.
func (t *Tree) ReadFile(p string) ([]byte, error) {
	b, err := t.readFile(p)
	if err != nil {
		return nil, fmt.Errorf("reading %s in the image: %w", p, err)
	}
	return b, nil
}

func (t *Tree) readFile(p string) ([]byte, error) {
	at, err := t.Follow(p)
	if err != nil {
		return nil, err
	}
	e, ok := t.entries[at]
	if ok && e.Type == Hardlink {
		e, ok = t.entries[e.Link]
	}
	switch {
	case !ok:
		return nil, fs.ErrNotExist
	case e.Type != File:
		return nil, fmt.Errorf("it is a %s", e.Type)
	}
	r, err := e.Content.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func check(e *Entry) error {
	switch {
	case !slices.Contains([]Type{Dir, File, Symlink, Hardlink}, e.Type):
		return fmt.Errorf("%s: %s", e.Path, e.Type)
	case !path.IsAbs(e.Path) || path.Clean(e.Path) != e.Path || strings.ContainsRune(e.Path, 0):
		return fmt.Errorf("path %q (%s): want an absolute path without . and .. in it", e.Path, e.Origin)
	case e.Mode > 0o7777:
		return fmt.Errorf("%s: mode %#o has bits that no file mode has", e.Path, e.Mode)
	case e.UID < 0 || e.GID < 0:
		return fmt.Errorf("%s: owner %d:%d is negative", e.Path, e.UID, e.GID)
	case e.Component == "":
		return fmt.Errorf("%s: belongs to no component", e.Path)
	case (e.Type == File) != (e.Content != nil):
		return fmt.Errorf("%s: a %s with content %v", e.Path, e.Type, e.Content)
	case (e.Type == Symlink || e.Type == Hardlink) != (e.Link != ""):
		return fmt.Errorf("%s: a %s with link target %q", e.Path, e.Type, e.Link)
	case e.Type == Hardlink && !path.IsAbs(e.Link):
		return fmt.Errorf("%s: hard link target %q is not absolute", e.Path, e.Link)
	}
	return nil
}

func same(a, b *Entry) bool {
	if a.Type != b.Type || a.Mode != b.Mode || a.UID != b.UID || a.GID != b.GID || a.Link != b.Link {
		return false
	}
	return a.Content == nil || a.Content.Digest() == b.Content.Digest()
}

// Bytes is content that is held in memory: small generated files.
func Bytes(b []byte) Content {
	sum := sha256.Sum256(b)
	return bytesContent{b: b, digest: "sha256:" + hex.EncodeToString(sum[:])}
}

type bytesContent struct {
	b      []byte
	digest string
}

func (c bytesContent) Digest() string { return c.digest }
func (c bytesContent) Size() int64    { return int64(len(c.b)) }
func (c bytesContent) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(c.b)), nil
}
