package debian

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// arReader reads the members of an ar archive, of the common form that deb(5)
// allows: names of up to 15 characters, no symbol tables.
type arReader struct {
	r    io.ReaderAt
	size int64 // of the archive
	off  int64
}

const (
	arMagic  = "!<arch>\n"
	arHeader = 60
)

func newArReader(r io.ReaderAt, size int64) (*arReader, error) {
	var magic [len(arMagic)]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil || string(magic[:]) != arMagic {
		return nil, errors.New("not an ar archive")
	}
	return &arReader{r: r, size: size, off: int64(len(arMagic))}, nil
}

// next returns the next member's name and content, or io.EOF.
func (a *arReader) next() (string, *io.SectionReader, error) {
	if a.off == a.size {
		return "", nil, io.EOF
	}
	fail := func(what string) (string, *io.SectionReader, error) {
		return "", nil, fmt.Errorf("ar member at byte %d: %s", a.off, what)
	}
	if a.size-a.off < arHeader {
		return fail("the header is cut short")
	}
	var h [arHeader]byte
	if _, err := a.r.ReadAt(h[:], a.off); err != nil {
		return "", nil, err
	}
	if string(h[58:60]) != "`\n" {
		return fail("the header is damaged")
	}
	name := strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/")
	if name == "" {
		return fail("no name")
	}
	for _, c := range []byte(name) {
		if !isAlnum(c) && !strings.ContainsRune("._-", rune(c)) {
			return fail(fmt.Sprintf("name %q", name))
		}
	}
	digits := strings.TrimRight(string(h[48:58]), " ")
	size, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return fail(fmt.Sprintf("size %q", digits))
	}
	start := a.off + arHeader
	if int64(size) > a.size-start {
		return fail(fmt.Sprintf("%s is cut short", name))
	}
	a.off = start + int64(size)
	if size%2 == 1 && a.off < a.size {
		a.off++ // padding, which the last member may lack
	}
	return name, io.NewSectionReader(a.r, start, int64(size)), nil
}
