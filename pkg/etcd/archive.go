package etcd

import (
	"archive/tar"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Bounds of what is read of a release: several times what releases have.
const (
	maxArchive  = 512 << 20 // compressed
	maxProgram  = 512 << 20
	maxUnpacked = 4 << 30
	maxEntries  = 20_000
)

// member is a program in an archive.
type member struct {
	path string // within the archive
	file string // where it was unpacked to
	date time.Time
}

// unpack reads a release archive, a gzipped tar, and writes the members whose
// path pick maps to a name into dir, under that name. It returns them by name.
// Whatever else the archive has is passed over, unread.
func unpack(r io.Reader, dir string, pick func(path string) (name string, ok bool)) (map[string]member, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("it is no gzip archive: %w", err)
	}
	limited := &io.LimitedReader{R: z, N: maxUnpacked}
	t := tar.NewReader(limited)
	found := map[string]member{}
	for n := 0; ; n++ {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return found, drain(limited)
		case err != nil && limited.N <= 0:
			return nil, fmt.Errorf("it has more than %d bytes", int64(maxUnpacked))
		case err != nil:
			return nil, fmt.Errorf("it is damaged: %w", err)
		case n == maxEntries:
			return nil, fmt.Errorf("it has more than %d files", maxEntries)
		}
		at := path.Clean(h.Name)
		name, ok := pick(at)
		if !ok {
			continue
		}
		if _, twice := found[name]; twice || !binaryName.MatchString(name) {
			return nil, fmt.Errorf("it has %s twice", at)
		}
		if h.Typeflag != tar.TypeReg || h.Size > maxProgram || h.Size == 0 {
			return nil, fmt.Errorf("%s in it is no file of a program's size", at)
		}
		m := member{path: at, file: filepath.Join(dir, name), date: h.ModTime.UTC().Truncate(time.Second)}
		if err := writeMember(t, m.file, h.Size); err != nil {
			return nil, fmt.Errorf("unpacking %s: %w", at, err)
		}
		found[name] = m
	}
}

// drain reads to the end, so that the checksum of the gzip format is checked.
func drain(l *io.LimitedReader) error {
	if _, err := io.Copy(io.Discard, l); err != nil {
		return fmt.Errorf("it is damaged: %w", err)
	}
	return nil
}

func writeMember(r io.Reader, file string, size int64) error {
	w, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, r)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return errors.Join(err, w.Close())
}

// checkExecutable tells whether a file is a static executable for an
// architecture.
func checkExecutable(r io.ReaderAt, arch string) error {
	program, err := elf.NewFile(r)
	if err != nil {
		return fmt.Errorf("it is no ELF file: %w", err)
	}
	if program.Machine != machines[arch] || (program.Data == elf.ELFDATA2MSB) != (arch == "s390x") {
		return fmt.Errorf("it is for %v, %v, not for %s", program.Machine, program.Data, arch)
	}
	if program.Type != elf.ET_EXEC && program.Type != elf.ET_DYN {
		return fmt.Errorf("it is no program, but a %v", program.Type)
	}
	if slices.ContainsFunc(program.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return errors.New("it is not static")
	}
	if needed, err := program.ImportedLibraries(); err == nil && len(needed) > 0 {
		return fmt.Errorf("it is not static: it needs %s", strings.Join(needed, ", "))
	}
	return nil
}
