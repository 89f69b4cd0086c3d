package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
)

// OpenArchive opens an archive that is an OCI layout, as WriteArchive writes
// it. Its Close closes the file.
func OpenArchive(file string) (*Layout, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	files, err := indexTar(f)
	var l *Layout
	if err == nil {
		l, err = readLayout(files)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reading %s as an archive of an OCI layout: %w", file, err)
	}
	l.close = f.Close
	return l, nil
}

// tarFS are the regular files of an uncompressed tar archive, by name.
type tarFS map[string]*io.SectionReader

func indexTar(f *os.File) (tarFS, error) {
	files := tarFS{}
	counted := &countingReader{r: f}
	for r := tar.NewReader(counted); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg {
			files[path.Clean(h.Name)] = io.NewSectionReader(f, counted.n, h.Size)
		}
	}
}

// countingReader tells how far an archive was read. It seeks, so that skipping
// an entry's content costs nothing.
type countingReader struct {
	r *os.File
	n int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// Seek implements io.Seeker.
func (c *countingReader) Seek(offset int64, whence int) (int64, error) {
	n, err := c.r.Seek(offset, whence)
	if err == nil {
		c.n = n
	}
	return n, err
}

// Open implements fs.FS.
func (t tarFS) Open(name string) (fs.File, error) {
	s, ok := t[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &tarFile{name: name, SectionReader: io.NewSectionReader(s, 0, s.Size())}, nil
}

// tarFile is a file of an archive, and what is known of it.
type tarFile struct {
	name string
	*io.SectionReader
}

func (f *tarFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *tarFile) Close() error               { return nil }

func (f *tarFile) Name() string       { return path.Base(f.name) }
func (f *tarFile) Mode() fs.FileMode  { return 0o444 }
func (f *tarFile) ModTime() time.Time { return time.Time{} }
func (f *tarFile) IsDir() bool        { return false }
func (f *tarFile) Sys() any           { return nil }
