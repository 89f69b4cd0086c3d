package debian

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// Unpack returns a package's files and control data. What it makes of a .deb
// is kept in the Store, so it fetches and unpacks only what is not there.
//
// Content may turn out damaged when it is opened; the Store then drops it, and
// the next Unpack makes it again.
func (r *Resolver) Unpack(ctx context.Context, p lock.Package) (*Package, error) {
	if err := checkLocked(p); err != nil {
		return nil, err
	}
	pkg, err := r.unpack(ctx, p)
	if err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("package %s %s: %w", p.Name, p.Version, err)
	}
	return pkg, err
}

func (r *Resolver) unpack(ctx context.Context, p lock.Package) (*Package, error) {
	key := recordKey(unpackVersion, p.SHA256)
	if pkg := r.known(key, p); pkg != nil {
		return pkg, nil
	}
	unlock, err := r.opts.Store.Lock(ctx, kindPackage, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if pkg := r.known(key, p); pkg != nil {
		return pkg, nil // somebody else was quicker
	}
	deb, err := r.openDeb(ctx, p)
	if err != nil {
		return nil, err
	}
	defer deb.Close()
	rec, err := r.unpackDeb(ctx, deb, p)
	if err != nil {
		return nil, err
	}
	if err := r.opts.Store.WriteRecord(kindPackage, key, rec); err != nil {
		return nil, err
	}
	return r.remember(key, rec, p)
}

// known returns a package that was unpacked before and whose bytes are there.
func (r *Resolver) known(key string, p lock.Package) *Package {
	if v, ok := r.unpacked.Load(key); ok {
		m := v.(*memo)
		same := m.pkg.Name == p.Name && m.pkg.Version == p.Version && m.pkg.Arch == p.Arch
		if same && (m.pack == "" || r.opts.Store.Has(m.pack)) {
			return m.pkg
		}
		return nil
	}
	rec := &packageRecord{}
	if r.opts.Store.ReadRecord(kindPackage, key, rec) != nil || rec.Pack != "" && !r.opts.Store.Has(rec.Pack) {
		return nil
	}
	pkg, err := r.remember(key, rec, p)
	if err != nil {
		r.log.Debug("unpacking again", "package", p.Name, "reason", err)
		return nil
	}
	return pkg
}

// unpackDeb takes a .deb apart and puts the bytes of its files into the Store.
func (r *Resolver) unpackDeb(ctx context.Context, deb *os.File, p lock.Package) (*packageRecord, error) {
	info, err := deb.Stat()
	if err != nil {
		return nil, err
	}
	parts, err := splitDeb(deb, info.Size())
	if err != nil {
		return nil, err
	}
	files, err := readControl(ctx, parts.control, parts.controlCompression, r.opts.Limits.Control)
	if err != nil {
		return nil, fmt.Errorf("control archive: %w", err)
	}
	rec := &packageRecord{}
	pack, err := newPackWriter(r.opts.Store)
	if err != nil {
		return nil, err
	}
	defer pack.discard()
	hasSums := false
	for _, f := range files {
		if f.name == "control" {
			rec.Control = string(f.data)
			continue
		}
		if f.name == "conffiles" {
			if rec.Conffiles, err = parseConffiles(f.data); err != nil {
				return nil, err
			}
		}
		hasSums = hasSums || f.name == "md5sums"
		content, err := pack.add(strings.NewReader(string(f.data)))
		if err != nil {
			return nil, err
		}
		rec.Files = append(rec.Files, recordFile{Name: f.name, Mode: f.mode, recordContent: content})
	}
	if _, err := checkControl([]byte(rec.Control), p.Name, p.Version, p.Arch); err != nil {
		return nil, err
	}
	z, done, err := decompress(contextReader{ctx, parts.data}, parts.dataCompression)
	if err != nil {
		return nil, fmt.Errorf("data archive: %w", err)
	}
	defer done()
	d := &dataReader{pack: pack, limits: r.opts.Limits, md5s: map[string]string{}, kinds: map[string]rootfs.Type{}, files: map[string]string{}}
	if err := d.read(&limitedReader{r: z, left: r.opts.Limits.Data}); err != nil {
		return nil, fmt.Errorf("data archive: %w", err)
	}
	rec.Entries, rec.Date = d.entries, d.date
	for i := range rec.Conffiles {
		rec.Conffiles[i].MD5 = d.md5s[rec.Conffiles[i].Path]
	}
	if !hasSums {
		content, err := pack.add(strings.NewReader(d.sums(rec.Conffiles)))
		if err != nil {
			return nil, err
		}
		rec.Files = append(rec.Files, recordFile{Name: "md5sums", Mode: 0o644, Generated: true, recordContent: content})
		slices.SortFunc(rec.Files, func(a, b recordFile) int { return strings.Compare(a.Name, b.Name) })
	}
	rec.Pack, err = pack.store(ctx)
	return rec, err
}

// packWriter writes a pack: bytes back to back, in a temporary file.
type packWriter struct {
	into   Store
	f      *os.File
	w      *bufio.Writer
	off    int64
	remove func()
}

func newPackWriter(s Store) (*packWriter, error) {
	dir, remove, err := s.TempDir()
	if err != nil {
		return nil, err
	}
	f, err := os.Create(filepath.Join(dir, "pack"))
	if err != nil {
		remove()
		return nil, err
	}
	return &packWriter{s, f, bufio.NewWriterSize(f, 256<<10), 0, remove}, nil
}

// add appends what r yields; further hashes see it, too.
func (p *packWriter) add(r io.Reader, hashes ...hash.Hash) (recordContent, error) {
	h := sha256.New()
	writers := []io.Writer{p.w, h}
	for _, x := range hashes {
		writers = append(writers, x)
	}
	n, err := io.Copy(io.MultiWriter(writers...), r)
	if err != nil {
		return recordContent{}, err
	}
	c := recordContent{SHA256: hex.EncodeToString(h.Sum(nil)), Size: n}
	if n > 0 {
		c.Offset = p.off
	}
	p.off += n
	return c, nil
}

func (p *packWriter) store(ctx context.Context) (string, error) {
	if p.off == 0 {
		return "", nil
	}
	if err := p.w.Flush(); err != nil {
		return "", err
	}
	if err := p.f.Close(); err != nil {
		return "", err
	}
	digest, _, err := p.into.PutFile(ctx, p.f.Name())
	return digest, err
}

func (p *packWriter) discard() {
	p.f.Close()
	p.remove()
}
