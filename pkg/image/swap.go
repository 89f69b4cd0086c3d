package image

import (
	"errors"
	"io/fs"
	"os"
)

// oldSuffix ends the name of what a swap has moved out of its place.
const oldSuffix = ".old"

// swap is exchange in two steps, for file systems that can not do it in one:
// between them the old layout stands under another name beside its place.
func swap(fresh, dir string) error {
	old := fresh + oldSuffix
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		_ = os.Rename(old, dir)
		return err
	}
	return os.RemoveAll(old)
}
