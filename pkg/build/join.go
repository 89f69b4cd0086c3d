package build

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// Parts are images that were built apart from each other, and what they were
// built from.
type Parts struct {
	Profile    *profile.Profile
	Lock       *lock.Lock // for the architectures of the images, at least
	Epoch      *time.Time // SOURCE_DATE_EPOCH, where it was set
	Images     []Image    // in the profile's order of architectures; of no interest are Layers and Tree
	Statements []image.Statement
}

// Join makes the index of images that were built apart from each other: the
// same index as Build's, and with the same describers the same statements about
// it. The statements about the images are given in their order, those about one
// image in any.
func Join(ctx context.Context, p Parts, describers []Describer) (*Result, error) {
	r := &Result{Profile: p.Profile.Name, Images: p.Images, Statements: p.Statements, Resolved: p.Profile, Lock: p.Lock, Epoch: p.Epoch}
	if err := r.makeIndex(); err != nil {
		return nil, err
	}
	if err := r.describeIndex(ctx, describers); err != nil {
		return nil, err
	}
	r.sortStatements(len(describers))
	return r, nil
}

// sortStatements brings the statements about each image into the order of those
// about the index, which are the last: that of the describers.
func (r *Result) sortStatements(describers int) {
	images, index := r.Statements[:len(r.Statements)-describers], r.Statements[len(r.Statements)-describers:]
	order := func(s image.Statement) int {
		i := slices.IndexFunc(index, func(x image.Statement) bool {
			return x.ArtifactType == s.ArtifactType && x.PredicateType == s.PredicateType
		})
		if i < 0 {
			return len(index)
		}
		return i
	}
	place := map[v1.Hash]int{}
	for i, img := range r.Images {
		place[img.Descriptor.Digest] = i
	}
	slices.SortStableFunc(images, func(a, b image.Statement) int {
		return cmp.Or(cmp.Compare(place[a.Subject.Digest], place[b.Subject.Digest]), cmp.Compare(order(a), order(b)),
			cmp.Compare(a.PredicateType, b.PredicateType), bytes.Compare(a.Content, b.Content))
	})
}

// makeIndex makes the index of a result's images.
func (r *Result) makeIndex() error {
	var images []v1.Image
	var newest time.Time
	for _, i := range r.Images {
		config, err := i.Image.ConfigFile()
		if err != nil {
			return err
		}
		if config.Created.After(newest) {
			newest = config.Created.Time
		}
		images = append(images, i.Image)
	}
	var err error
	if r.Index, err = image.NewIndex(images, annotations(r.Resolved, newest)); err != nil {
		return err
	}
	r.Descriptor, err = descriptor(r.Index)
	r.Digest = r.Descriptor.Digest.String()
	return err
}
