package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Linker puts a blob at a path without copying it where that can be done.
type Linker interface {
	Link(digest, path string) error
}

// WriteLayout writes an index as an OCI layout in dir, in place of a layout
// that is there. Until everything is written nothing of dir changes, and what
// else dir holds makes it an error: a directory that is no layout is not
// replaced.
func WriteLayout(ctx context.Context, dir string, x v1.ImageIndex, name Name, linker Linker) error {
	if err := replaceable(dir); err != nil {
		return err
	}
	parent, base := filepath.Split(filepath.Clean(dir))
	if err := os.MkdirAll(filepath.Join(parent, "."), 0o777); err != nil {
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	tmp, err := os.MkdirTemp(parent, "."+base+".new-")
	if err != nil {
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	defer os.RemoveAll(tmp)
	if err := fillLayout(ctx, tmp, x, name, linker); err != nil {
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	if err := copyMode(dir, tmp); err != nil {
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	if err := exchange(tmp, dir); err != nil {
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	return nil
}

func fillLayout(ctx context.Context, dir string, x v1.ImageIndex, name Name, linker Linker) error {
	blobs, err := contents(x)
	if err != nil {
		return err
	}
	top, err := topIndex(x, name, false)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o777); err != nil {
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

// replaceable refuses to put a layout where something else is.
func replaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0:
		return nil
	case err != nil:
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	if _, err := os.Stat(filepath.Join(dir, ocispec.ImageLayoutFile)); err != nil {
		return fmt.Errorf("writing %s: the directory is neither empty nor an OCI layout: choose another with -o", dir)
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
	dir, base := filepath.Split(path)
	if err := os.MkdirAll(filepath.Join(dir, "."), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+base+".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := os.Chmod(f.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
