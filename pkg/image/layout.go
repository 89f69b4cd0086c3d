package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Linker puts a blob at a path without copying it where that can be done.
type Linker interface {
	Link(digest, path string) error
}

// WriteLayout writes an index as an OCI layout in dir, in place of a layout
// that is there. Until everything is written nothing of dir changes, and what
// else dir holds makes it an error: a directory that is no layout, or more
// than one, is not replaced.
//
// Statements about the index and its images become their referrers. A layout
// has no place of its own for those, so for every subject index.json names
// their list by the tag that registries without a referrers API have for it:
// tools that know the tag find them, and so do tools that follow everything
// that index.json leads to. One without statements has the index alone in
// index.json.
func WriteLayout(ctx context.Context, dir string, x v1.ImageIndex, name Name, linker Linker, statements ...Statement) error {
	if err := writeLayout(ctx, dir, x, name, linker, statements); err != nil {
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	return nil
}

func writeLayout(ctx context.Context, dir string, x v1.ImageIndex, name Name, linker Linker, statements []Statement) error {
	place, err := locate(dir)
	if err != nil {
		return err
	}
	if err := replaceable(place); err != nil {
		return err
	}
	s, err := stageDir(place)
	if err != nil {
		return err
	}
	defer s.remove()
	if err := fillLayout(ctx, s.path, x, name, linker, statements); err != nil {
		return err
	}
	if err := copyMode(place, s.path); err != nil {
		return err
	}
	err = exchange(s.path, place)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EXDEV) {
		return fmt.Errorf("%w: a mount point can not be replaced: name a directory below it", err)
	}
	return err
}

// locate returns the absolute path of what is to be written, links followed,
// and makes the directory that it lies in.
func locate(path string) (string, error) {
	place, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(place); err == nil {
		place = real
	}
	if here, err := os.Getwd(); err == nil && (place == "/" || here == place || strings.HasPrefix(here, place+"/")) {
		return "", fmt.Errorf("the directory that etcdimg runs in can not be replaced: name one below it")
	}
	return place, os.MkdirAll(filepath.Dir(place), 0o777)
}

func fillLayout(ctx context.Context, dir string, x v1.ImageIndex, name Name, linker Linker, statements []Statement) error {
	more, lists, err := referrers(statements)
	if err != nil {
		return err
	}
	blobs, err := contents(x, more...)
	if err != nil {
		return err
	}
	top, err := topIndex(x, name, false, lists...)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, ocispec.ImageBlobsDir, "sha256"), 0o777); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, b := range blobs {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			path := filepath.Join(dir, filepath.FromSlash(b.path()))
			if b.layer != nil {
				return linker.Link(b.digest.String(), path)
			}
			return os.WriteFile(path, b.bytes, 0o666)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ocispec.ImageLayoutFile), []byte(layoutFile), 0o666); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ocispec.ImageIndexFile), top, 0o666)
}

// replaceable refuses to put a layout where anything else is.
func replaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0:
		return nil
	case err != nil:
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, ocispec.ImageLayoutFile)); err != nil {
		return fmt.Errorf("the directory is neither empty nor an OCI layout: choose another with -o")
	}
	for _, e := range entries {
		switch e.Name() {
		case ocispec.ImageLayoutFile, ocispec.ImageIndexFile, ocispec.ImageBlobsDir:
		default:
			return fmt.Errorf("%s is no part of the OCI layout there and would be lost: move it, or choose another directory with -o", e.Name())
		}
	}
	return nil
}

// copyMode gives the new directory the mode that a directory made by mkdir
// would have, or the old one's: MkdirTemp's is for its owner only.
func copyMode(old, fresh string) error {
	info, err := os.Stat(old)
	if errors.Is(err, fs.ErrNotExist) {
		probe := filepath.Join(fresh, ".mode")
		if err := os.Mkdir(probe, 0o777); err != nil {
			return err
		}
		if info, err = os.Stat(probe); err != nil {
			return err
		}
		if err := os.Remove(probe); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return os.Chmod(fresh, info.Mode().Perm())
}

// writeFile writes a file whole or not at all.
func writeFile(path string, write func(io.Writer) error) error {
	place, err := locate(path)
	if err != nil {
		return err
	}
	s, err := stageFile(place)
	if err != nil {
		return err
	}
	defer s.remove()
	if err := write(s.lock); err != nil {
		return err
	}
	if err := s.lock.Chmod(0o644); err != nil {
		return err
	}
	// The last error of a write may come here; a file just written needs no
	// lock for the moment until it is in its place.
	if err := s.lock.Close(); err != nil {
		return err
	}
	return os.Rename(s.path, place)
}
