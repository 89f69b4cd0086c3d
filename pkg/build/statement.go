package build

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/etcdimg/etcdimg/pkg/image"
)

// Describer makes statements about what was built: an SBOM in some format, a
// provenance. It gives the same bytes for the same result, and keeps in the
// cache what takes long. Its methods are called by several goroutines at once.
type Describer interface {
	// DescribeImage makes the statement about one image of a result.
	DescribeImage(ctx context.Context, r *Result, i *Image) (image.Statement, error)
	// DescribeIndex makes the statement about the index. The statements about
	// the images are in the result.
	DescribeIndex(ctx context.Context, r *Result) (image.Statement, error)
}

// describe puts the statements of every describer into a result: those about
// the images, in their order, then those about the index.
func (b *Builder) describe(ctx context.Context, r *Result) error {
	n := len(b.Describers)
	made := make([]image.Statement, n*len(r.Images))
	g, gctx := errgroup.WithContext(ctx)
	for i := range r.Images {
		img := &r.Images[i]
		for j, d := range b.Describers {
			g.Go(func() error {
				s, err := d.DescribeImage(gctx, r, img)
				if err != nil {
					return fmt.Errorf("describing the image for %s: %w", img.Arch, err)
				}
				s.Subject = img.Descriptor
				made[i*n+j] = s
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.Statements = made
	return r.describeIndex(ctx, b.Describers)
}

// describeIndex adds the statements about the index, when those about its
// images are there.
func (r *Result) describeIndex(ctx context.Context, describers []Describer) error {
	index := make([]image.Statement, len(describers))
	g, gctx := errgroup.WithContext(ctx)
	for j, d := range describers {
		g.Go(func() error {
			s, err := d.DescribeIndex(gctx, r)
			if err != nil {
				return fmt.Errorf("describing the index: %w", err)
			}
			s.Subject = r.Descriptor
			index[j] = s
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.Statements = append(r.Statements, index...)
	return nil
}

// About are a result's statements about one digest.
func (r *Result) About(digest v1.Hash) []image.Statement {
	var found []image.Statement
	for _, s := range r.Statements {
		if s.Subject.Digest == digest {
			found = append(found, s)
		}
	}
	return found
}
