package osv

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/cache"
)

// Store keeps what was read of databases. pkg/cache is one.
type Store interface {
	PutFile(ctx context.Context, path string) (digest string, size int64, err error)
	Open(digest string) (*os.File, error)
	ReadRecord(kind, key string, v any) error
	WriteRecord(kind, key string, v any) error
	TempDir() (dir string, remove func(), err error)
}

// Info is what a database is.
type Info struct {
	Source   string    // as it was named
	Kind     string    // folder, archive or address
	Date     time.Time // of its newest record, or of the whole
	DateFrom string    // index/db.json, modified, Last-Modified, or file name
	Digest   string    // "sha256:…" of what was read
	Records  int
	// Ecosystems are those that it has records of, with how many: Go, Debian:13.
	Ecosystems map[string]int
	// GoRecords are the records of Go's own database among them: GO-….
	GoRecords int
}

// Database is one database that was read.
type Database struct {
	Info  Info
	index index
	blob  *os.File
}

// span is where a record lies in the blob.
type span struct {
	Offset int64 `json:"o"`
	Length int   `json:"l"`
}

// index is what is kept of a database beside its records.
type index struct {
	Date       time.Time         `json:"date"`
	DateFrom   string            `json:"dateFrom"`
	Records    int               `json:"records"`
	Ecosystems map[string]int    `json:"ecosystems"`
	Packages   map[string][]span `json:"packages"` // ecosystem, tab, name
	GoRecords  int               `json:"goRecords"`
	Blob       string            `json:"blob"` // digest of the records, one after the other
}

const indexKind = "osv-index"

// indexVersion is part of the key under which indexes are kept.
const indexVersion = "osv index 1"

// Open reads the database in a folder or an archive on this machine.
func Open(ctx context.Context, store Store, source string) (*Database, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, fmt.Errorf("reading the vulnerability database: %w", err)
	}
	d := &Database{Info: Info{Source: source, Kind: "archive"}}
	walk := func(each func(string, []byte) error) error { return walkFile(ctx, source, each) }
	if info.IsDir() {
		d.Info.Kind = "folder"
		walk = func(each func(string, []byte) error) error { return walkFolder(ctx, source, each) }
	}
	if err := d.read(ctx, store, walk); err != nil {
		return nil, fmt.Errorf("the vulnerability database %s: %w", source, err)
	}
	if d.Info.Date.IsZero() {
		d.Info.Date, d.Info.DateFrom = dateInName(filepath.Base(source)), "file name"
	}
	return d, nil
}

func walkFile(ctx context.Context, name string, each func(string, []byte) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return walkArchive(ctx, f, each)
}

// Close lets go of the database's file.
func (d *Database) Close() error { return d.blob.Close() }

// read finds out the digest, and takes the index from the store or makes it.
func (d *Database) read(ctx context.Context, store Store, walk func(func(string, []byte) error) error) error {
	var err error
	if d.Info.Kind == "folder" {
		d.Info.Digest, err = digestOfAll(walk)
	} else {
		d.Info.Digest, err = digestOfFile(d.Info.Source)
	}
	if err != nil {
		return err
	}
	key := cache.Key(indexVersion, d.Info.Digest)
	if store.ReadRecord(indexKind, key, &d.index) != nil || d.open(store) != nil {
		made, err := makeIndex(ctx, store, walk)
		if err != nil {
			return err
		}
		d.index = *made
		if err := store.WriteRecord(indexKind, key, made); err != nil {
			return err
		}
		if err := d.open(store); err != nil {
			return err
		}
	}
	d.Info.Date, d.Info.DateFrom = d.index.Date, d.index.DateFrom
	d.Info.Records, d.Info.Ecosystems, d.Info.GoRecords = d.index.Records, d.index.Ecosystems, d.index.GoRecords
	return nil
}

func (d *Database) open(store Store) (err error) {
	d.blob, err = store.Open(d.index.Blob)
	return err
}

func digestOfFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return digestString(h), err
}

// digestOfAll is over the names and digests of all files.
func digestOfAll(walk func(func(string, []byte) error) error) (string, error) {
	h := sha256.New()
	err := walk(func(name string, b []byte) error {
		fmt.Fprintf(h, "%x %s\n", sha256.Sum256(b), name)
		return nil
	})
	return digestString(h), err
}

func digestString(h hash.Hash) string { return "sha256:" + hex.EncodeToString(h.Sum(nil)) }

// For are the records about a package, by identifier; withdrawn ones are not
// among them.
func (d *Database) For(ecosystem, name string) ([]*Record, error) {
	raw, err := d.Raw(ecosystem, name)
	if err != nil {
		return nil, err
	}
	var found []*Record
	for _, b := range raw {
		r, err := Parse(b)
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	slices.SortFunc(found, func(a, b *Record) int { return strings.Compare(a.ID, b.ID) })
	return found, nil
}

// Raw are the same records as they were read, in no order.
func (d *Database) Raw(ecosystem, name string) ([]json.RawMessage, error) {
	var found []json.RawMessage
	for _, s := range d.index.Packages[ecosystem+"\t"+name] {
		b := make([]byte, s.Length)
		if _, err := d.blob.ReadAt(b, s.Offset); err != nil {
			return nil, fmt.Errorf("the vulnerability database %s: %w", d.Info.Source, err)
		}
		found = append(found, b)
	}
	return found, nil
}

// maker makes an index.
type maker struct {
	index index
	out   *bufio.Writer
	at    int64
	known map[string]time.Time // identifier → when the record that was taken was modified
	where map[string]span
	of    map[string][]string // identifier → its packages, as the index has them
}

func makeIndex(ctx context.Context, store Store, walk func(func(string, []byte) error) error) (*index, error) {
	dir, remove, err := store.TempDir()
	if err != nil {
		return nil, err
	}
	defer remove()
	file, err := os.Create(filepath.Join(dir, "records"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m := &maker{out: bufio.NewWriterSize(file, 1<<20), known: map[string]time.Time{}, where: map[string]span{}, of: map[string][]string{}}
	if err := walk(m.file); err != nil {
		return nil, err
	}
	if len(m.known) == 0 {
		return nil, errors.New("it has no record: want OSV records as *.json")
	}
	if err := m.out.Flush(); err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	m.finish()
	m.index.Blob, _, err = store.PutFile(ctx, file.Name())
	return &m.index, err
}

// file takes one file of a database. What Go's database has in index/ is no
// record; it tells the date.
func (m *maker) file(name string, b []byte) error {
	if path.Base(path.Dir(name)) == "index" {
		return m.goIndex(name, b)
	}
	r, err := Parse(b)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if before, ok := m.known[r.ID]; ok && !r.Modified.After(before) {
		return nil
	}
	m.known[r.ID] = r.Modified
	delete(m.where, r.ID)
	delete(m.of, r.ID)
	if r.Modified.After(m.index.Date) && m.index.DateFrom != goDate {
		m.index.Date, m.index.DateFrom = r.Modified.UTC(), "modified"
	}
	if !r.Withdrawn.IsZero() {
		return nil
	}
	var line bytes.Buffer
	if err := json.Compact(&line, b); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	m.where[r.ID] = span{m.at, line.Len()}
	for _, a := range r.Affected {
		key := a.Package.Ecosystem + "\t" + a.Package.Name
		if !slices.Contains(m.of[r.ID], key) {
			m.of[r.ID] = append(m.of[r.ID], key)
		}
	}
	n, err := m.out.Write(line.Bytes())
	m.at += int64(n)
	return err
}

// goDate is the file in which Go's database tells its date.
const goDate = "index/db.json"

func (m *maker) goIndex(name string, b []byte) error {
	if path.Base(name) != "db.json" {
		return nil
	}
	var db struct {
		Modified time.Time `json:"modified"`
	}
	if err := json.Unmarshal(b, &db); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !db.Modified.IsZero() {
		m.index.Date, m.index.DateFrom = db.Modified.UTC(), goDate
	}
	return nil
}

func (m *maker) finish() {
	m.index.Records = len(m.where)
	m.index.Ecosystems, m.index.Packages = map[string]int{}, map[string][]span{}
	for _, id := range slices.Sorted(maps.Keys(m.of)) {
		if strings.HasPrefix(id, "GO-") {
			m.index.GoRecords++
		}
		seen := map[string]bool{}
		for _, key := range m.of[id] {
			m.index.Packages[key] = append(m.index.Packages[key], m.where[id])
			ecosystem, _, _ := strings.Cut(key, "\t")
			if !seen[ecosystem] {
				seen[ecosystem] = true
				m.index.Ecosystems[ecosystem]++
			}
		}
	}
}

var dateForm = regexp.MustCompile(`(20\d\d)-?([01]\d)-?([0-3]\d)`)

// dateInName is a date that is part of a name: go-vulndb-2026-08-21.tar.xz.
func dateInName(name string) time.Time {
	f := dateForm.FindStringSubmatch(name)
	if f == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.DateOnly, f[1]+"-"+f[2]+"-"+f[3])
	if err != nil {
		return time.Time{}
	}
	return t
}
