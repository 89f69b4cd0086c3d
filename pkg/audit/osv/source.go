package osv

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxTotal bounds what a database may unpack to, in bytes.
const maxTotal = 8 << 30

// errUnknown says that a file is no archive of a known kind.
var errUnknown = errors.New("neither a folder, nor a zip, nor a tar (plain or compressed by gzip, bzip2, xz or zstd)")

// walkFolder calls each for every JSON file below dir, in the order of their
// names.
func walkFolder(ctx context.Context, dir string, each func(name string, b []byte) error) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if name = filepath.ToSlash(name); d.IsDir() || !isJSON(name) {
			return nil
		}
		info, err := os.Stat(p)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return nil
		}
		if info.Size() > maxRecord {
			return fmt.Errorf("%s is larger than %d bytes", p, maxRecord)
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return each(name, b)
	})
}

func isJSON(name string) bool {
	return strings.HasSuffix(name, ".json") && !strings.HasPrefix(path.Base(name), ".")
}

// walkArchive does the same for the files in an archive, in the archive's order.
func walkArchive(ctx context.Context, file *os.File, each func(name string, b []byte) error) error {
	head := make([]byte, 4)
	if _, err := io.ReadFull(file, head); err != nil {
		return fmt.Errorf("%w: it has no more than four bytes", errUnknown)
	}
	if bytes.Equal(head, []byte("PK\x03\x04")) || bytes.Equal(head, []byte("PK\x05\x06")) {
		info, err := file.Stat()
		if err != nil {
			return err
		}
		return walkZip(ctx, file, info.Size(), each)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	plain, done, err := decompress(bufio.NewReaderSize(file, 1<<16))
	if err != nil {
		return err
	}
	defer done()
	return walkTar(ctx, plain, each)
}

func walkZip(ctx context.Context, r io.ReaderAt, size int64, each func(name string, b []byte) error) error {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return fmt.Errorf("broken zip: %w", err)
	}
	left := int64(maxTotal)
	for _, f := range z.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		if f.FileInfo().IsDir() || !isJSON(f.Name) {
			continue
		}
		rc, err := f.Open()
		if err != nil {
			return fmt.Errorf("broken zip: %s: %w", f.Name, err)
		}
		b, err := readUpTo(rc, &left)
		rc.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		if err := each(path.Clean(f.Name), b); err != nil {
			return err
		}
	}
	return nil
}

func walkTar(ctx context.Context, r io.Reader, each func(name string, b []byte) error) error {
	t := tar.NewReader(r)
	left := int64(maxTotal)
	for first := true; ; first = false {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			// What follows the end is read for its checksum's sake.
			if _, err := io.Copy(io.Discard, r); err != nil {
				return fmt.Errorf("broken archive: %w", err)
			}
			return nil
		}
		if err != nil {
			if first {
				return fmt.Errorf("%w: %w", errUnknown, err)
			}
			return fmt.Errorf("broken archive: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg || !isJSON(h.Name) {
			continue
		}
		b, err := readUpTo(t, &left)
		if err != nil {
			return fmt.Errorf("broken archive: %s: %w", h.Name, err)
		}
		if err := each(path.Clean(h.Name), b); err != nil {
			return err
		}
	}
}

func readUpTo(r io.Reader, left *int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxRecord+1))
	if err != nil {
		return nil, err
	}
	if *left -= int64(len(b)); len(b) > maxRecord || *left < 0 {
		return nil, fmt.Errorf("larger than allowed: %d bytes a record, %d in all", maxRecord, int64(maxTotal))
	}
	return b, nil
}

// decompress tells by the first bytes how a tar is compressed.
func decompress(b *bufio.Reader) (io.Reader, func(), error) {
	head, _ := b.Peek(6)
	none := func() {}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		return z, none, err
	case bytes.HasPrefix(head, []byte("BZh")):
		return bzip2.NewReader(b), none, nil
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		z, err := xz.NewReader(b)
		return z, none, err
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxMemory(256<<20))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return b, none, nil
}
