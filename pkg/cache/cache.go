// Package cache is a content-addressed store on disk that many processes share:
// blobs by the digest of their bytes, and records from the digest of everything
// that determined a result to that result.
//
// It must not know what it stores. It trusts nothing that it reads: a blob is
// hashed before its first use in a process, a record carries its own digest,
// and whatever fails is removed and reported as missing, so that the caller
// makes it again.
//
// What survives what:
//
//   - a killed process: blobs and records appear by rename, whole or not at
//     all; its temporary files are swept by the next process, which knows them
//     by a lock that nobody holds any more;
//   - a full disk: the write fails, nothing is renamed;
//   - lost power: nothing is synced, so a name may come back with wrong bytes;
//     its digest tells, and it is dropped;
//   - several processes making the same thing: the last rename wins, and all
//     of them wrote the same bytes. Lock lets the second one wait instead.
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrNotFound says that a blob or record is not in the cache, or that it was
// found damaged and has been removed. Making it again is the remedy.
var ErrNotFound = errors.New("not in the cache")

// Cache is one cache directory. Its methods may be called at the same time by
// any number of goroutines and processes.
type Cache struct {
	dir string

	mu       sync.Mutex
	verified map[string]*verification // digest → outcome of the one hashing per process
	session  *session                 // temporary files of this process, made when first needed
}

type verification struct {
	once sync.Once
	err  error
}

// Open opens the cache in dir and creates it where it is missing. It sweeps
// what killed processes left behind.
func Open(dir string) (*Cache, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening cache %s: %w", dir, err)
	}
	for _, sub := range []string{"blobs/sha256", "records", "locks", "tmp"} {
		if err := os.MkdirAll(filepath.Join(abs, sub), 0o777); err != nil {
			return nil, fmt.Errorf("opening cache: %w: set $ETCDIMG_CACHE to a directory that can be written", err)
		}
	}
	c := &Cache{dir: abs, verified: map[string]*verification{}}
	c.sweep()
	return c, nil
}

// Close removes this process's temporary files. Blobs and records stay.
func (c *Cache) Close() error {
	c.mu.Lock()
	s := c.session
	c.session = nil
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.remove()
}

// Dir is the cache's directory, absolute.
func (c *Cache) Dir() string { return c.dir }

// Put stores what r yields and returns its digest ("sha256:<hex>") and its size
// in bytes.
func (c *Cache) Put(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	f, err := c.tempFile()
	if err != nil {
		return "", 0, err
	}
	defer os.Remove(f.Name())
	h := sha256.New()
	src := &contextReader{ctx: ctx, r: r}
	size, err = io.Copy(io.MultiWriter(f, h), src)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if src.err != nil {
		return "", 0, fmt.Errorf("storing in the cache: %w", src.err)
	}
	if err != nil {
		return "", 0, c.writeError(err)
	}
	digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return digest, size, c.adopt(f.Name(), digest)
}

// PutFile moves the file at path into the cache and returns its digest and its
// size in bytes. The file must lie on the cache's file system, as files below
// TempDir do, and nobody may write to it any more.
func (c *Cache) PutFile(ctx context.Context, path string) (digest string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, fmt.Errorf("moving into the cache: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, &contextReader{ctx: ctx, r: f})
	if err != nil {
		return "", 0, fmt.Errorf("moving %s into the cache: %w", path, err)
	}
	digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	return digest, size, c.adopt(path, digest)
}

// adopt gives a finished file its place. A blob that is there already is
// replaced all the same: it may be damaged.
func (c *Cache) adopt(path, digest string) error {
	if err := os.Chmod(path, 0o444); err != nil {
		return c.writeError(err)
	}
	if err := os.Rename(path, c.blobPath(digest)); err != nil {
		return c.writeError(err)
	}
	v := &verification{}
	v.once.Do(func() {})
	c.mu.Lock()
	c.verified[digest] = v
	c.mu.Unlock()
	return nil
}

// Has says whether a blob of that digest is there, without reading it. A
// damaged blob is noticed when it is opened.
func (c *Cache) Has(digest string) bool {
	if !wellFormed(digest) {
		return false
	}
	info, err := os.Stat(c.blobPath(digest))
	return err == nil && info.Mode().IsRegular()
}

// Open opens a blob. At its first opening in this process all of it is hashed;
// one that fails is removed, and the error is ErrNotFound.
func (c *Cache) Open(digest string) (*os.File, error) {
	if err := c.verify(digest); err != nil {
		return nil, err
	}
	f, err := os.Open(c.blobPath(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w", digest, ErrNotFound)
	}
	return f, err
}

// Link makes dst the blob's file: a hard link where the file system allows
// one, else a copy. dst must not exist. The blob is verified as in Open.
func (c *Cache) Link(digest, dst string) error {
	if err := c.verify(digest); err != nil {
		return err
	}
	if err := os.Link(c.blobPath(digest), dst); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	src, err := c.Open(digest)
	if err != nil {
		return err
	}
	defer src.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return fmt.Errorf("copying blob %s: %w", digest, err)
	}
	_, err = io.Copy(out, src)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(dst)
		return fmt.Errorf("copying blob %s: %w", digest, err)
	}
	return nil
}

func (c *Cache) verify(digest string) error {
	if !wellFormed(digest) {
		return fmt.Errorf("blob %q: not a sha256 digest", digest)
	}
	c.mu.Lock()
	v, ok := c.verified[digest]
	if !ok {
		v = &verification{}
		c.verified[digest] = v
	}
	c.mu.Unlock()
	v.once.Do(func() { v.err = c.hashBlob(digest) })
	if v.err != nil {
		// A later Put may bring the blob back: the next caller looks again.
		c.mu.Lock()
		if c.verified[digest] == v {
			delete(c.verified, digest)
		}
		c.mu.Unlock()
	}
	return v.err
}

func (c *Cache) hashBlob(digest string) error {
	path := c.blobPath(digest)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s: %w", digest, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("reading the cache: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	buf := make([]byte, 256<<10)
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{f}, buf); err != nil {
		return fmt.Errorf("reading blob %s: %w", digest, err)
	}
	if "sha256:"+hex.EncodeToString(h.Sum(nil)) == digest {
		used(path)
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing damaged blob %s: %w", digest, err)
	}
	return fmt.Errorf("blob %s was damaged and has been removed: %w", digest, ErrNotFound)
}

func (c *Cache) blobPath(digest string) string {
	return filepath.Join(c.dir, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

func wellFormed(digest string) bool {
	hexed, ok := strings.CutPrefix(digest, "sha256:")
	return ok && len(hexed) == 64 && isHex(hexed)
}

func isHex(s string) bool {
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'a' || r > 'f') {
			return false
		}
	}
	return s != ""
}

// writeError says of a failed write what can be done about it.
func (c *Cache) writeError(err error) error {
	err = fmt.Errorf("writing to the cache %s: %w", c.dir, err)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: set $ETCDIMG_CACHE to a directory that can be written", err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EFBIG):
		return fmt.Errorf("%w: make room there, or set $ETCDIMG_CACHE to a directory that has some", err)
	}
	return err
}

// contextReader ends a copy when its context ends, and tells a failed read
// from a failed write.
type contextReader struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (c *contextReader) Read(p []byte) (n int, err error) {
	if err = c.ctx.Err(); err == nil {
		n, err = c.r.Read(p)
	}
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}
