package diff

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"
)

// file is what a layer says of a path.
type file struct {
	Path   string `json:"p"` // absolute
	Type   byte   `json:"t"` // tar's type flag; '-' for a path that the layer removes
	Mode   int64  `json:"m,omitempty"`
	UID    int    `json:"u,omitempty"`
	GID    int    `json:"g,omitempty"`
	Size   int64  `json:"s,omitempty"`
	SHA256 string `json:"d,omitempty"` // of a regular file, in hex
	Link   string `json:"l,omitempty"`

	Go       string            `json:"go,omitempty"`       // of a Go program: the release that compiled it
	Modules  map[string]string `json:"modules,omitempty"`  // of a Go program: path → version
	Packages map[string]string `json:"packages,omitempty"` // of dpkg's status files: name → version
}

// gone marks a path that a layer removes, and opaque a directory whose former
// content it removes (OCI image-spec, Whiteouts).
const (
	gone   = '-'
	opaque = '/'
)

// Store remembers what layers hold, by their digests. pkg/cache is one.
type Store interface {
	ReadRecord(kind, key string, v any) error
	WriteRecord(kind, key string, v any) error
}

const listKind = "layer-list"

// list returns what a layer says, from the store where it was read before.
func list(src Source, d v1.Descriptor, store Store) ([]file, error) {
	sum := sha256.Sum256([]byte("list 1 " + d.Digest.String()))
	key := hex.EncodeToString(sum[:])
	var files []file
	if store != nil && store.ReadRecord(listKind, key, &files) == nil {
		return files, nil
	}
	r, err := src.Open(d.Digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	h := sha256.New()
	files, err = readLayer(io.TeeReader(r, h))
	if err == nil {
		_, err = io.Copy(h, r) // what follows the tar's end
	}
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", d.Digest, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != d.Digest.Hex {
		return nil, fmt.Errorf("layer %s has the digest sha256:%s: it was changed or damaged", d.Digest, got)
	}
	if store != nil {
		if err := store.WriteRecord(listKind, key, files); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func readLayer(r io.Reader) ([]file, error) {
	plain, err := decompress(r)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	var files []file
	for t := tar.NewReader(plain); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, plain)
			return files, err
		}
		if err != nil {
			return nil, err
		}
		f, err := readFile(h, t)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
}

// decompress tells by the first bytes how a layer is compressed.
func decompress(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzip.NewReader(b)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(b), nil
}

// maxProgram is the largest file that is looked into for Go's build
// information, in bytes: it is held in memory.
const maxProgram = 256 << 20

func readFile(h *tar.Header, r io.Reader) (file, error) {
	f := file{Path: path.Clean("/" + h.Name), Type: h.Typeflag, Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid, Link: h.Linkname}
	dir, base := path.Split(f.Path)
	switch hidden, ok := strings.CutPrefix(base, ".wh."); {
	case base == ".wh..wh..opq":
		return file{Path: path.Clean(dir), Type: opaque}, nil
	case ok:
		return file{Path: path.Join(dir, hidden), Type: gone}, nil
	}
	if h.Typeflag == tar.TypeLink {
		f.Link = path.Clean("/" + h.Linkname)
	}
	if h.Typeflag != tar.TypeReg {
		return f, nil
	}
	f.Size = h.Size
	sum := sha256.New()
	b := bufio.NewReader(io.TeeReader(r, sum))
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return f, err
	}
	switch {
	case string(head) == "\x7fELF" && h.Mode&0o111 != 0 && h.Size <= maxProgram:
		program, err := io.ReadAll(b)
		if err != nil {
			return f, err
		}
		f.Go, f.Modules = goModules(program)
	case f.Path == "/var/lib/dpkg/status" || path.Dir(f.Path) == "/var/lib/dpkg/status.d" && !strings.HasSuffix(f.Path, ".md5sums"):
		status, err := io.ReadAll(io.LimitReader(b, maxProgram))
		if err != nil {
			return f, err
		}
		f.Packages = dpkgPackages(string(status))
	}
	if _, err := io.Copy(io.Discard, b); err != nil {
		return f, err
	}
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return f, nil
}

// goModules are what a Go program says it was made of; nothing for others.
func goModules(program []byte) (release string, modules map[string]string) {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return "", nil
	}
	modules = map[string]string{}
	for _, d := range info.Deps {
		if d.Replace != nil {
			modules[d.Path] = strings.TrimSpace(d.Replace.Path + " " + d.Replace.Version)
			continue
		}
		modules[d.Path] = d.Version
	}
	return info.GoVersion, modules
}

// dpkgPackages are the packages of a status file, with their versions.
func dpkgPackages(status string) map[string]string {
	found := map[string]string{}
	name := ""
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, "Package: "); ok {
			name = strings.TrimSpace(v)
		} else if v, ok := strings.CutPrefix(line, "Version: "); ok && name != "" {
			found[name] = strings.TrimSpace(v)
		} else if strings.TrimSpace(line) == "" {
			name = ""
		}
	}
	return found
}
