package provenance

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// Describer makes the provenance of what was built. It is a build.Describer.
type Describer struct {
	Tool Tool
}

// Tool is the etcdimg that builds.
type Tool struct {
	Version  string // of its module: v1.2.3, or (devel)
	Sum      string // of its module, as go.sum has it; empty for one that was built from a working copy
	Commit   string // that it was built from; empty where that is not known
	Modified bool   // the working copy had changes beside the commit
}

// DescribeImage makes the provenance of one image: it has the inputs of this
// architecture alone, and so is the same whatever else was built beside it.
func (d *Describer) DescribeImage(_ context.Context, r *build.Result, i *build.Image) (image.Statement, error) {
	return d.describe(r, i.Arch, []string{i.Arch}, subject(r.Profile, i.Arch, i.Descriptor.Digest), nil)
}

// DescribeIndex makes the provenance of the index, with the inputs of all
// images.
func (d *Describer) DescribeIndex(_ context.Context, r *build.Result) (image.Statement, error) {
	var archs []string
	var images []Descriptor
	for _, i := range r.Images {
		archs = append(archs, i.Arch)
		images = append(images, Descriptor{
			Name:      "linux/" + i.Arch,
			URI:       imageURI(r.Profile, i.Arch, i.Descriptor.Digest),
			Digest:    map[string]string{i.Descriptor.Digest.Algorithm: i.Descriptor.Digest.Hex},
			MediaType: string(i.Descriptor.MediaType),
		})
	}
	return d.describe(r, "index", archs, subject(r.Profile, "", r.Descriptor.Digest), images)
}

func (d *Describer) describe(r *build.Result, what string, archs []string, subject Descriptor, byproducts []Descriptor) (image.Statement, error) {
	s, err := d.statement(r, archs)
	if err != nil {
		return image.Statement{}, fmt.Errorf("telling the provenance: %w", err)
	}
	s.Subject = []Descriptor{subject}
	s.Predicate.RunDetails.Byproducts = byproducts
	content, err := s.JSON()
	return image.Statement{
		Name:          "provenance-" + what + ".slsa.json",
		ArtifactType:  image.ArtifactInToto,
		PredicateType: PredicateType,
		Content:       content,
	}, err
}

func (d *Describer) statement(r *build.Result, archs []string) (*Statement, error) {
	config, err := r.Resolved.JSON()
	if err != nil {
		return nil, err
	}
	l := of(r.Lock, archs)
	files := map[string][]byte{}
	sources := r.Resolved.Sources(asArchs(archs))
	l.Files = slices.DeleteFunc(slices.Clone(l.Files), func(f lock.LocalFile) bool { return !slices.Contains(sources, f.Path) })
	for _, source := range sources {
		b, err := r.Resolved.ReadLocal(source)
		if err != nil {
			return nil, err
		}
		if len(b) <= maxCarried {
			files[source] = b
		}
	}
	dependencies, err := dependencies(d.Tool, l)
	if err != nil {
		return nil, err
	}
	external := External{Profile: json.RawMessage(config), Architectures: archs}
	if r.Epoch != nil {
		epoch := r.Epoch.Unix()
		external.SourceDateEpoch = &epoch
	}
	return &Statement{
		Type:          StatementType,
		PredicateType: PredicateType,
		Predicate: Predicate{
			BuildDefinition: BuildDefinition{
				BuildType:            BuildType,
				ExternalParameters:   external,
				InternalParameters:   Internal{Lock: l, Files: files},
				ResolvedDependencies: dependencies,
			},
			RunDetails: RunDetails{Builder: Builder{ID: BuilderID, Version: map[string]string{"etcdimg": cmp.Or(d.Tool.Version, "(devel)")}}},
		},
	}, nil
}

// maxCarried is the size of the largest local file that a provenance has in it,
// in bytes. Larger ones, programs as a rule, it names by digest alone.
const maxCarried = 1 << 20

func asArchs(names []string) []profile.Arch {
	archs := make([]profile.Arch, len(names))
	for i, name := range names {
		archs[i] = profile.Arch(name)
	}
	return archs
}

// of is the part of a lock that some architectures need.
func of(l *lock.Lock, archs []string) *lock.Lock {
	part := *l
	part.Config = json.RawMessage("null") // it is the profile, which stands beside it
	part.Etcd, part.Suites, part.Debian = nil, nil, nil
	for _, e := range l.Etcd {
		part.Etcd = append(part.Etcd, etcdOf(e, archs))
	}
	for _, set := range l.Debian {
		if slices.Contains(archs, set.Arch) {
			part.Debian = append(part.Debian, set)
		}
	}
	debianArchs := []string{"all"}
	for _, arch := range archs {
		if name, ok := debian.DebianArch(arch); ok {
			debianArchs = append(debianArchs, name)
		}
	}
	for _, s := range l.Suites {
		if slices.Contains(debianArchs, s.Arch) {
			part.Suites = append(part.Suites, s)
		}
	}
	return &part
}

// etcdOf is the part of a pin that some architectures need.
func etcdOf(e lock.Etcd, archs []string) lock.Etcd {
	if e.Release == nil {
		return e
	}
	release := *e.Release
	release.Archives = map[string]lock.Archive{}
	compiled := false
	for _, arch := range archs {
		if a, ok := e.Release.Archives[arch]; ok {
			release.Archives[arch] = a
		} else {
			compiled = true
		}
	}
	if len(release.Archives) == 0 {
		e.Release = nil
		return e
	}
	e.Release = &release
	if !compiled {
		return lock.Etcd{Version: e.Version, Line: e.Line, Date: e.Date, Release: e.Release}
	}
	return e
}

func subject(name, arch string, digest v1.Hash) Descriptor {
	return Descriptor{Name: imageURI(name, arch, digest), Digest: map[string]string{digest.Algorithm: digest.Hex}}
}

// imageURI is an image's package URL (purl-spec, type oci). Where the image
// will be pulled from is not known.
func imageURI(name, arch string, digest v1.Hash) string {
	u := "pkg:oci/" + url.PathEscape(name) + "@" + url.QueryEscape(digest.String())
	if arch != "" {
		u += "?arch=" + arch
	}
	return u
}
