package debiantest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Deb describes a package to be made.
type Deb struct {
	Name    string
	Version string // "1.0" if empty
	Arch    string // "all" if empty
	// Fields are further control fields, as Depends or Priority.
	Fields map[string]string
	Files  []File
	// Scripts are further files of the control archive: postinst, conffiles, …
	Scripts map[string]string
	// Compression of both archives: xz, gz (if empty), zst or none.
	Compression string
	Date        time.Time // of every file; a fixed date if zero
}

// File is one entry of a package's data archive.
type File struct {
	Name     string // as the archive writes it; "./" is put before a plain absolute path
	Type     byte   // tar type flag; a regular file if zero, a directory if Name ends in /
	Mode     int64  // 0644, 0755 for directories, if zero
	UID, GID int
	Link     string
	Body     string
}

// DefaultDate is the date of files that have none of their own.
var DefaultDate = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (d Deb) normal() Deb {
	d.Version = cmp.Or(d.Version, "1.0")
	d.Arch = cmp.Or(d.Arch, "all")
	d.Compression = cmp.Or(d.Compression, "gz")
	if d.Date.IsZero() {
		d.Date = DefaultDate
	}
	return d
}

// Control is the package's control file.
func (d Deb) Control() string {
	d = d.normal()
	var b strings.Builder
	fmt.Fprintf(&b, "Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: Nobody <nobody@mirror.example>\n", d.Name, d.Version, d.Arch)
	for _, k := range sortedKeys(d.Fields) {
		fmt.Fprintf(&b, "%s: %s\n", k, d.Fields[k])
	}
	fmt.Fprintf(&b, "Description: %s for tests\n made by a test\n", d.Name)
	return b.String()
}

// Bytes makes the .deb.
func (d Deb) Bytes() []byte {
	d = d.normal()
	control := []File{{Name: "./", Type: tar.TypeDir}, {Name: "./control", Body: d.Control()}}
	for _, name := range sortedKeys(d.Scripts) {
		mode := int64(0o644)
		if slices.Contains([]string{"preinst", "postinst", "prerm", "postrm", "config"}, name) {
			mode = 0o755
		}
		control = append(control, File{Name: "./" + name, Mode: mode, Body: d.Scripts[name]})
	}
	data := append([]File{{Name: "./", Type: tar.TypeDir}}, d.Files...)
	suffix := "." + d.Compression
	if d.Compression == "none" {
		suffix = ""
	}
	return Ar(
		Member{"debian-binary", []byte("2.0\n")},
		Member{"control.tar" + suffix, Compress(d.Compression, Tar(d.Date, control))},
		Member{"data.tar" + suffix, Compress(d.Compression, Tar(d.Date, data))},
	)
}

// PoolPath is where the package lies below an archive's root.
func (d Deb) PoolPath() string {
	d = d.normal()
	_, version, found := strings.Cut(d.Version, ":")
	if !found {
		version = d.Version
	}
	return path.Join("pool/main", d.Name[:1], d.Name, d.Name+"_"+version+"_"+d.Arch+".deb")
}

// Member is one member of an ar archive.
type Member struct {
	Name string
	Body []byte
}

// Ar makes an ar archive.
func Ar(members ...Member) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range members {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.Name, 0, 0, 0, "100644", len(m.Body))
		b.Write(m.Body)
		if len(m.Body)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// Tar makes a tar archive. Names are written as they are given, so that an
// archive can hold what no packer would write.
func Tar(date time.Time, files []File) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.Name, Typeflag: f.Type, Mode: f.Mode, Uid: f.UID, Gid: f.GID, Linkname: f.Link, ModTime: date, Format: tar.FormatGNU}
		if path.IsAbs(f.Name) && !strings.HasPrefix(f.Name, "//") {
			h.Name = "." + f.Name
		}
		h.Name = strings.TrimPrefix(h.Name, "raw:")
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			if strings.HasSuffix(h.Name, "/") {
				h.Typeflag = tar.TypeDir
			}
		}
		if h.Mode == 0 {
			h.Mode = 0o644
			if h.Typeflag == tar.TypeDir {
				h.Mode = 0o755
			}
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(f.Body))
		}
		must(w.WriteHeader(h))
		if h.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, f.Body)
			must(err)
		}
	}
	must(w.Close())
	return b.Bytes()
}

// Compress compresses with xz, gz, zst or none.
func Compress(how string, data []byte) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch how {
	case "none", "":
		return data
	case "gz":
		w = gzip.NewWriter(&b)
	case "xz":
		w, err = xz.WriterConfig{DictCap: 1 << 16}.NewWriter(&b)
	case "zst":
		w, err = zstd.NewWriter(&b)
	default:
		panic("debiantest: no compression " + how)
	}
	must(err)
	_, err = w.Write(data)
	must(err)
	must(w.Close())
	return b.Bytes()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func must(err error) {
	if err != nil {
		panic("debiantest: " + err.Error())
	}
}
