package cacherepo

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/registry"
)

// Media types of an entry, and the annotation with the signature of its record.
const (
	artifactType    = "application/vnd.etcdimg.cache.record.v1"
	recordType      = types.MediaType("application/vnd.etcdimg.cache.record.v1+json")
	blobType        = types.MediaType("application/octet-stream")
	signatureLabel  = "io.github.etcdimg.cache.signature"
	maxRecord       = 64 << 20 // bytes
	maxBlobsOfEntry = 4096
)

// tagOf is the tag of a record: at most 128 characters, since kinds are short.
func tagOf(n cache.RecordName) string { return n.Kind + "-" + n.Key }

// entry is a record that the repository has, verified.
type entry struct {
	raw, body []byte
	blobs     map[string]int64 // digest → size, of what it speaks of and the repository has
}

// badEntryError says that an entry is not what it says.
type badEntryError struct{ err error }

func (e *badEntryError) Error() string { return e.err.Error() }
func (e *badEntryError) Unwrap() error { return e.err }

func bad(format string, args ...any) error { return &badEntryError{fmt.Errorf(format, args...)} }

// lookup is one question to the repository.
type lookup struct {
	once  sync.Once
	entry *entry // nil for none
}

// lookup asks for a record, once. It is nil where there is none that can be
// used.
func (s *Store) lookup(n cache.RecordName) *entry {
	s.mu.Lock()
	if !s.reading || s.settled[n] {
		s.mu.Unlock()
		return nil
	}
	l, ok := s.records[n]
	if !ok {
		l = &lookup{}
		s.records[n] = l
	}
	s.mu.Unlock()
	l.once.Do(func() {
		e, err := s.find(n)
		switch wrong := new(badEntryError); {
		case err == nil:
			s.accept(n, e, l)
		case errors.Is(err, registry.ErrNotFound) || s.ctx.Err() != nil:
		case errors.As(err, &wrong):
			s.o.Log.Warn("an entry of the cache repository is passed over, and made again", "tag", s.o.Repository.Tag(tagOf(n)).Name(), "reason", err)
		case refused(err):
			s.distrust("it lets nobody read without leave", "error", err)
		default:
			s.distrust("it does not answer", "error", err)
		}
	})
	return l.entry
}

// accept remembers what an entry promises.
func (s *Store) accept(n cache.RecordName, e *entry, l *lookup) {
	missing := false
	s.mu.Lock()
	l.entry = e
	s.stats.Found++
	for digest, size := range e.blobs {
		if !s.Cache.Has(digest) {
			s.promised[digest] = size
			missing = true
		}
	}
	s.mu.Unlock()
	if !missing {
		s.keep(n, e)
	}
}

// keep writes a record to the disk, where all blobs are that it speaks of.
func (s *Store) keep(n cache.RecordName, e *entry) {
	if err := s.Cache.WriteRecord(n.Kind, n.Key, json.RawMessage(e.body)); err != nil {
		s.o.Log.Debug("a record is not kept", "kind", n.Kind, "error", err)
		return
	}
	s.mu.Lock()
	s.settled[n] = true
	s.mu.Unlock()
}

// keepWhole keeps the records that lacked nothing but this blob.
func (s *Store) keepWhole(digest string) {
	type named struct {
		name  cache.RecordName
		entry *entry
	}
	var whole []named
	s.mu.Lock()
	for n, l := range s.records {
		if e := l.entry; e != nil {
			if _, ok := e.blobs[digest]; ok {
				whole = append(whole, named{n, e})
			}
		}
	}
	s.mu.Unlock()
next:
	for _, w := range whole {
		for d := range w.entry.blobs {
			if !s.Cache.Has(d) {
				continue next
			}
		}
		s.keep(w.name, w.entry)
	}
}

// find reads an entry and verifies it.
func (s *Store) find(n cache.RecordName) (*entry, error) {
	d, err := s.reg.Get(s.ctx, s.o.Repository.Tag(tagOf(n)))
	if err != nil {
		return nil, err
	}
	var m v1.Manifest
	if err := json.Unmarshal(d.Manifest, &m); err != nil {
		return nil, bad("its manifest: %w", err)
	}
	if d.MediaType != types.OCIManifestSchema1 || m.Config.MediaType != recordType || m.Config.Size > maxRecord || len(m.Layers) > maxBlobsOfEntry {
		return nil, bad("it is no entry of a cache: its type is %q", m.Config.MediaType)
	}
	e := &entry{blobs: map[string]int64{}}
	if e.raw, err = s.readRecord(m.Config); err != nil {
		return nil, err
	}
	s.count(func(t *Stats) { t.Received += int64(len(d.Manifest) + len(e.raw)) })
	var ok bool
	if e.body, ok = cache.Unseal(n, e.raw); !ok || !json.Valid(e.body) {
		return nil, bad("its record was changed, or is another key's")
	}
	if s.o.Verifier != nil {
		signature, err := base64.StdEncoding.DecodeString(m.Annotations[signatureLabel])
		if err != nil || len(signature) == 0 {
			return nil, bad("nobody has signed it")
		}
		if err := s.o.Verifier.Verify(e.raw, signature); err != nil {
			return nil, bad("its signature: %w", err)
		}
	}
	has := map[string]int64{}
	for _, l := range m.Layers {
		has[l.Digest.String()] = l.Size
	}
	for _, digest := range digests(e.body) {
		if size, ok := has[digest]; ok {
			e.blobs[digest] = size
		}
	}
	return e, nil
}

func (s *Store) readRecord(d v1.Descriptor) ([]byte, error) {
	r, err := s.reg.Blob(s.ctx, s.o.Repository.Digest(d.Digest.String()))
	if te := new(transport.Error); errors.As(err, &te) && te.StatusCode == notFound {
		return nil, bad("its record is gone")
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, d.Size+1))
	if err != nil {
		return nil, bad("reading its record: %w", err)
	}
	if got, _, err := v1.SHA256(bytes.NewReader(raw)); err != nil || got != d.Digest {
		return nil, bad("its record is %s, not %s", got, d.Digest)
	}
	return raw, nil
}

// upload writes a record to the repository, with the blobs that it speaks of,
// and moves its tag.
func (s *Store) upload(n cache.RecordName) error {
	raw, err := s.Cache.RawRecord(n)
	if err != nil {
		return nil // gone since
	}
	u, err := s.newUpload(n, raw)
	if err != nil {
		return err
	}
	img, err := partial.CompressedToImage(u)
	if err != nil {
		return err
	}
	digest, err := s.reg.Push(s.ctx, s.o.Repository, img)
	if errors.Is(err, cache.ErrNotFound) {
		return nil // a blob is gone since
	}
	if err != nil {
		return err
	}
	if err := s.reg.Tag(s.ctx, digest, tagOf(n)); err != nil {
		return err
	}
	s.count(func(t *Stats) {
		t.Written++
		t.Sent += u.size
	})
	return nil
}

// outgoing is the least that go-containerregistry makes a v1.Image from.
type outgoing struct {
	store         *Store
	raw, manifest []byte
	sizes         map[v1.Hash]int64
	size          int64 // of everything
}

func (s *Store) newUpload(n cache.RecordName, raw []byte) (*outgoing, error) {
	body, ok := cache.Unseal(n, raw)
	if !ok {
		return nil, fmt.Errorf("record %s/%s is damaged", n.Kind, n.Key)
	}
	u := &outgoing{store: s, raw: raw, sizes: map[v1.Hash]int64{}, size: int64(len(raw))}
	config, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifactType,
		Config: v1.Descriptor{MediaType: recordType, Size: size, Digest: config},
		Layers: []v1.Descriptor{},
	}
	for _, digest := range digests(body) {
		f, err := s.Cache.Open(digest)
		if errors.Is(err, cache.ErrNotFound) {
			continue // a digest of something else
		}
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		f.Close()
		if err != nil {
			return nil, err
		}
		h, err := v1.NewHash(digest)
		if err != nil {
			return nil, err
		}
		u.sizes[h] = info.Size()
		u.size += info.Size()
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: blobType, Size: info.Size(), Digest: h})
	}
	if s.o.Signer != nil {
		signature, err := s.o.Signer.Sign(s.ctx, raw)
		if err != nil {
			return nil, fmt.Errorf("signing a record: %w", err)
		}
		m.Annotations = map[string]string{signatureLabel: base64.StdEncoding.EncodeToString(signature)}
	}
	u.manifest, err = json.Marshal(m)
	return u, err
}

func (u *outgoing) RawConfigFile() ([]byte, error)      { return u.raw, nil }
func (u *outgoing) RawManifest() ([]byte, error)        { return u.manifest, nil }
func (u *outgoing) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
func (u *outgoing) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	size, ok := u.sizes[h]
	if !ok {
		return nil, fmt.Errorf("the entry has no blob %s", h)
	}
	return outgoingBlob{u.store, h, size}, nil
}

type outgoingBlob struct {
	store  *Store
	digest v1.Hash
	size   int64
}

func (b outgoingBlob) Digest() (v1.Hash, error)            { return b.digest, nil }
func (b outgoingBlob) Size() (int64, error)                { return b.size, nil }
func (b outgoingBlob) MediaType() (types.MediaType, error) { return blobType, nil }
func (b outgoingBlob) Compressed() (io.ReadCloser, error) {
	return b.store.Cache.Open(b.digest.String())
}

// Repository is where entries lie: blobs of other repositories of the registry
// can be taken from there.
func (s *Store) Repository() name.Repository { return s.o.Repository }

var _ Registry = (*registry.Client)(nil)
