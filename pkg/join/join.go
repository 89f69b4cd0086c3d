// Package join makes one index of images that were built apart from each other,
// each on a machine of its own: the same index, with the same statements about
// it, as a build of all of them on one machine makes.
//
// What the images were built from it learns from their provenance alone, and
// takes no image that was built from anything else than the others were. It
// must not know where images lie, nor what becomes of the index.
package join

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/provenance"
)

// Part is an image, or an index that stands for its images.
type Part struct {
	Name       string // for messages: where it was named, and as what
	Argument   string // by which others find it, too
	Source     inspect.Source
	Descriptor v1.Descriptor
}

// Statements gives what is said about a digest of a part and may be believed.
type Statements func(ctx context.Context, p Part, digest v1.Hash) ([]image.Statement, error)

// Unverified gives all that lies beside an image, whoever wrote it.
func Unverified(ctx context.Context, p Part, digest v1.Hash) ([]image.Statement, error) {
	return inspect.Statements(ctx, p.Source, digest)
}

// Options say what is asked of the parts. Zero values ask for an image of every
// architecture of the profile.
type Options struct {
	Archs      []profile.Arch    // in place of the profile's
	Tool       provenance.Tool   // this etcdimg, which must have built the images
	Describers []build.Describer // who makes statements about the index
	Statements Statements        // nil for Unverified
	// Check is a further condition on what all of them were built from; nil for
	// none.
	Check func(*provenance.Inputs) error
}

// member is one image and what it was built from.
type member struct {
	name       string
	arch       profile.Arch
	image      build.Image
	statements []image.Statement
	statement  *provenance.Statement
	inputs     *provenance.Inputs
}

// Join makes the index. It writes nothing.
func Join(ctx context.Context, parts []Part, o Options) (*build.Result, error) {
	if o.Statements == nil {
		o.Statements = Unverified
	}
	var members []*member
	var errs []error
	for _, p := range parts {
		found, err := o.open(ctx, p)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.Name, err))
			continue
		}
		members = append(members, found...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := twice(members); err != nil {
		return nil, err
	}
	if err := agree(members, o.Tool); err != nil {
		return nil, err
	}
	members, err := complete(members, o.Archs)
	if err != nil {
		return nil, err
	}
	var said []*provenance.Statement
	for _, m := range members {
		said = append(said, m.statement)
	}
	whole, err := provenance.Whole(said)
	if err != nil {
		return nil, fmt.Errorf("putting together what the images were built from: %w", err)
	}
	if o.Check != nil {
		if err := o.Check(whole); err != nil {
			return nil, err
		}
	}
	all := build.Parts{Profile: whole.Profile, Lock: whole.Lock, Epoch: whole.Epoch}
	for _, m := range members {
		all.Images = append(all.Images, m.image)
		all.Statements = append(all.Statements, m.statements...)
	}
	return build.Join(ctx, all, o.Describers)
}

// open reads the image that a part is, or the images.
func (o Options) open(ctx context.Context, p Part) ([]*member, error) {
	images := []v1.Descriptor{p.Descriptor}
	if p.Descriptor.MediaType.IsIndex() {
		raw, err := p.Source.Manifest(ctx, p.Descriptor.Digest)
		if err != nil {
			return nil, err
		}
		if images, err = children(raw); err != nil {
			return nil, fmt.Errorf("index %s: %w", p.Descriptor.Digest, err)
		}
	}
	var all []*member
	for _, d := range images {
		m, err := o.member(ctx, p, d)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", d.Digest, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func (o Options) member(ctx context.Context, p Part, d v1.Descriptor) (*member, error) {
	img, err := openImage(ctx, p.Source, d.Digest)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	m := &member{name: p.Name, image: build.Image{Arch: config.Architecture, Digest: d.Digest.String(), Image: img, Descriptor: v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}}}
	if m.arch, err = profile.ParseArch(config.Architecture); err != nil || config.OS != "linux" {
		return nil, fmt.Errorf("it is for %s/%s, for which etcdimg builds nothing", config.OS, config.Architecture)
	}
	said, err := o.Statements(ctx, p, d.Digest)
	if err != nil {
		return nil, err
	}
	if err := m.explain(said, o.Tool); err != nil {
		return nil, err
	}
	return m, m.describe(said)
}

var errNoProvenance = errors.New("it has no provenance by etcdimg: an image that etcdimg did not build, or not publish, can't be joined")

var errContradiction = errors.New("it has two provenances by etcdimg, which contradict each other: somebody else can write to the repository; remove the wrong one, or name the key that attested the right one with --provenance-key")

// explain finds out what the image was built from.
func (m *member) explain(said []image.Statement, tool provenance.Tool) error {
	digest := m.image.Descriptor.Digest
	var known []byte
	for _, st := range said {
		if st.PredicateType != provenance.PredicateType {
			continue
		}
		s, err := provenance.Read(st.Content)
		if errors.Is(err, provenance.ErrForeign) {
			continue
		}
		if err != nil {
			return err
		}
		if !s.About(digest) {
			return &provenance.TamperedError{What: "its subject is another image, " + subjects(s)}
		}
		// The same image may have been built by several etcdimgs, of which one
		// is this one.
		_, ours := s.BuiltBy(tool)
		if m.statement != nil {
			_, had := m.statement.BuiltBy(tool)
			switch {
			case had && !ours:
				continue
			case had == ours && !slices.Equal(st.Content, known):
				return errContradiction
			}
		}
		m.statement, known = s, st.Content
	}
	if m.statement == nil {
		return errNoProvenance
	}
	var err error
	if m.inputs, err = m.statement.Pinned(); err != nil {
		return err
	}
	if len(m.inputs.Archs) != 1 || m.inputs.Archs[0] != m.arch {
		return &provenance.TamperedError{What: fmt.Sprintf("it is about an image for %v, and this one is for %s", m.inputs.Archs, m.arch)}
	}
	return nil
}

func subjects(s *provenance.Statement) string {
	var names []string
	for _, d := range s.Subject {
		names = append(names, d.Name)
	}
	return strings.Join(names, ", ")
}

// twice refuses two images for one architecture, and one that is named twice.
func twice(members []*member) error {
	first := map[profile.Arch]*member{}
	var errs []error
	for _, m := range members {
		other, ok := first[m.arch]
		switch {
		case !ok:
			first[m.arch] = m
		case other.image.Digest == m.image.Digest:
			errs = append(errs, fmt.Errorf("the image for %s, %s, is named twice: by %s and by %s", m.arch, m.image.Digest, other.name, m.name))
		default:
			errs = append(errs, fmt.Errorf("there are two images for %s: %s, named by %s, and %s, named by %s", m.arch, other.image.Digest, other.name, m.image.Digest, m.name))
		}
	}
	return errors.Join(errs...)
}

// agree tells of images that this etcdimg did not build, and of those that were
// not built from what most of them were.
func agree(members []*member, tool provenance.Tool) error {
	var errs []error
	for _, m := range members {
		if by, ok := m.statement.BuiltBy(tool); !ok {
			errs = append(errs, fmt.Errorf("%s: image %s for %s was built by another etcdimg, %s: join it with that one", m.name, m.image.Digest, m.arch, by))
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	var most *member
	best := -1
	for _, m := range members {
		n := 0
		for _, other := range members {
			if len(provenance.Differences(m.statement, other.statement)) == 0 {
				n++
			}
		}
		if n > best {
			best, most = n, m
		}
	}
	for _, m := range members {
		if differ := provenance.Differences(most.statement, m.statement); len(differ) > 0 {
			errs = append(errs, fmt.Errorf("%s: image %s for %s was not built from the lock of %s for %s: they differ in\n  %s",
				m.name, m.image.Digest, m.arch, most.image.Digest, most.arch, strings.Join(differ, "\n  ")))
		}
	}
	return errors.Join(errs...)
}

// complete brings images into the profile's order, and tells which are missing
// and which nobody asked for.
func complete(members []*member, asked []profile.Arch) ([]*member, error) {
	if len(members) == 0 {
		return nil, errors.New("no image to make an index of")
	}
	p := members[0].inputs.Profile
	if asked == nil {
		asked = p.Archs
	}
	var sorted []*member
	var errs []error
	for _, m := range members {
		if !slices.Contains(asked, m.arch) {
			errs = append(errs, fmt.Errorf("%s: image %s is for %s, and the index is to be for %v", m.name, m.image.Digest, m.arch, asked))
		}
	}
	for _, arch := range asked {
		if !slices.Contains(p.Archs, arch) {
			errs = append(errs, fmt.Errorf("the profile has no %s: its archs are %v", arch, p.Archs))
		}
	}
	var missing []string
	for _, arch := range p.Archs {
		i := slices.IndexFunc(members, func(m *member) bool { return m.arch == arch })
		switch {
		case !slices.Contains(asked, arch):
		case i < 0:
			missing = append(missing, string(arch))
		default:
			sorted = append(sorted, members[i])
		}
	}
	if len(missing) > 0 {
		errs = append(errs, fmt.Errorf("the image for %s is missing: the profile %s has archs %v; for an index without it, name the others with --arch", strings.Join(missing, ", "), p.Name, p.Archs))
	}
	return sorted, errors.Join(errs...)
}

// describe keeps what is said about the image by those who speak about the
// index, too, each once. Of several provenances it is the one that explains.
func (m *member) describe(said []image.Statement) error {
	for _, st := range said {
		if st.PredicateType == provenance.PredicateType {
			if s, err := provenance.Read(st.Content); err != nil || !slices.Equal(mustJSON(s), mustJSON(m.statement)) {
				continue
			}
		}
		i := slices.IndexFunc(m.statements, func(other image.Statement) bool {
			return other.ArtifactType == st.ArtifactType && other.PredicateType == st.PredicateType
		})
		switch {
		case i < 0:
			m.statements = append(m.statements, st)
		case !slices.Equal(m.statements[i].Content, st.Content):
			return fmt.Errorf("it has two different statements of the type %s: somebody else can write to the repository; remove the wrong one, or name the key that attested the right one with --provenance-key", cmp.Or(st.PredicateType, st.ArtifactType))
		}
	}
	return nil
}

func mustJSON(s *provenance.Statement) []byte {
	b, err := s.JSON()
	if err != nil {
		panic(err) // it was read from JSON
	}
	return b
}
