package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/etcdimg/etcdimg/pkg/fetch"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

// DefaultReleases is etcd's own release page. Below it, and below any mirror
// of it, are vX.Y.Z/SHA256SUMS and vX.Y.Z/etcd-vX.Y.Z-linux-GOARCH.tar.gz.
const DefaultReleases = "https://github.com/etcd-io/etcd/releases/download"

// What a lock says of the signature of a release's checksums, where it is not
// the fingerprint of a key.
const (
	unsigned   = "none"       // none is published
	unverified = "unverified" // there is one, and no key was given to verify it
)

// ReleaseOptions say where official releases come from, and how.
type ReleaseOptions struct {
	// Base is a release page or a mirror of one: an http, https or file URL, or
	// a local folder. Empty means DefaultReleases.
	Base  string
	Fetch fetch.Options
}

// Releases is a place that has official releases.
type Releases struct {
	base  string
	fetch *fetch.Fetcher
}

// NewReleases returns the place that o describes. It asks nobody yet.
func NewReleases(o ReleaseOptions) (*Releases, error) {
	if o.Base == "" {
		o.Base = DefaultReleases
	}
	base, err := fetch.ParseBase(o.Base)
	if err != nil {
		return nil, fmt.Errorf("where official releases come from: %w", err)
	}
	return &Releases{base: base, fetch: fetch.New(o.Fetch)}, nil
}

// readKeyring reads keys that may have signed a release. Errors are *KeyError.
func readKeyring(keyring [][]byte) (openpgp.EntityList, error) {
	var keys openpgp.EntityList
	for i, key := range keyring {
		read := openpgp.ReadKeyRing
		if bytes.Contains(key, []byte("-----BEGIN PGP")) {
			read = openpgp.ReadArmoredKeyRing
		}
		entities, err := read(bytes.NewReader(key))
		if err != nil {
			return nil, &KeyError{Key: fmt.Sprintf("etcd.keyring[%d]", i), Err: fmt.Errorf("it is no file of OpenPGP keys: %w", err)}
		}
		keys = append(keys, entities...)
	}
	return keys, nil
}

// orDefault is r, or etcd's own release page for nil.
func (r *Releases) orDefault() (*Releases, error) {
	if r != nil {
		return r, nil
	}
	return NewReleases(ReleaseOptions{})
}

// archiveName is the name of a release's archive.
func archiveName(v version, arch string) string {
	return fmt.Sprintf("etcd-v%s-linux-%s.tar.gz", v, arch)
}

const (
	maxSums      = 1 << 20
	maxSignature = 64 << 10
)

// pinRelease pins the archives of a version for architectures. Each is
// downloaded, into the store where there is one, and looked into. It returns
// the date of the newest program, too.
func (s *Resolver) pinRelease(ctx context.Context, l Line, v version, archs []string, r Request) (*lock.Release, time.Time, error) {
	doing := "pinning the official release of etcd " + v.String()
	keys, err := readKeyring(r.Keyring)
	if err != nil {
		return nil, time.Time{}, err
	}
	page, err := s.Releases.orDefault()
	if err != nil {
		return nil, time.Time{}, err
	}
	s.emit(v, Resolving, "")
	at := "v" + v.String() + "/"
	sums, err := page.fetch.Bytes(ctx, fetch.Join(page.base, at+"SHA256SUMS"), maxSums)
	if errors.Is(err, fetch.ErrMissing) {
		return nil, time.Time{}, &KeyError{Key: "etcd.versions", Value: v.String(), Err: fmt.Errorf(
			"no official release of etcd %s is to be had, with checksums: %w; choose another version, or from: source", v, err)}
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", doing, err)
	}
	digests, err := parseSums(sums)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %s: %w", doing, fetch.Join(page.base, at+"SHA256SUMS"), err)
	}
	pin := &lock.Release{
		Checksums: lock.File{Path: at + "SHA256SUMS", Size: int64(len(sums)), SHA256: hexSHA256(sums)},
		Archives:  map[string]lock.Archive{},
	}
	if pin.Signature, err = page.signature(ctx, keys, at+"SHA256SUMS", sums); err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", doing, err)
	}
	var newest time.Time
	for _, arch := range archs {
		name := archiveName(v, arch)
		if digests[name] == "" {
			return nil, time.Time{}, &KeyError{Key: "etcd.from", Value: "release", Err: fmt.Errorf(
				"etcd %s has no official release for %s: its SHA256SUMS does not list %s; use source for it", v, arch, name)}
		}
		s.emit(v, Downloading, name)
		a, date, err := s.pinArchive(ctx, page, lock.File{Path: at + name, SHA256: digests[name]}, arch, l, r.Binaries)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("%s: %w", doing, err)
		}
		pin.Archives[arch] = a
		if date.After(newest) {
			newest = date
		}
	}
	return pin, newest, nil
}

// signature says by whom a file was signed.
func (r *Releases) signature(ctx context.Context, keys openpgp.EntityList, file string, content []byte) (string, error) {
	for _, ending := range []string{".asc", ".sig"} {
		signature, err := r.fetch.Bytes(ctx, fetch.Join(r.base, file+ending), maxSignature)
		if errors.Is(err, fetch.ErrMissing) {
			continue
		}
		if err != nil {
			return "", err
		}
		if len(keys) == 0 {
			return unverified, nil
		}
		check := openpgp.CheckDetachedSignature
		if bytes.Contains(signature, []byte("-----BEGIN PGP")) {
			check = openpgp.CheckArmoredDetachedSignature
		}
		signer, err := check(keys, bytes.NewReader(content), bytes.NewReader(signature), nil)
		if err != nil {
			return "", fmt.Errorf("%s is not a signature by any of the given keys: %w; nothing of the release was used", fetch.Join(r.base, file+ending), err)
		}
		return fmt.Sprintf("%X", signer.PrimaryKey.Fingerprint), nil
	}
	if len(keys) > 0 {
		return "", fmt.Errorf("%s has no signature beside it (.asc or .sig), and keys are given that must have signed it", fetch.Join(r.base, file))
	}
	return unsigned, nil
}

// pinArchive downloads an archive, unless the store has it, and looks into it.
func (s *Resolver) pinArchive(ctx context.Context, page *Releases, file lock.File, arch string, l Line, binaries []string) (lock.Archive, time.Time, error) {
	dir, remove, err := tempDir(s.Store)
	if err != nil {
		return lock.Archive{}, time.Time{}, err
	}
	defer remove()
	f, err := openArchive(ctx, s.Store, page, file, dir)
	if err != nil {
		return lock.Archive{}, time.Time{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return lock.Archive{}, time.Time{}, err
	}
	file.Size = info.Size()
	top := strings.TrimSuffix(filepath.Base(file.Path), ".tar.gz")
	programs, err := unpack(f, dir, func(path string) (string, bool) {
		name, ok := strings.CutPrefix(path, top+"/")
		return name, ok && l.Programs[name] != ""
	})
	if err != nil {
		return lock.Archive{}, time.Time{}, fmt.Errorf("%s: %w", file.Path, err)
	}
	if len(binaries) == 0 {
		binaries = l.binaries()
	}
	pin := lock.Archive{File: file, Binaries: map[string]string{}}
	var newest time.Time
	for _, name := range binaries {
		if programs[name].path == "" {
			return lock.Archive{}, time.Time{}, fmt.Errorf("%s has no %s/%s", file.Path, top, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		m := programs[name]
		if err := checkFile(m.file, arch); err != nil {
			return lock.Archive{}, time.Time{}, fmt.Errorf("%s: %s is not what it should be: %w", file.Path, m.path, err)
		}
		pin.Binaries[name] = m.path
		if m.date.After(newest) {
			newest = m.date
		}
	}
	return pin, newest, nil
}

func checkFile(file, arch string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return checkExecutable(f, arch)
}

// tempDir is a temporary directory, on the store's file system if there is one.
func tempDir(store Store) (dir string, remove func(), err error) {
	if store != nil {
		return store.TempDir()
	}
	dir, err = os.MkdirTemp("", "etcdimg-release-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// openArchive opens an archive whose digest is known: the store's, or the
// page's, which goes into the store, if there is one. Where its size is known,
// it is held to it.
func openArchive(ctx context.Context, store Store, page *Releases, file lock.File, dir string) (*os.File, error) {
	digest := "sha256:" + file.SHA256
	for range 2 { // the store drops what it finds damaged: once more, then
		if store != nil && store.Has(digest) {
			if f, err := store.Open(digest); err == nil {
				return f, nil
			}
		}
		at := filepath.Join(dir, "archive")
		if _, err := page.fetch.File(ctx, fetch.Join(page.base, file.Path), at, fetch.Expect{Size: file.Size, Max: maxArchive, SHA256: file.SHA256}); err != nil {
			return nil, explainFetch(err)
		}
		if store == nil {
			return os.Open(at)
		}
		if _, _, err := store.PutFile(ctx, at); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the store loses %s as soon as it has it", file.Path)
}

// explainFetch adds to an error what can be done about it.
func explainFetch(err error) error {
	switch {
	case errors.Is(err, fetch.ErrMismatch):
		return fmt.Errorf("%w: whoever serves it changed it, or it was published anew; nothing of it was used", err)
	case errors.Is(err, fetch.ErrMissing):
		return unavailable{fmt.Errorf("%w: choose a mirror that has it, or from: source", err)}
	}
	return err
}

// archive is the release archive that a pin has for an architecture.
func archive(pin lock.Etcd, arch string) (lock.Archive, bool) {
	if pin.Release == nil {
		return lock.Archive{}, false
	}
	a, ok := pin.Release.Archives[arch]
	return a, ok
}

// prefetchArchive puts an archive into the store.
func (c *Compiler) prefetchArchive(ctx context.Context, pin recipe, arch string) error {
	a, _ := archive(pin.Etcd, arch)
	page, err := c.Releases.orDefault()
	if err != nil {
		return err
	}
	dir, remove, err := c.Store.TempDir()
	if err != nil {
		return err
	}
	defer remove()
	c.emit(pin, arch, Downloading, filepath.Base(a.Path))
	f, err := openArchive(ctx, c.Store, page, a.File, dir)
	if err != nil {
		return fmt.Errorf("downloading the official release of etcd %s for %s: %w", pin.Version, arch, err)
	}
	return f.Close()
}

// unpack takes programs out of the official release.
func (c *Compiler) unpack(ctx context.Context, pin recipe, arch string, names []string) (Binaries, error) {
	doing := fmt.Sprintf("unpacking the official release of etcd %s for %s", pin.Version, arch)
	fail := func(err error) (Binaries, error) { return nil, fmt.Errorf("%s: %w", doing, err) }
	a, _ := archive(pin.Etcd, arch)
	page, err := c.Releases.orDefault()
	if err != nil {
		return nil, err
	}
	dir, remove, err := c.Store.TempDir()
	if err != nil {
		return fail(err)
	}
	defer remove()
	if !c.Store.Has("sha256:" + a.SHA256) {
		c.emit(pin, arch, Downloading, filepath.Base(a.Path))
	}
	f, err := openArchive(ctx, c.Store, page, a.File, dir)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	c.emit(pin, arch, Unpacking, "")
	wanted := map[string]string{}
	for _, name := range names {
		wanted[a.Binaries[name]] = name
	}
	programs, err := unpack(contextReader{ctx, f}, dir, func(path string) (string, bool) {
		name, ok := wanted[path]
		return name, ok
	})
	if err != nil {
		return fail(fmt.Errorf("%s: %w", a.Path, err))
	}
	made := Binaries{}
	for _, name := range names {
		m, ok := programs[name]
		if !ok {
			return fail(fmt.Errorf("%s has no %s", a.Path, a.Binaries[name]))
		}
		if err := checkFile(m.file, arch); err != nil {
			return fail(fmt.Errorf("%s: %s is not what it should be: %w", a.Path, m.path, err))
		}
		digest, size, err := c.Store.PutFile(ctx, m.file)
		if err != nil {
			return fail(fmt.Errorf("storing %s: %w", name, err))
		}
		made[name] = Binary{Digest: digest, Size: size}
	}
	return made, c.record(pin, arch, made)
}

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
