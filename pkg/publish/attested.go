package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// Attested are those of some statements about a digest that somebody who counts
// has attested: its predicate, and about the digest. An image that nobody who
// counts has signed is an error.
func Attested(ctx context.Context, p sign.Place, digest v1.Hash, said []image.Statement, t sign.Trust) ([]image.Statement, error) {
	var subject v1.Descriptor
	for _, s := range said {
		subject = s.Subject
	}
	subject.Digest = digest
	checked, err := sign.Verify(ctx, p, []v1.Descriptor{subject}, t)
	if err != nil {
		return nil, err
	}
	var believed []image.Statement
	for _, c := range checked {
		if len(c.Failures) > 0 {
			return nil, fmt.Errorf("the image is not to be believed: %w", c.Failures[0])
		}
		for _, s := range said {
			predicate, err := s.Predicate()
			if err != nil {
				return nil, err
			}
			for _, a := range c.Attestations {
				if a.PredicateType == s.PredicateType && sameJSON(a.Predicate, predicate) {
					believed = append(believed, s)
					break
				}
			}
		}
	}
	return believed, nil
}

// sameJSON tells whether two documents say the same, whatever the order of keys.
func sameJSON(a, b []byte) bool {
	sorted := func(raw []byte) ([]byte, bool) {
		var v any
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if d.Decode(&v) != nil {
			return nil, false
		}
		b, err := json.Marshal(v)
		return b, err == nil
	}
	x, okX := sorted(a)
	y, okY := sorted(b)
	return okX && okY && bytes.Equal(x, y)
}
