package debian

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/fetch"
)

// suite is a repository together with the verified state of its index.
type suite struct {
	repository
	*release
}

func (s *suite) name() string { return s.Archive + " " + s.repository.Suite }

// Kinds of records in the Store.
const (
	kindSuite    = "debian-suite"      // archive and suite → suiteRecord
	kindRelease  = "debian-release"    // index and keyring, by digest → release
	kindResolved = "debian-resolution" // indexes and request → resolution
	kindPackage  = "debian-package"    // .deb → packageRecord
	kindBundle   = "debian-certs"      // certificates → bundleRecord
	kindApplets  = "debian-applets"    // busybox program → its applets
)

// suiteRecord remembers the index that a suite had when it was last asked for.
type suiteRecord struct {
	Index   string    `json:"index"`         // digest of the blob InRelease or Release
	GPG     string    `json:"gpg,omitempty"` // digest of the blob Release.gpg, where the signature is detached
	Fetched time.Time `json:"fetched"`       // by the caller's clock
	From    string    `json:"from"`          // digest of the sources' names: others may have another state
}

// openSuite returns the current, verified state of a repository's suite.
func (r *Resolver) openSuite(ctx context.Context, repo repository, keys *keyring) (*suite, error) {
	key := recordKey("suite", repo.Archive, repo.Suite)
	from := recordKey(r.stableSources(repo.Archive)...)
	var known suiteRecord
	var cached *release
	var cachedErr error
	if r.opts.Store.ReadRecord(kindSuite, key, &known) == nil {
		cached, cachedErr = r.verifyStored(known, repo, keys)
		if cachedErr != nil {
			r.log.Debug("the index in the cache is of no use", "suite", repo.Suite, "error", cachedErr)
		}
	}
	age := r.opts.Now.Sub(known.Fetched)
	fresh := known.From == from && age >= 0 && age < r.opts.MaxAge
	if cached != nil && (r.opts.Offline || fresh) {
		return &suite{repo, cached}, nil
	}
	if r.opts.Offline {
		if cachedErr == nil {
			cachedErr = errors.New("it is not in the cache")
		}
		return nil, fmt.Errorf("index of %s %s: %w: %w: resolve once with the network", repo.Archive, repo.Suite, fetch.ErrOffline, cachedErr)
	}
	found, rec, tried := r.fetchSuite(ctx, repo, keys, cached != nil)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if found == nil {
		err := tried.error("index of "+repo.Archive+" "+repo.Suite, "Check the repository's name and the network, or name a mirror in $ETCDIMG_DEBIAN_MIRROR")
		if cached == nil || tried.untrusted() {
			return nil, err
		}
		r.log.Warn("using the index in the cache: no source could be asked", "suite", repo.Suite, "date", cached.Date.Format(time.DateOnly), "error", err)
		return &suite{repo, cached}, nil
	}
	rec.Fetched, rec.From = r.opts.Now.UTC(), from
	if err := r.opts.Store.WriteRecord(kindSuite, key, rec); err != nil {
		return nil, err
	}
	return &suite{repo, found}, nil
}

// stableSources are an archive's sources without the hour in the snapshot's.
func (r *Resolver) stableSources(archive string) []string {
	return append([]string{r.opts.Snapshot}, r.sources(archive, "")...)
}

// verifyError is an index that is there and that must not be believed.
type verifyError struct{ err error }

func (e *verifyError) Error() string { return e.err.Error() }
func (e *verifyError) Unwrap() error { return e.err }

// untrusted says whether any source had an index that must not be believed.
func (a *attempts) untrusted() bool {
	for _, err := range a.errs {
		var v *verifyError
		if errors.As(err, &v) {
			return true
		}
	}
	return false
}

// fetchSuite asks one source after the other for the suite's index, until one
// has it with a good signature, of the right suite, and not expired.
func (r *Resolver) fetchSuite(ctx context.Context, repo repository, keys *keyring, once bool) (*release, suiteRecord, *attempts) {
	fetcher := r.fetch
	if once {
		fetcher = r.once // there is one in the cache to fall back on
	}
	small := func(url string) ([]byte, error) { return fetcher.Bytes(ctx, url, r.opts.Limits.Release) }
	tried := &attempts{}
	for _, base := range r.resolveSources(repo.Archive) {
		at := func(name string) string { return fetch.Join(base, "dists/"+repo.Suite+"/"+name) }
		data, err := small(at("InRelease"))
		var gpg []byte
		if errors.Is(err, fetch.ErrMissing) {
			inRelease := err
			if data, err = small(at("Release")); err == nil {
				gpg, err = small(at("Release.gpg"))
			}
			if err != nil {
				err = fmt.Errorf("%w; %w", inRelease, err)
			}
		}
		if ctx.Err() != nil {
			return nil, suiteRecord{}, tried
		}
		if err != nil {
			tried.add(err)
			continue
		}
		found, err := r.verify(data, gpg, repo, keys)
		if err != nil {
			tried.add(&verifyError{fmt.Errorf("%s: %w", at("InRelease"), err)})
			continue
		}
		rec := suiteRecord{}
		if rec.Index, _, err = r.opts.Store.Put(ctx, bytes.NewReader(data)); err == nil && gpg != nil {
			rec.GPG, _, err = r.opts.Store.Put(ctx, bytes.NewReader(gpg))
		}
		if err != nil {
			tried.add(fmt.Errorf("the cache: %w", err))
			continue
		}
		return found, rec, tried
	}
	return nil, suiteRecord{}, tried
}

// verify checks the signature of an index, remembers the outcome, and checks
// that it is what was asked for.
func (r *Resolver) verify(data, gpg []byte, repo repository, keys *keyring) (*release, error) {
	rel, err := r.readRelease(data, gpg, keys)
	if err != nil {
		return nil, err
	}
	if err := rel.check(repo.Suite, r.opts.Now); err != nil {
		return nil, err
	}
	return rel, nil
}

// releaseKey is the key of the record of a verified index.
func releaseKey(index, gpg string, keys *keyring) string {
	return recordKey("release 1", index, gpg, keys.digest)
}

// readRelease verifies an index, parses it and records what it says.
func (r *Resolver) readRelease(data, gpg []byte, keys *keyring) (*release, error) {
	text, signatures := data, gpg
	var err error
	gpgDigest := ""
	if gpg == nil {
		text, signatures, err = openInRelease(data)
	} else {
		gpgDigest = "sha256:" + hexSum(gpg)
		signatures, err = openDetached(gpg)
	}
	if err != nil {
		return nil, err
	}
	digest := hexSum(data)
	signed, err := keys.signers(text, signatures, r.opts.Now)
	if err != nil {
		return nil, err
	}
	rel, err := parseRelease(text)
	if err != nil {
		return nil, err
	}
	rel.Digest, rel.SignedBy = digest, signed
	if err := r.opts.Store.WriteRecord(kindRelease, releaseKey("sha256:"+digest, gpgDigest, keys), rel); err != nil {
		return nil, err
	}
	return rel, nil
}

// verifyStored returns the index that a record points to. Bytes that these
// keys have verified before are not verified again.
func (r *Resolver) verifyStored(rec suiteRecord, repo repository, keys *keyring) (*release, error) {
	var rel release
	if r.opts.Store.ReadRecord(kindRelease, releaseKey(rec.Index, rec.GPG, keys), &rel) == nil && r.opts.Store.Has(rec.Index) {
		if err := rel.check(repo.Suite, r.opts.Now); err != nil {
			return nil, err
		}
		return &rel, nil
	}
	data, err := r.blob(rec.Index)
	if err != nil {
		return nil, err
	}
	var gpg []byte
	if rec.GPG != "" {
		if gpg, err = r.blob(rec.GPG); err != nil {
			return nil, err
		}
	}
	return r.verify(data, gpg, repo, keys)
}

// loadFiles makes sure that the release knows its files. One that comes from a
// record does not: the list is long, and seldom needed.
func (s *suite) loadFiles(r *Resolver) error {
	if s.files != nil {
		return nil
	}
	data, err := r.blob("sha256:" + s.Digest)
	if err != nil {
		return fmt.Errorf("index of %s: %w", s.name(), err)
	}
	text := data
	if bytes.HasPrefix(data, pgpMessage) {
		if text, _, err = openInRelease(data); err != nil {
			return fmt.Errorf("index of %s: %w", s.name(), err)
		}
	}
	parsed, err := parseRelease(text)
	if err != nil {
		return fmt.Errorf("index of %s: %w", s.name(), err)
	}
	s.files = parsed.files
	return nil
}

func (r *Resolver) blob(digest string) ([]byte, error) {
	f, err := r.opts.Store.Open(digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, r.opts.Limits.Release+1))
	if int64(len(data)) > r.opts.Limits.Release {
		err = fmt.Errorf("%w: at most %d bytes", errTooLarge, r.opts.Limits.Release)
	}
	return data, err
}

// has says whether the suite has a component for an architecture at all, in
// any form.
func (s *suite) has(component, arch string) bool {
	for _, form := range indexForms {
		if _, ok := s.files[indexPath(component, arch)+form.suffix]; ok {
			return true
		}
	}
	return false
}

// archsOf lists the architectures whose index a component has, for messages.
func (s *suite) archsOf(component string) []string {
	var archs []string
	for _, a := range s.Archs {
		if s.has(component, a) {
			archs = append(archs, a)
		}
	}
	slices.Sort(archs)
	return archs
}

// recordKey is the digest of a list of strings, no two lists alike.
func recordKey(parts ...string) string {
	b, err := json.Marshal(parts)
	if err != nil {
		panic("debian: strings do not marshal: " + err.Error())
	}
	return hexSum(b)
}

func componentsOf(r *release) string { return strings.Join(r.Components, ", ") }
