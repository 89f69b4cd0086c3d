package cache

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Selection names entries of a cache.
type Selection struct {
	Blobs   []string // digests
	Records []RecordName
}

// RecordName is where a record is.
type RecordName struct{ Kind, Key string }

// Add adds what another selection has.
func (s *Selection) Add(other Selection) {
	s.Blobs = append(s.Blobs, other.Blobs...)
	s.Records = append(s.Records, other.Records...)
}

// normal sorts a selection and takes what it has twice out of it.
func (s Selection) normal() Selection {
	return Selection{
		Blobs: slices.Compact(slices.Sorted(slices.Values(s.Blobs))),
		Records: slices.Compact(slices.SortedFunc(slices.Values(s.Records), func(a, b RecordName) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
		})),
	}
}

// Amount is how much was carried.
type Amount struct {
	Blobs   int   `json:"blobs"`
	Records int   `json:"records"`
	Bytes   int64 `json:"bytes"` // of both
}

// The form of an export: a tar whose first entry is a mark with the version of
// the form, and whose last one ends it, so that one that was cut off is told.
// Between them are blobs and records, under their names in the cache.
const (
	exportMark = "etcdimg-cache"
	exportForm = "1\n"
	exportEnd  = "end"
)

// Export writes entries to w as a tar. The same entries give the same bytes.
// Each is verified as it is read; one that is missing is ErrNotFound.
func (c *Cache) Export(ctx context.Context, w io.Writer, s Selection) (Amount, error) {
	s = s.normal()
	var done Amount
	t := tar.NewWriter(w)
	add := func(name string, size int64, r io.Reader) error {
		h := &tar.Header{Name: name, Mode: 0o444, Size: size, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("writing the export: %w", err)
		}
		src := &contextReader{ctx: ctx, r: r}
		_, err := io.Copy(t, src)
		if err != nil && src.err == nil {
			err = fmt.Errorf("writing the export: %w", err)
		}
		done.Bytes += size
		return err
	}
	if err := add(exportMark, int64(len(exportForm)), strings.NewReader(exportForm)); err != nil {
		return done, err
	}
	done.Bytes = 0
	for _, digest := range s.Blobs {
		f, err := c.Open(digest)
		if err != nil {
			return done, err
		}
		info, err := f.Stat()
		if err == nil {
			err = add("blobs/sha256/"+strings.TrimPrefix(digest, "sha256:"), info.Size(), f)
		}
		f.Close()
		if err != nil {
			return done, err
		}
		done.Blobs++
	}
	for _, r := range s.Records {
		b, err := c.RawRecord(r)
		if err != nil {
			return done, err
		}
		if err := add("records/"+r.Kind+"/"+r.Key, int64(len(b)), bytes.NewReader(b)); err != nil {
			return done, err
		}
		done.Records++
	}
	bytes := done.Bytes
	if err := add(exportEnd, 0, strings.NewReader("")); err != nil {
		return done, err
	}
	done.Bytes = bytes
	if err := t.Close(); err != nil {
		return done, fmt.Errorf("writing the export: %w", err)
	}
	return done, nil
}

// RawRecord returns a record as it is kept, verified: a line with a digest of its
// kind, key and content, and the content.
func (c *Cache) RawRecord(r RecordName) ([]byte, error) {
	path, err := c.recordPath(r.Kind, r.Key)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("record %s/%s: %w", r.Kind, r.Key, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cache: %w", err)
	}
	if !wholeRecord(r, b) {
		return nil, fmt.Errorf("record %s/%s is damaged: %w", r.Kind, r.Key, ErrNotFound)
	}
	return b, nil
}

// Unseal returns the content of what RawRecord gave, anywhere. It is false for
// what was changed since, and for the record of another kind or key.
func Unseal(r RecordName, raw []byte) (content []byte, ok bool) {
	sum, body, ok := bytes.Cut(raw, []byte("\n"))
	return body, ok && string(sum) == recordSum(r.Kind, r.Key, body)
}

func wholeRecord(r RecordName, b []byte) bool {
	_, ok := Unseal(r, b)
	return ok
}

// maxRecord is more than any record has, in bytes.
const maxRecord = 64 << 20

// Import takes the entries of an export into the cache. Each is verified
// before it is taken; what was taken before an error stays.
func (c *Cache) Import(ctx context.Context, r io.Reader) (Amount, error) {
	var done Amount
	t := tar.NewReader(&contextReader{ctx: ctx, r: r})
	for first, ended := true, false; ; first = false {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF) && ended:
			return done, nil
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return done, errors.New("the export is cut off: copy it again")
		case err != nil:
			return done, fmt.Errorf("reading the export: %w", err)
		case ended || h.Typeflag != tar.TypeReg:
			return done, fmt.Errorf("the export has %q, which no export has", h.Name)
		}
		if first {
			if err := checkMark(h, t); err != nil {
				return done, err
			}
			continue
		}
		if h.Name == exportEnd {
			ended = true
			continue
		}
		if err := c.importEntry(ctx, h, t, &done); err != nil {
			return done, err
		}
	}
}

func checkMark(h *tar.Header, t io.Reader) error {
	if h.Name != exportMark {
		return errors.New("this is no export of an etcdimg cache")
	}
	form, err := io.ReadAll(io.LimitReader(t, 64))
	if err != nil {
		return fmt.Errorf("reading the export: %w", err)
	}
	if string(form) != exportForm {
		return fmt.Errorf("the export has the form %q, and this etcdimg knows %q: use a newer etcdimg", bytes.TrimSpace(form), strings.TrimSpace(exportForm))
	}
	return nil
}

func (c *Cache) importEntry(ctx context.Context, h *tar.Header, t io.Reader, done *Amount) error {
	if sum, ok := strings.CutPrefix(h.Name, "blobs/sha256/"); ok && wellFormed("sha256:"+sum) {
		done.Blobs++
		done.Bytes += h.Size
		return c.importBlob(ctx, "sha256:"+sum, t)
	}
	parts := strings.Split(h.Name, "/")
	if len(parts) != 3 || parts[0] != "records" {
		return fmt.Errorf("the export has %q, which no export has", h.Name)
	}
	r := RecordName{parts[1], parts[2]}
	path, err := c.recordPath(r.Kind, r.Key)
	if err != nil {
		return err
	}
	if h.Size > maxRecord {
		return fmt.Errorf("record %s/%s in the export has %d bytes, more than any", r.Kind, r.Key, h.Size)
	}
	b, err := io.ReadAll(t)
	if err != nil {
		return fmt.Errorf("reading the export: %w", cutOff(err))
	}
	if !wholeRecord(r, b) {
		return fmt.Errorf("record %s/%s in the export is damaged: copy it again", r.Kind, r.Key)
	}
	done.Records++
	done.Bytes += h.Size
	return c.placeRecord(path, b)
}

func cutOff(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is cut off: copy it again")
	}
	return err
}

func (c *Cache) importBlob(ctx context.Context, digest string, r io.Reader) error {
	f, err := c.tempFile()
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	h := sha256.New()
	src := &contextReader{ctx: ctx, r: r}
	_, err = io.Copy(io.MultiWriter(f, h), src)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if src.err != nil {
		return fmt.Errorf("reading the export: %w", cutOff(src.err))
	}
	if err != nil {
		return c.writeError(err)
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
		return fmt.Errorf("blob %s in the export is damaged, its digest is %s: copy it again", digest, got)
	}
	return c.adopt(f.Name(), digest)
}

// All selects everything in the cache.
func (c *Cache) All() (Selection, error) {
	var s Selection
	entries, err := c.entries()
	for _, e := range entries {
		if e.digest != "" {
			s.Blobs = append(s.Blobs, e.digest)
		} else {
			s.Records = append(s.Records, e.record)
		}
	}
	return s, err
}

// placeRecord gives a record's bytes their place.
func (c *Cache) placeRecord(path string, b []byte) error {
	f, err := c.tempFile()
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o444)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o777)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return c.writeError(err)
	}
	return nil
}
