// Package cacherepo puts a repository of a registry behind the cache on disk:
// what the disk lacks is looked up there, under the same keys, and what is made
// is written there, so that machines with empty disks share what one of them
// made.
//
// A record is a manifest with a tag of its own, KIND-KEY: its configuration is
// the record as the disk has it, its layers are the blobs that it speaks of. A
// blob that a record promises is fetched when somebody opens it, and not before:
// a layer that the target registry has already never travels.
//
// What arrives is verified. A blob has its digest, or it is not taken. A record
// carries a digest of its kind, its key and its content, so that one that was
// changed, cut short or moved to another key is known for what it is. Whatever
// fails is passed over with a warning, and made again: after a promise that was
// not kept nothing more is read from the repository. None of this says who made
// an entry: whoever may write to the repository may say that a key has another
// result. A Verifier takes records only from those who hold a key.
//
// The repository is an aid: no build fails for want of it. Many machines may
// write at once. They write the same bytes, tags move last, and the last one
// counts.
//
// The package must not know what is stored.
package cacherepo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/registry"
)

// Registry is what the store needs of registries; registry.Client is one.
type Registry interface {
	Push(ctx context.Context, repo name.Repository, what remote.Taggable, from ...name.Repository) (name.Digest, error)
	Tag(ctx context.Context, digest name.Digest, tag string) error
	Get(ctx context.Context, ref name.Reference) (*remote.Descriptor, error)
	Blob(ctx context.Context, d name.Digest) (io.ReadCloser, error)
}

// Signer signs records.
type Signer interface {
	Sign(ctx context.Context, message []byte) (signature []byte, err error)
}

// Verifier tells whether somebody who counts has signed a record.
type Verifier interface {
	Verify(message, signature []byte) error
}

// Options say what is shared with whom. Kinds and Repository are required.
type Options struct {
	Repository name.Repository
	Kinds      []string     // of records that are shared; all others stay on the disk
	ReadOnly   bool         // write nothing
	Signer     Signer       // nil: records are written without a signature
	Verifier   Verifier     // nil: records count without a signature
	Log        *slog.Logger // nil for none
}

// Store is a cache on disk with a repository behind it. Its methods may be
// called by several goroutines at once. Flush ends it.
type Store struct {
	*cache.Cache // everything that is not shared

	ctx   context.Context // of all requests: the methods of a cache that has a registry behind it have none
	reg   Registry
	o     Options
	kinds map[string]bool

	mu       sync.Mutex
	reading  bool
	writing  bool
	records  map[cache.RecordName]*lookup // that were asked for
	settled  map[cache.RecordName]bool    // that the repository has, or will have
	promised map[string]int64             // digest → size, of blobs that records speak of
	stats    Stats

	fetching keyed
	uploads  sync.WaitGroup
	places   chan struct{}
}

// Stats count what a Store did.
type Stats struct {
	Found    int   // records that the repository had
	Written  int   // records that it was given
	Received int64 // bytes of records and blobs that came from there
	Sent     int64 // bytes of records and blobs that went there, those included that it had already
}

// uploadsAtOnce is how many records are written at the same time.
const uploadsAtOnce = 4

// New puts a repository behind a cache. It asks for nothing yet.
func New(ctx context.Context, c *cache.Cache, r Registry, o Options) *Store {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		Cache: c, ctx: ctx, reg: r, o: o, kinds: map[string]bool{},
		reading: true, writing: !o.ReadOnly,
		records: map[cache.RecordName]*lookup{}, settled: map[cache.RecordName]bool{}, promised: map[string]int64{},
		places: make(chan struct{}, uploadsAtOnce),
	}
	for _, kind := range o.Kinds {
		s.kinds[kind] = true
	}
	return s
}

// Flush waits until everything is written, and tells what was done.
func (s *Store) Flush() Stats {
	s.uploads.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Has says whether a blob is on the disk, or promised by a record that was read
// from the repository.
func (s *Store) Has(digest string) bool {
	if s.Cache.Has(digest) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.promised[digest]
	return ok && s.reading
}

// Open opens a blob, fetched if it has to be. One that the repository can not
// give as it promised is cache.ErrNotFound.
func (s *Store) Open(digest string) (*os.File, error) {
	f, err := s.Cache.Open(digest)
	if !errors.Is(err, cache.ErrNotFound) {
		return f, err
	}
	if err := s.fetch(digest); err != nil {
		return nil, err
	}
	return s.Cache.Open(digest)
}

// Link makes dst the blob's file, fetched if it has to be; see cache.Cache.
func (s *Store) Link(digest, dst string) error {
	err := s.Cache.Link(digest, dst)
	if !errors.Is(err, cache.ErrNotFound) {
		return err
	}
	if err := s.fetch(digest); err != nil {
		return err
	}
	return s.Cache.Link(digest, dst)
}

// fetch brings a promised blob onto the disk.
func (s *Store) fetch(digest string) error {
	defer s.fetching.lock(digest)()
	if s.Cache.Has(digest) {
		return nil // somebody else was quicker
	}
	s.mu.Lock()
	size, ok := s.promised[digest]
	ok = ok && s.reading
	s.mu.Unlock()
	if !ok {
		return fmt.Errorf("blob %s: %w", digest, cache.ErrNotFound)
	}
	if err := s.fetchBlob(digest, size); err != nil {
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		s.distrust("a blob that it promised is not to be had", "digest", digest, "error", err)
		return fmt.Errorf("blob %s: %w", digest, cache.ErrNotFound)
	}
	s.keepWhole(digest)
	return nil
}

func (s *Store) fetchBlob(digest string, size int64) error {
	r, err := s.reg.Blob(s.ctx, s.o.Repository.Digest(digest))
	if err != nil {
		return err
	}
	defer r.Close()
	got, n, err := s.Cache.Put(s.ctx, io.LimitReader(r, size+1))
	s.count(func(t *Stats) { t.Received += n })
	switch {
	case err != nil:
		return err
	case got != digest || n != size:
		return fmt.Errorf("it is %s, of %d bytes, instead of %d", got, n, size)
	}
	return nil
}

// distrust ends the reading: what the repository says is no use.
func (s *Store) distrust(why string, args ...any) {
	s.mu.Lock()
	was := s.reading
	s.reading = false
	s.records = map[cache.RecordName]*lookup{}
	s.settled = map[cache.RecordName]bool{}
	s.mu.Unlock()
	if was {
		s.o.Log.Warn("nothing more is read from the cache repository "+s.o.Repository.Name()+": "+why, args...)
	}
}

// ReadRecord decodes the record of that kind and key, from the disk or from the
// repository; see cache.Cache.
func (s *Store) ReadRecord(kind, key string, v any) error {
	n := cache.RecordName{Kind: kind, Key: key}
	err := s.Cache.ReadRecord(kind, key, v)
	switch {
	case !s.kinds[kind]:
		return err
	case err == nil:
		s.offer(n)
		return nil
	case !errors.Is(err, cache.ErrNotFound):
		return err
	}
	e := s.lookup(n)
	if e == nil {
		return err
	}
	if json.Unmarshal(e.body, v) != nil {
		return err
	}
	return nil
}

// WriteRecord stores a record on the disk, and in the repository in its own
// time; see cache.Cache.
func (s *Store) WriteRecord(kind, key string, v any) error {
	if err := s.Cache.WriteRecord(kind, key, v); err != nil || !s.kinds[kind] {
		return err
	}
	n := cache.RecordName{Kind: kind, Key: key}
	s.mu.Lock()
	write := s.writing
	s.settled[n] = true
	delete(s.records, n)
	s.mu.Unlock()
	if write {
		s.later(func() error { return s.upload(n) })
	}
	return nil
}

// offer gives the repository a record that the disk has, once, if it lacks it
// or has another.
func (s *Store) offer(n cache.RecordName) {
	s.mu.Lock()
	due := s.writing && !s.settled[n]
	s.settled[n] = true
	s.mu.Unlock()
	if !due {
		return
	}
	s.later(func() error {
		raw, err := s.Cache.RawRecord(n)
		if err != nil {
			return nil // gone since
		}
		e, err := s.find(n)
		if err == nil && string(e.raw) == string(raw) {
			return nil
		}
		if err != nil && !errors.Is(err, registry.ErrNotFound) && !errors.As(err, new(*badEntryError)) {
			return err
		}
		return s.upload(n)
	})
}

// later does something when there is room for it. The first failure ends the
// writing.
func (s *Store) later(f func() error) {
	s.uploads.Add(1)
	go func() {
		defer s.uploads.Done()
		s.places <- struct{}{}
		defer func() { <-s.places }()
		s.mu.Lock()
		write := s.writing
		s.mu.Unlock()
		if !write || s.ctx.Err() != nil {
			return
		}
		if err := f(); err != nil && s.ctx.Err() == nil {
			s.mu.Lock()
			was := s.writing
			s.writing = false
			s.mu.Unlock()
			if was {
				s.o.Log.Warn("nothing more is written to the cache repository "+s.o.Repository.Name(), "error", err)
			}
		}
	}()
}

func (s *Store) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

// HTTP's status codes that mean something here.
const (
	unauthorized = 401
	forbidden    = 403
	notFound     = 404
)

// refused tells that a registry does not let us, from that it lacks something.
func refused(err error) bool {
	te := new(transport.Error)
	return errors.As(err, &te) && (te.StatusCode == unauthorized || te.StatusCode == forbidden)
}

var digestForm = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// digests are those that a record's content has anywhere in it, each once, in
// order.
func digests(body []byte) []string {
	var all []string
	seen := map[string]bool{}
	for _, d := range digestForm.FindAllString(string(body), -1) {
		if !seen[d] {
			seen[d] = true
			all = append(all, d)
		}
	}
	return all
}

// keyed are locks by name.
type keyed struct {
	mu    sync.Mutex
	locks map[string]*sync.Mutex
}

func (k *keyed) lock(name string) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*sync.Mutex{}
	}
	l, ok := k.locks[name]
	if !ok {
		l = &sync.Mutex{}
		k.locks[name] = l
	}
	k.mu.Unlock()
	l.Lock()
	return l.Unlock
}
