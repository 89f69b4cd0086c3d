package debian

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
)

// controlFile is one file of a control archive.
type controlFile struct {
	name string
	mode uint32
	data []byte
}

var controlName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)

// readControl reads a control archive of at most limit bytes. The files come
// back sorted by name; one of them is "control".
func readControl(ctx context.Context, r io.Reader, compression string, limit int64) ([]controlFile, error) {
	z, done, err := decompress(contextReader{ctx, r}, compression)
	if err != nil {
		return nil, err
	}
	defer done()
	tr := tar.NewReader(&limitedReader{r: z, left: limit})
	var files []controlFile
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		if h.Typeflag == tar.TypeDir && name == "." {
			continue
		}
		if h.Typeflag != tar.TypeReg || !controlName.MatchString(name) {
			return nil, fmt.Errorf("%q is not a plain file", h.Name)
		}
		if slices.ContainsFunc(files, func(f controlFile) bool { return f.name == name }) {
			return nil, fmt.Errorf("%s is there twice", name)
		}
		if len(files) >= 256 {
			return nil, errors.New("more than 256 files")
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			return nil, err
		}
		files = append(files, controlFile{name, uint32(h.Mode) & 0o777, data})
	}
	slices.SortFunc(files, func(a, b controlFile) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

// limitedReader fails where an io.LimitedReader would seem to end.
type limitedReader struct {
	r    io.Reader
	left int64
}

func (l *limitedReader) Read(b []byte) (int, error) {
	if int64(len(b)) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.r.Read(b)
	l.left -= int64(n)
	if l.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// Conffile is a file that belongs to the administrator once it is installed.
type Conffile struct {
	Path            string `json:"path"`          // absolute
	MD5             string `json:"md5,omitempty"` // hex, of the file as it was shipped
	RemoveOnUpgrade bool   `json:"removeOnUpgrade,omitempty"`
}

// parseConffiles parses a conffiles file, deb-conffiles(5).
func parseConffiles(data []byte) ([]Conffile, error) {
	var out []Conffile
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimRight(line, " \t\r")
		if line == "" {
			continue
		}
		c := Conffile{Path: line}
		if flag, rest, ok := strings.Cut(line, " "); ok && !strings.HasPrefix(line, "/") {
			if flag != "remove-on-upgrade" {
				return nil, fmt.Errorf("conffiles, line %d: flag %q is not known", i+1, flag)
			}
			c = Conffile{Path: strings.TrimSpace(rest), RemoveOnUpgrade: true}
		}
		if !path.IsAbs(c.Path) || path.Clean(c.Path) != c.Path {
			return nil, fmt.Errorf("conffiles, line %d: %q is not an absolute path", i+1, c.Path)
		}
		out = append(out, c)
	}
	return out, nil
}

// checkControl parses a control file and holds it against what was locked.
func checkControl(data []byte, name, version, arch string) (Stanza, error) {
	s, err := parseStanza(bytes.TrimLeft(data, "\n"))
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	for _, f := range []struct{ field, want string }{{"Package", name}, {"Version", version}, {"Architecture", arch}} {
		if got := s.Get(f.field); got != f.want {
			return nil, fmt.Errorf("control: %s is %q, not %q", f.field, got, f.want)
		}
	}
	return s, nil
}
