package debian

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/etcdimg/etcdimg/pkg/fetch"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

// Fetch puts a package's .deb into the Store, unless it is there already, and
// returns its digest ("sha256:<hex>"). The lock's size and SHA-256 decide: a
// source that has anything else is passed over for the next one. An
// interrupted transfer goes on where it stopped.
func (r *Resolver) Fetch(ctx context.Context, p lock.Package) (string, error) {
	if err := checkLocked(p); err != nil {
		return "", err
	}
	digest := "sha256:" + p.SHA256
	if r.opts.Store.Has(digest) {
		return digest, nil
	}
	what := fmt.Sprintf("package %s %s %s", p.Name, p.Version, p.Arch)
	if r.opts.Offline {
		return "", fmt.Errorf("%s: %w, and it is not in the cache: build once with the network", what, fetch.ErrOffline)
	}
	unlock, err := r.opts.Store.Lock(ctx, "debian-deb", p.SHA256)
	if err != nil {
		return "", err
	}
	defer unlock()
	if r.opts.Store.Has(digest) {
		return digest, nil // somebody else was quicker
	}
	dir, remove, err := r.opts.Store.TempDir()
	if err != nil {
		return "", err
	}
	defer remove()
	tmp := filepath.Join(dir, "deb")
	tried := &attempts{}
	for _, source := range r.sources(p.Archive, p.Snapshot) {
		url := fetch.Join(source, p.Path)
		r.log.Debug("downloading", "package", p.Name, "url", url, "bytes", p.Size)
		_, err := r.fetch.File(ctx, url, tmp, fetch.Expect{Size: p.Size, Max: r.opts.Limits.Deb, SHA256: p.SHA256})
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err != nil {
			tried.add(err)
			continue
		}
		if _, _, err := r.opts.Store.PutFile(ctx, tmp); err != nil {
			return "", fmt.Errorf("%s: %w", what, err)
		}
		return digest, nil
	}
	todo := "Check the network. Mirrors drop old versions after a while, and some lag behind: where " + SnapshotBase + " can not be reached either, take what is offered now with etcdimg lock --update debian"
	if tried.mismatched() {
		todo = "A source that has other bytes under this name was tampered with, or is out of step: use another mirror, or lock again"
	}
	return "", tried.error(what, todo)
}

// checkLocked refuses what no lock that this project writes would say.
func checkLocked(p lock.Package) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("lock: package %q: %s: lock again", p.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case !packageName.MatchString(p.Name):
		return fail("not a package name")
	case !ValidVersion(p.Version):
		return fail("%q is not a version", p.Version)
	case !isSHA256(p.SHA256):
		return fail("%q is not a SHA-256", p.SHA256)
	case p.Size <= 0:
		return fail("%d is not a size", p.Size)
	case !cleanRelative(p.Path):
		return fail("path %q does not lie below the archive", p.Path)
	}
	if !isNamed(p.Archive) {
		if _, err := parseBase(p.Archive); err != nil {
			return fail("archive %v", err)
		}
	}
	return nil
}

// openDeb returns a package's .deb from the Store, fetched where it is missing.
func (r *Resolver) openDeb(ctx context.Context, p lock.Package) (*os.File, error) {
	var last error
	for range 2 { // the Store drops what it finds damaged: once more, then
		digest, err := r.Fetch(ctx, p)
		if err != nil {
			return nil, err
		}
		f, err := r.opts.Store.Open(digest)
		if err == nil {
			return f, nil
		}
		last = err
	}
	return nil, last
}

// Has says whether Unpack needs no network: the package is there, unpacked or
// as it was published.
func (r *Resolver) Has(p lock.Package) bool {
	_, _, _, unpacked := r.Unpacked(p)
	return unpacked || r.opts.Store.Has("sha256:"+p.SHA256)
}

// Unpacked tells what the Store keeps of a package that was unpacked: the
// record's kind and key, and the digests of the blobs that it needs. It is
// false where it was not, or where a blob is missing.
func (r *Resolver) Unpacked(p lock.Package) (kind, key string, blobs []string, ok bool) {
	key = recordKey(unpackVersion, p.SHA256)
	var rec packageRecord
	if r.opts.Store.ReadRecord(kindPackage, key, &rec) != nil {
		return kindPackage, key, nil, false
	}
	if rec.Pack == "" {
		return kindPackage, key, nil, true
	}
	return kindPackage, key, []string{rec.Pack}, r.opts.Store.Has(rec.Pack)
}
