package layer

import (
	"archive/tar"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// writeTar writes a group as a tar archive: ustar headers, PAX records only
// for what ustar can not say, numeric owners without names, one modification
// time for everything.
func writeTar(w io.Writer, g Group) error {
	tw := tar.NewWriter(w)
	for _, e := range g.Entries {
		if err := writeEntry(tw, e, g.Date); err != nil {
			return fmt.Errorf("archiving %s: %w", e.Path, err)
		}
	}
	return tw.Close()
}

func writeEntry(tw *tar.Writer, e *rootfs.Entry, date time.Time) error {
	h := &tar.Header{
		Name:    strings.TrimPrefix(e.Path, "/"),
		Mode:    int64(e.Mode),
		Uid:     e.UID,
		Gid:     e.GID,
		ModTime: date.UTC().Truncate(time.Second),
	}
	switch e.Type {
	case rootfs.Dir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
		if e.Path == "/" {
			h.Name = "./"
		}
	case rootfs.Symlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
	case rootfs.Hardlink:
		h.Typeflag, h.Linkname = tar.TypeLink, strings.TrimPrefix(e.Link, "/")
	case rootfs.File:
		h.Typeflag, h.Size = tar.TypeReg, e.Content.Size()
	default:
		return fmt.Errorf("a %s can not be in a layer", e.Type)
	}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if e.Type != rootfs.File {
		return nil
	}
	r, err := e.Content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(tw, r)
	if err == nil && n != e.Content.Size() {
		err = fmt.Errorf("content has %d bytes, want %d", n, e.Content.Size())
	}
	return err
}

// tarFormat numbers what writeTar makes of the same entries.
const tarFormat = "1"

// key is the digest of all that determines a layer's bytes.
func (g Group) key(c Compression) string {
	parts := []string{"tar", tarFormat, string(c), formats[c].version, g.Date.UTC().Format(time.RFC3339)}
	for _, e := range g.Entries {
		digest := ""
		if e.Content != nil {
			digest = e.Content.Digest()
		}
		parts = append(parts, e.Path, string(e.Type), fmt.Sprintf("%o %d %d", e.Mode, e.UID, e.GID), e.Link, digest)
	}
	return cache.Key(parts...)
}
