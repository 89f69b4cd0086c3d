package publish

import (
	"context"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/registry"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// Statements are the extras that statements make: referrers of what they are
// about.
func Statements(all []image.Statement) ([]Extra, error) {
	var extras []Extra
	for _, s := range all {
		img, err := s.Image()
		if err != nil {
			return nil, err
		}
		extras = append(extras, Extra{Subject: s.Subject.Digest, Image: img})
	}
	return extras, nil
}

// FromLayout reads what a descriptor is of from a layout, with all that
// belongs to it and to its images: referrers, and cosign's tags.
func FromLayout(l *image.Layout, d v1.Descriptor) (what remote.Taggable, extras []Extra, said []image.Statement, err error) {
	subjects := []v1.Hash{d.Digest}
	if d.MediaType.IsIndex() {
		x, err := l.Index(d)
		if err != nil {
			return nil, nil, nil, err
		}
		m, err := x.IndexManifest()
		if err != nil {
			return nil, nil, nil, err
		}
		for _, child := range m.Manifests {
			subjects = append(subjects, child.Digest)
		}
		what = x
	} else if what, err = l.Image(d); err != nil {
		return nil, nil, nil, err
	}
	for _, subject := range subjects {
		more, err := belongings(l, subject)
		if err != nil {
			return nil, nil, nil, err
		}
		extras = append(extras, more...)
		statements, err := l.Statements(subject)
		if err != nil {
			return nil, nil, nil, err
		}
		said = append(said, statements...)
	}
	return what, extras, said, nil
}

func belongings(l *image.Layout, subject v1.Hash) ([]Extra, error) {
	var extras []Extra
	referrers, err := l.Referrers(subject)
	if err != nil {
		return nil, err
	}
	for _, r := range referrers {
		img, err := l.Image(r.Descriptor)
		if err != nil {
			return nil, err
		}
		extras = append(extras, Extra{Subject: subject, Image: img})
	}
	for _, tag := range l.SideTags(subject) {
		d, err := l.Resolve(tag)
		if err != nil {
			return nil, err
		}
		img, err := l.Image(d)
		if err != nil {
			return nil, err
		}
		extras = append(extras, Extra{Subject: subject, Image: img, Tag: tag})
	}
	return extras, nil
}

// Signing signs in registries, and attests what statements say.
type Signing struct {
	Client     *registry.Client
	Signer     *sign.Signer
	Format     sign.Format
	Recursive  bool              // the images of an index too
	Statements []image.Statement // attested about their subjects
	Everywhere []sign.Statement  // attested about every digest that is signed
}

// Sign signs the digests, the first of which is the index if there is one.
func (s *Signing) Sign(ctx context.Context, repo name.Repository, digests []v1.Descriptor) ([]sign.Made, error) {
	return s.In(ctx, sign.Repository(s.Client, repo), digests)
}

// In signs digests wherever they are. The client is for registries only.
func (s *Signing) In(ctx context.Context, p sign.Place, digests []v1.Descriptor) ([]sign.Made, error) {
	if !s.Recursive && len(digests) > 0 && digests[0].MediaType.IsIndex() {
		digests = digests[:1]
	}
	made := make([][]sign.Made, len(digests))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(signedAtOnce)
	for i, d := range digests {
		g.Go(func() error {
			signed, err := s.Signer.Sign(ctx, p, d, s.Format)
			if err != nil {
				return err
			}
			made[i] = append(made[i], signed)
			about := append(About(s.Statements, d.Digest), s.Everywhere...)
			if len(about) == 0 {
				return nil
			}
			attested, err := s.Signer.Attest(ctx, p, d, about, s.Format)
			made[i] = append(made[i], attested...)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(made...), nil
}

// signedAtOnce bounds the digests that are signed at the same time: logs and
// timestamp authorities are asked once for each.
const signedAtOnce = 4

// About are the statements about one digest, as signers take them.
func About(all []image.Statement, digest v1.Hash) []sign.Statement {
	var about []sign.Statement
	for _, s := range all {
		if s.Subject.Digest != digest {
			continue
		}
		st := sign.Statement{PredicateType: s.PredicateType, Predicate: s.Content}
		if s.ArtifactType == image.ArtifactInToto {
			st.Whole = s.Content
		}
		about = append(about, st)
	}
	return about
}
