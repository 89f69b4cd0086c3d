package sbom

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/anchore/syft/syft/file"
	"github.com/bmatcuk/doublestar/v4"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// resolver shows a file tree to syft's catalogers.
type resolver struct {
	tree  *rootfs.Tree
	files []*rootfs.Entry // regular files, by path
	elf   []file.Location // programs among them
}

var _ file.Resolver = (*resolver)(nil)

func newResolver(t *rootfs.Tree) (*resolver, error) {
	r := &resolver{tree: t}
	err := t.Walk(func(e *rootfs.Entry) error {
		if e.Type != rootfs.File {
			return nil
		}
		r.files = append(r.files, e)
		elf, err := isProgram(e)
		if elf {
			r.elf = append(r.elf, file.NewLocation(e.Path))
		}
		return err
	})
	return r, err
}

// isProgram says whether a file is executable, and in ELF.
func isProgram(e *rootfs.Entry) (bool, error) {
	const magic = "\x7fELF"
	if e.Mode&0o111 == 0 || e.Content.Size() < int64(len(magic)) {
		return false, nil
	}
	f, err := e.Content.Open()
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", e.Path, err)
	}
	defer f.Close()
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(f, head); err != nil {
		return false, fmt.Errorf("reading %s: %w", e.Path, err)
	}
	return string(head) == magic, nil
}

// find returns the regular file that a path leads to.
func (r *resolver) find(p string) (*rootfs.Entry, bool) {
	at, err := r.tree.Follow(path.Join("/", p))
	if err != nil {
		return nil, false
	}
	e, ok := r.tree.Get(at)
	if ok && e.Type == rootfs.Hardlink {
		e, ok = r.tree.Get(e.Link)
	}
	return e, ok && e.Type == rootfs.File
}

func (r *resolver) HasPath(p string) bool {
	at, err := r.tree.Follow(path.Join("/", p))
	if err != nil {
		return false
	}
	_, ok := r.tree.Get(at)
	return ok
}

func (r *resolver) FilesByPath(paths ...string) ([]file.Location, error) {
	var found []file.Location
	for _, p := range paths {
		if e, ok := r.find(p); ok {
			found = append(found, file.NewVirtualLocation(e.Path, p))
		}
	}
	return found, nil
}

func (r *resolver) FilesByGlob(patterns ...string) ([]file.Location, error) {
	var found []file.Location
	for _, pattern := range patterns {
		pattern = strings.TrimPrefix(pattern, "/")
		dir, _ := doublestar.SplitPattern(pattern)
		if dir == "." {
			dir = ""
		}
		for _, e := range r.files {
			name := e.Path[1:]
			if !strings.HasPrefix(name, dir) {
				continue
			}
			ok, err := doublestar.Match(pattern, name)
			if err != nil {
				return nil, fmt.Errorf("pattern %q: %w", pattern, err)
			}
			if ok {
				found = append(found, file.NewLocation(e.Path))
			}
		}
	}
	return found, nil
}

// FilesByMIMEType knows one type: an executable in ELF.
func (r *resolver) FilesByMIMEType(types ...string) ([]file.Location, error) {
	for _, t := range types {
		if t == "application/x-executable" {
			return r.elf, nil
		}
	}
	return nil, nil
}

func (r *resolver) RelativeFileByPath(_ file.Location, p string) *file.Location {
	e, ok := r.find(p)
	if !ok {
		return nil
	}
	l := file.NewVirtualLocation(e.Path, p)
	return &l
}

func (r *resolver) AllLocations(ctx context.Context) <-chan file.Location {
	all := make(chan file.Location)
	go func() {
		defer close(all)
		for _, e := range r.files {
			select {
			case all <- file.NewLocation(e.Path):
			case <-ctx.Done():
				return
			}
		}
	}()
	return all
}

func (r *resolver) FileContentsByLocation(l file.Location) (io.ReadCloser, error) {
	e, ok := r.find(l.RealPath)
	if !ok {
		return nil, fmt.Errorf("%s: no such file in the image", l.RealPath)
	}
	f, err := e.Content.Open()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", l.RealPath, err)
	}
	if _, ok := f.(io.ReaderAt); ok {
		return f, nil
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", l.RealPath, err)
	}
	return held{bytes.NewReader(b)}, nil
}

// held is a file in memory: catalogers read programs at random.
type held struct{ *bytes.Reader }

func (held) Close() error { return nil }

func (r *resolver) FileMetadataByLocation(l file.Location) (file.Metadata, error) {
	e, ok := r.find(l.RealPath)
	if !ok {
		return file.Metadata{}, fmt.Errorf("%s: no such file in the image", l.RealPath)
	}
	return file.Metadata{Path: e.Path, UserID: e.UID, GroupID: e.GID}, nil
}
