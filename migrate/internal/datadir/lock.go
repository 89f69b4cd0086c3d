package datadir

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Errors about who else is at work.
var (
	ErrLocked  = errors.New("another migration is at work on this directory")
	ErrRunning = errors.New("a running etcd holds this directory")
)

// Lock is held on a data directory. It ends with the process and the programs
// that got its file, whatever ends those, and leaves no file.
type Lock struct{ f *os.File }

// The programs of an operator that was killed die with it, but a moment later, when
// the disk has done what they asked of it: for so long Acquire tries again.
const (
	lockTries = 100
	lockPause = 50 * time.Millisecond
)

// Acquire takes the lock of a data directory, or fails with ErrLocked.
func Acquire(dir string) (*Lock, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for i := range lockTries {
		if i > 0 {
			time.Sleep(lockPause)
		}
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
	}
	if err == nil {
		return &Lock{f}, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
	}
	return nil, fmt.Errorf("locking %s: %w", dir, err)
}

// File is for programs to inherit: then they hold the lock, too, and nobody
// begins while one of them still writes.
func (l *Lock) File() *os.File { return l.f }

// Release lets go of the lock.
func (l *Lock) Release() error { return l.f.Close() }

// CheckStopped fails with ErrRunning when a server holds the newest segment of
// the log. Up to 2.3 servers lock it by flock, later ones by open file
// description; asking takes no lock.
func CheckStopped(dir string) error {
	wal := filepath.Join(dir, MemberDir, "wal")
	entries, err := os.ReadDir(wal)
	if err != nil {
		return nil // no log: Inspect says what that means
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".wal") {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return nil
	}
	name := filepath.Join(wal, slices.Max(names))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err == nil && lock.Type != unix.F_UNLCK {
		return fmt.Errorf("%s: %w: stop it first", dir, ErrRunning)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w: stop it first", dir, ErrRunning)
	}
	return nil
}
