package cacherepo_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/cacherepo"
	"github.com/etcdimg/etcdimg/pkg/registry/registrytest"
)

func TestPoisonedEntriesAreMadeAgain(t *testing.T) {
	blob := digestOf([]byte("content"))
	for _, tt := range []struct {
		name   string
		poison func(t *testing.T, r *registrytest.Registry)
		warn   string
	}{
		{"another key's entry under the tag", func(t *testing.T, r *registrytest.Registry) { swap(t, r, key, other) }, "is another key's"},
		{"another result in the record", func(t *testing.T, r *registrytest.Registry) {
			d, err := client(t).Get(t.Context(), repository(t, r).Tag("thing-"+key))
			if err != nil {
				t.Fatal(err)
			}
			img, err := d.Image()
			if err != nil {
				t.Fatal(err)
			}
			record, err := img.RawConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			fresh := bytes.Replace(record, []byte(blob), []byte(digestOf([]byte("poison"))), 1)
			if bytes.Equal(fresh, record) {
				t.Fatalf("the record does not name the blob: %s", record)
			}
			put(t, r, key, bytes.ReplaceAll(d.Manifest, []byte(digestOf(record)), []byte(digestOf(fresh))), fresh)
		}, "its record was changed"},
		{"an image under the tag", func(t *testing.T, r *registrytest.Registry) {
			put(t, r, key, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":2,"digest":"`+digestOf([]byte("{}"))+`"},"layers":[]}`), []byte("{}"))
		}, "no entry of a cache"},
		{"other bytes for the record", func(_ *testing.T, r *registrytest.Registry) {
			answer(r, "", http.StatusOK, strings.Repeat("x", 300))
		}, "passed over"},
		{"other bytes for the blob", func(_ *testing.T, r *registrytest.Registry) {
			answer(r, blob, http.StatusOK, "poison!")
		}, "nothing more is read"},
		{"more bytes for the blob", func(_ *testing.T, r *registrytest.Registry) {
			answer(r, blob, http.StatusOK, "content and more")
		}, "nothing more is read"},
		{"the blob is gone", func(_ *testing.T, r *registrytest.Registry) {
			answer(r, blob, http.StatusNotFound, "")
		}, "nothing more is read"},
		{"the record is gone", func(_ *testing.T, r *registrytest.Registry) {
			answer(r, "", http.StatusNotFound, "")
		}, "its record is gone"},
		{"nobody answers", func(_ *testing.T, r *registrytest.Registry) { r.Server.Close() }, "it does not answer"},
		{"it asks for a password", func(_ *testing.T, r *registrytest.Registry) {
			r.Fail(func(w http.ResponseWriter, _ *http.Request, _ int) bool {
				w.WriteHeader(http.StatusForbidden)
				return true
			})
		}, "nothing more is read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := registrytest.New(t)
			a := newMachine(t, r, nil)
			a.make(t, key, "content")
			a.make(t, other, "something else")
			a.Flush()
			tt.poison(t, r)
			b := newMachine(t, r, nil)
			if !b.read(t, key, "content") {
				t.Error("the poisoned entry was used")
			}
			b.Flush()
			if !strings.Contains(b.said.String(), tt.warn) {
				t.Errorf("warned %q, want %q", &b.said, tt.warn)
			}
		})
	}
}

// Whoever has the right entry puts it in the place of a poisoned one.
func TestPoisonedEntriesAreReplaced(t *testing.T) {
	r := registrytest.New(t)
	a := newMachine(t, r, nil)
	a.make(t, key, "content")
	a.make(t, other, "something else")
	a.Flush()
	swap(t, r, key, other)
	b := newMachine(t, r, nil)
	b.read(t, key, "content")
	b.Flush()
	if newMachine(t, r, nil).read(t, key, "content") {
		t.Error("the one who made it again left the poison in place")
	}
	swap(t, r, key, other)
	warm := onDisk(t, r, a.disk, nil)
	warm.read(t, key, "content")
	warm.Flush()
	if newMachine(t, r, nil).read(t, key, "content") {
		t.Error("the one whose disk has it left the poison in place")
	}
}

// signer is a key.
type signer struct{ key ed25519.PrivateKey }

func newSigner(seed byte) signer {
	return signer{ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))}
}

func (s signer) Sign(_ context.Context, message []byte) ([]byte, error) {
	return ed25519.Sign(s.key, message), nil
}

func (s signer) Verify(message, signature []byte) error {
	if !ed25519.Verify(s.key.Public().(ed25519.PublicKey), message, signature) {
		return errors.New("the key has not made it")
	}
	return nil
}

// Records that nobody who counts has signed do not count: not even whole ones.
func TestSignedRecords(t *testing.T) {
	r := registrytest.New(t)
	ours := newSigner(1)
	for _, tt := range []struct {
		name string
		by   cacherepo.Signer
		used bool
		warn string
	}{
		{"unsigned", nil, false, "nobody has signed it"},
		{"another key", newSigner(2), false, "the key has not made it"},
		{"our key", ours, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := cache.Key(tt.name)
			a := newMachine(t, r, func(o *cacherepo.Options) { o.Signer = tt.by })
			a.make(t, k, "content")
			a.Flush()
			b := newMachine(t, r, func(o *cacherepo.Options) { o.Verifier, o.ReadOnly = ours, true })
			if made := b.read(t, k, "content"); made == tt.used || !strings.Contains(b.said.String(), tt.warn) {
				t.Errorf("made again: %v, warned %q", made, &b.said)
			}
		})
	}
}
