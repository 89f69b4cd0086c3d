package image

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// exchange puts the directory fresh in the place of dir in one step, so that
// there is no moment in which dir is missing. What was there goes.
func exchange(fresh, dir string) error {
	for {
		err := unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
		switch {
		case err == nil:
			return os.RemoveAll(fresh)
		case errors.Is(err, fs.ErrNotExist):
			err = os.Rename(fresh, dir)
			if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
				continue // another process was faster: take its place
			}
			return err
		case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS):
			return swap(fresh, dir)
		}
		return &os.LinkError{Op: "exchange", Old: fresh, New: dir, Err: err}
	}
}
