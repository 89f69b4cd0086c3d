package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Resolve is the one true path of a data directory: absolute, without a
// trailing slash, links followed.
func Resolve(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if errors.Is(err, fs.ErrNotExist) {
		return abs, nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", abs, err)
	}
	return real, nil
}

// Room is where the operator keeps its journal, the directory it prepares and
// the backups: beside the data directory as DIR.migrate, or inside it where
// nothing can be renamed into it from beside (it is a mount point, or its
// parent may not be written). One that is already there is used.
func Room(dir string) (string, error) {
	inside := filepath.Join(dir, RoomName)
	beside := dir + RoomName
	for _, room := range []string{inside, beside} {
		if _, err := os.Lstat(room); err == nil {
			return room, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	var d, p unix.Stat_t
	if err := unix.Stat(dir, &d); err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	parent := filepath.Dir(dir)
	if err := unix.Stat(parent, &p); err != nil {
		return inside, nil
	}
	// A bind mount of the same file system has the same device: try.
	if d.Dev != p.Dev || parent == dir || unix.Access(parent, unix.W_OK) != nil || isMountPoint(dir) {
		return inside, nil
	}
	return beside, nil
}

// isMountPoint says whether renaming dir is refused because it is one. Asking
// statx is exact and has no effect.
func isMountPoint(dir string) bool {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st); err != nil {
		return true // an old kernel: inside is always right
	}
	const root = unix.STATX_ATTR_MOUNT_ROOT
	if st.Attributes_mask&root == 0 {
		return true
	}
	return st.Attributes&root != 0
}

// MakeDir makes a data directory and its parents as the umask says.
func MakeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(dir))
}
