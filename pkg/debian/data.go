package debian

import (
	"archive/tar"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// dataReader reads a data archive.
type dataReader struct {
	pack    *packWriter
	limits  Limits
	entries []recordEntry
	kinds   map[string]rootfs.Type
	files   map[string]string // path of a file or hard link → path of the file
	md5s    map[string]string // by path
	date    time.Time
}

func (d *dataReader) read(r io.Reader) error {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if len(d.entries) >= d.limits.Entries {
			return fmt.Errorf("%w: more than %d entries", errTooLarge, d.limits.Entries)
		}
		if err := d.entry(h, tr); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

func (d *dataReader) entry(h *tar.Header, content io.Reader) error {
	p, err := dataPath(h.Name)
	if err != nil {
		return err
	}
	if t := h.ModTime.UTC().Truncate(time.Second); t.After(d.date) {
		d.date = t
	}
	e := recordEntry{Path: p, Mode: uint32(h.Mode) & 0o7777, UID: h.Uid, GID: h.Gid}
	if h.Uid < 0 || h.Gid < 0 || h.Uid > maxID || h.Gid > maxID {
		return fmt.Errorf("owner %d:%d is out of range", h.Uid, h.Gid)
	}
	var kind rootfs.Type
	switch h.Typeflag {
	case tar.TypeDir:
		kind = rootfs.Dir
	case tar.TypeReg:
		kind = rootfs.File
	case tar.TypeSymlink:
		kind, e.Link, e.Mode = rootfs.Symlink, h.Linkname, 0o777
		if e.Link == "" || len(e.Link) > maxPath || strings.ContainsRune(e.Link, 0) {
			return fmt.Errorf("target %q of the symbolic link", e.Link)
		}
	case tar.TypeLink:
		kind = rootfs.Hardlink
		if e.Link, err = dataPath(h.Linkname); err != nil {
			return fmt.Errorf("target of the hard link: %w", err)
		}
		if e.Link = d.files[e.Link]; e.Link == "" {
			return fmt.Errorf("hard link to %s, which is not a file that comes before it", h.Linkname)
		}
	default:
		return fmt.Errorf("entries of type %q (devices, pipes) have no place in an image", h.Typeflag)
	}
	e.Type = string(kind)
	if p == "/" {
		if kind != rootfs.Dir {
			return errors.New("the root is not a directory")
		}
		return nil
	}
	if old, twice := d.kinds[p]; twice {
		if old == rootfs.Dir && kind == rootfs.Dir {
			return nil
		}
		return errors.New("it is there twice")
	}
	for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
		if k, ok := d.kinds[dir]; ok {
			if k != rootfs.Dir {
				return fmt.Errorf("it lies in %s, which is not a directory", dir)
			}
			break
		}
	}
	d.kinds[p] = kind
	switch kind {
	case rootfs.Hardlink:
		d.files[p] = e.Link
	case rootfs.File:
		d.files[p] = p
		sum := md5.New()
		if e.recordContent, err = d.pack.add(content, sum); err != nil {
			return err
		}
		d.md5s[p] = hex.EncodeToString(sum.Sum(nil))
	}
	d.entries = append(d.entries, e)
	return nil
}

// sums are the md5sums that dpkg makes where a package has none: of every
// file that is not a conffile.
func (d *dataReader) sums(conffiles []Conffile) string {
	var b strings.Builder
	for _, p := range sortedKeys(d.md5s) {
		if !slices.ContainsFunc(conffiles, func(c Conffile) bool { return c.Path == p }) {
			b.WriteString(d.md5s[p] + "  " + strings.TrimPrefix(p, "/") + "\n")
		}
	}
	return b.String()
}

const (
	maxPath = 4096
	maxName = 255
	maxID   = 1<<31 - 1
)

// dataPath turns a name in a data archive into an absolute path. It refuses
// whatever a packer does not write and an attacker might.
func dataPath(name string) (string, error) {
	switch {
	case name == "" || len(name) > maxPath:
		return "", fmt.Errorf("a name of %d bytes", len(name))
	case path.IsAbs(name):
		return "", errors.New("an absolute name")
	case !utf8.ValidString(name):
		return "", errors.New("a name that is not UTF-8")
	}
	trimmed := strings.TrimSuffix(strings.TrimPrefix(name, "./"), "/")
	if trimmed == "" || trimmed == "." {
		return "/", nil
	}
	for _, part := range strings.Split(trimmed, "/") {
		if part == "" || part == "." || part == ".." || len(part) > maxName {
			return "", errors.New("a name that leaves its directory or is not plain")
		}
	}
	for _, c := range trimmed {
		if c < ' ' || c == 0x7f {
			return "", errors.New("a control character in a name")
		}
	}
	return "/" + trimmed, nil
}
