package bundle

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
)

// sameContent says whether two files hold the same bytes; no when b is absent.
func sameContent(a, b string) (bool, error) {
	fa, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer fb.Close()
	ia, err := fa.Stat()
	if err != nil {
		return false, err
	}
	ib, err := fb.Stat()
	if err != nil {
		return false, err
	}
	if os.SameFile(ia, ib) {
		return true, nil
	}
	if ia.Size() != ib.Size() {
		return false, nil
	}
	ra, rb := bufio.NewReaderSize(fa, 1<<20), bufio.NewReaderSize(fb, 1<<20)
	for {
		x, err := ra.ReadByte()
		y, err2 := rb.ReadByte()
		switch {
		case err == io.EOF && err2 == io.EOF:
			return true, nil
		case err != nil:
			return false, err
		case err2 != nil:
			return false, err2
		case x != y:
			return false, nil
		}
	}
}
