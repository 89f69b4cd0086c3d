// Package rebuild makes an image again from what its provenance says, and
// compares: index, manifests, configurations and layers, down to the first
// file and byte that differ.
//
// It must not know how images are built, nor where they are kept.
package rebuild

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/provenance"
)

// ErrNoProvenance says that an image has no provenance by etcdimg, or none that
// was accepted.
var ErrNoProvenance = errors.New("the image has no provenance by etcdimg")

// VanishedError says that an input which the provenance names can not be had
// from any source.
type VanishedError struct{ Err error }

func (e *VanishedError) Error() string {
	return "an input of the build is not to be had any more: " + e.Err.Error()
}

func (e *VanishedError) Unwrap() error { return e.Err }

// Builder makes the images of some inputs.
type Builder func(ctx context.Context, in *provenance.Inputs) (*build.Result, error)

// Provenances gives the provenance statements about a digest that may be
// believed: all that an image's place has, or those whose signature is good.
type Provenances func(ctx context.Context, s inspect.Source, digest v1.Hash) ([][]byte, error)

// Unverified gives all statements that the image's place has, as they are.
func Unverified(ctx context.Context, s inspect.Source, digest v1.Hash) ([][]byte, error) {
	said, err := inspect.Statements(ctx, s, digest)
	if err != nil {
		return nil, err
	}
	var found [][]byte
	for _, statement := range said {
		if statement.PredicateType == provenance.PredicateType {
			found = append(found, statement.Content)
		}
	}
	return found, nil
}

// Report is what came of a rebuild.
type Report struct {
	Digest     string      `json:"digest"`               // of the image that is there
	Built      string      `json:"built"`                // of the one that was built
	Difference *Difference `json:"difference,omitempty"` // the first one; nil where the two are equal
}

// Read finds the provenance of an image, and what it was built from. A
// provenance that contradicts itself or the image is a
// *provenance.TamperedError, one that lacks an input a *provenance.MissingError.
// local finds files that a provenance names by digest alone; it may be nil.
func Read(ctx context.Context, s inspect.Source, d v1.Descriptor, find Provenances, local provenance.Finder) (*provenance.Inputs, error) {
	all, err := find(ctx, s, d.Digest)
	if err != nil {
		return nil, err
	}
	for _, content := range all {
		statement, err := provenance.Read(content)
		if errors.Is(err, provenance.ErrForeign) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !statement.About(d.Digest) {
			return nil, &provenance.TamperedError{What: fmt.Sprintf("its subject is not %s, to which it was attached", d.Digest)}
		}
		in, err := statement.Inputs(local)
		if err != nil {
			return nil, err
		}
		if in.Lock.FormatVersion != lock.FormatVersion {
			return nil, fmt.Errorf("the image has format %d, and this etcdimg makes format %d: use the etcdimg that its provenance names", in.Lock.FormatVersion, lock.FormatVersion)
		}
		return in, nil
	}
	return nil, fmt.Errorf("%s: %w", d.Digest, ErrNoProvenance)
}

// Rebuild builds from the inputs and compares with what is there. An input
// that nobody has is a *VanishedError.
func Rebuild(ctx context.Context, s inspect.Source, d v1.Descriptor, in *provenance.Inputs, b Builder) (*Report, *build.Result, error) {
	r, err := b(ctx, in)
	if err != nil {
		if gone(err) {
			return nil, nil, &VanishedError{err}
		}
		return nil, nil, fmt.Errorf("building again: %w", err)
	}
	report := &Report{Digest: d.Digest.String(), Built: r.Digest}
	if !d.MediaType.IsIndex() && len(r.Images) == 1 {
		report.Built = r.Images[0].Digest
	}
	if report.Difference, err = compare(ctx, s, d, r); err != nil {
		return nil, nil, fmt.Errorf("comparing: %w", err)
	}
	return report, r, nil
}

func gone(err error) bool {
	return slices.ContainsFunc([]error{etcd.ErrUnavailable, debian.ErrUnavailable}, func(target error) bool { return errors.Is(err, target) })
}
