package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// staging is a directory or a file beside the place that it is for. As long as
// it is in use its maker holds a lock on it; one whose lock is free was left
// by a process that was killed, and the next writer of the same place sweeps
// it.
type staging struct {
	path string
	lock *os.File // of the directory or file itself
}

// stageDir makes an empty directory beside place.
func stageDir(place string) (*staging, error) {
	path, err := os.MkdirTemp(prepare(place))
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return hold(path, f), nil
}

// stageFile makes an empty file beside place, open for writing.
func stageFile(place string) (*staging, error) {
	f, err := os.CreateTemp(prepare(place))
	if err != nil {
		return nil, err
	}
	return hold(f.Name(), f), nil
}

// prepare sweeps, and says where and after which pattern to make something.
func prepare(place string) (dir, pattern string) {
	dir, base := filepath.Split(place)
	sweep(place)
	return dir, "." + base + ".new-*"
}

// hold locks what was staged. File systems without locks are borne: nobody can
// take a lock there, so nothing is swept.
func hold(path string, f *os.File) *staging {
	_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	return &staging{path: path, lock: f}
}

// remove takes away what was staged, unless it was moved to its place, and
// gives the lock back.
func (s *staging) remove() {
	_ = os.RemoveAll(s.path)
	s.lock.Close()
}

// settled is the age from which a free lock tells that nobody is about to take
// it.
const settled = time.Minute

// sweep removes what killed processes staged for place. Where place is
// missing, what a swap moved out of it stays: nothing else has the old layout.
func sweep(place string) {
	dir, base := filepath.Split(place)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	_, err = os.Lstat(place)
	missing := errors.Is(err, fs.ErrNotExist)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "."+base+".new-") || missing && strings.HasSuffix(e.Name(), oldSuffix) {
			continue
		}
		if info, err := e.Info(); err != nil || time.Since(info.ModTime()) < settled || !info.IsDir() && !info.Mode().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(path)
		}
		f.Close()
	}
}
