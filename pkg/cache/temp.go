package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// session is this process's directory of temporary files. As long as the
// process lives it holds a lock on it; a directory whose lock is free belongs
// to a dead process.
type session struct {
	dir  string
	lock *os.File
}

func (s *session) remove() error {
	err := removeAll(s.dir)
	return errors.Join(err, s.lock.Close())
}

// TempDir makes an empty directory on the cache's file system. remove deletes
// it with all that it holds; what a killed process could not remove is swept
// by a later one.
func (c *Cache) TempDir() (dir string, remove func(), err error) {
	s, err := c.ensureSession()
	if err != nil {
		return "", nil, err
	}
	dir, err = os.MkdirTemp(s.dir, "d")
	if err != nil {
		return "", nil, c.writeError(err)
	}
	return dir, func() { _ = removeAll(dir) }, nil
}

func (c *Cache) tempFile() (*os.File, error) {
	s, err := c.ensureSession()
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.dir, "f")
	if err != nil {
		return nil, c.writeError(err)
	}
	return f, nil
}

func (c *Cache) ensureSession() (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		return c.session, nil
	}
	// Between its making and its locking a directory looks abandoned: the
	// gate keeps sweepers out for that moment.
	gate, err := openLock(c.gatePath())
	if err != nil {
		return nil, c.writeError(err)
	}
	defer gate.Close()
	if err := flock(gate, unix.LOCK_SH); err != nil {
		return nil, fmt.Errorf("locking %s: %w", gate.Name(), err)
	}
	dir, err := os.MkdirTemp(filepath.Join(c.dir, "tmp"), "p")
	if err != nil {
		return nil, c.writeError(err)
	}
	lock, err := openLock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, c.writeError(err)
	}
	if err := flock(lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("locking %s: %w", lock.Name(), err)
	}
	c.session = &session{dir: dir, lock: lock}
	return c.session, nil
}

func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
}

// flock is flock(2), which a signal may interrupt.
func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (c *Cache) gatePath() string { return filepath.Join(c.dir, "locks", "tmp") }

// sweep removes the temporary directories of dead processes. Another process
// at the gate, or a cache that can only be read, is reason enough to leave it
// for the next time.
func (c *Cache) sweep() {
	left, err := os.ReadDir(filepath.Join(c.dir, "tmp"))
	if err != nil || len(left) == 0 {
		return
	}
	gate, err := openLock(c.gatePath())
	if err != nil {
		return
	}
	defer gate.Close()
	if flock(gate, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return
	}
	for _, e := range left {
		dir := filepath.Join(c.dir, "tmp", e.Name())
		lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			_ = removeAll(dir)
		case err == nil:
			if flock(lock, unix.LOCK_EX|unix.LOCK_NB) == nil {
				_ = removeAll(dir)
			}
			lock.Close()
		}
	}
}

// removeAll is os.RemoveAll for trees that hold read-only directories, as the
// module cache of a compiler does.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// Lock waits until nobody else holds the lock of that kind and key, in this
// process or another, and takes it. A holder that dies gives it back.
func (c *Cache) Lock(ctx context.Context, kind, key string) (unlock func(), err error) {
	if _, err := c.recordPath(kind, key); err != nil {
		return nil, err
	}
	path := filepath.Join(c.dir, "locks", kind+"-"+key)
	f, err := openLock(path)
	if err != nil {
		return nil, c.writeError(err)
	}
	const first, most = 5 * time.Millisecond, 250 * time.Millisecond
	for wait := first; ; wait = min(wait*2, most) {
		err := flock(f, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking %s/%s: %w", kind, key, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for another build of %s/%s: %w", kind, key, ctx.Err())
		case <-time.After(wait):
		}
	}
}
