package build

import (
	"context"
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/layer"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
	"github.com/etcdimg/etcdimg/pkg/sbom"
)

// sbomComponent is the layer component of the SBOM in the image: it changes
// whenever anything else does.
const sbomComponent = "sbom"

// facts are what a build knows of one image.
func facts(p *profile.Profile, l *lock.Lock, arch profile.Arch, t *rootfs.Tree, created time.Time) sbom.Facts {
	f := sbom.Facts{Name: p.Name, Version: imageVersion(p), Arch: string(arch), Created: created, Licence: licence(p), Tree: t, Etcd: l.Etcd}
	for _, set := range l.Debian {
		if set.Arch == string(arch) {
			f.Debian = set.Packages
		}
	}
	return f
}

// imageVersion is the version of etcd that the image is named after. The
// revision is no part of it: it decides no image.
func imageVersion(p *profile.Profile) string {
	if len(p.Etcd.Versions) == 0 {
		return ""
	}
	return p.Etcd.Versions[0]
}

// licence is what the profile says of the image as a whole.
func licence(p *profile.Profile) string {
	if said := p.Annotations[ocispec.AnnotationLicenses]; sbom.ValidLicence(said) {
		return said
	}
	return ""
}

// addSBOM puts the image's own SBOM into its tree. created is the date of
// everything else.
func (b *Builder) addSBOM(ctx context.Context, p *profile.Profile, l *lock.Lock, arch profile.Arch, t *rootfs.Tree, created time.Time) error {
	f := facts(p, l, arch, t, created)
	m := *b.SBOMs
	m.OnScan = func() {
		b.emit(Event{Kind: Progressed, Task: imageTask(arch), Detail: "listing what is in it"})
	}
	content, err := m.Inside(ctx, f)
	if err != nil {
		return err
	}
	t.SetDate(sbomComponent, created)
	return t.Add(rootfs.Entry{Path: f.InsidePath(), Type: rootfs.File, Mode: 0o644, Content: content, Component: sbomComponent, Origin: "sbom"})
}

// newest is the date of the newest of the groups.
func newest(groups []layer.Group) time.Time {
	date := time.Unix(0, 0).UTC()
	for _, g := range groups {
		if g.Date.After(date) {
			date = g.Date
		}
	}
	return date
}

// SBOM is a Describer that lists what is in images and indexes.
type SBOM struct{ Format sbom.Format }

// DescribeImage lists what is in an image.
func (s SBOM) DescribeImage(ctx context.Context, r *Result, i *Image) (image.Statement, error) {
	config, err := i.Image.ConfigFile()
	if err != nil {
		return image.Statement{}, err
	}
	f := facts(r.Resolved, r.Lock, profile.Arch(i.Arch), i.Tree, config.Created.Time)
	var diffIDs []string
	for _, l := range i.Layers {
		diffIDs = append(diffIDs, l.DiffID)
	}
	b, err := r.sboms.Image(ctx, s.Format, f, i.Digest, diffIDs)
	return s.statement(i.Arch, b), err
}

// DescribeIndex names the images of an index, and their SBOMs.
func (s SBOM) DescribeIndex(_ context.Context, r *Result) (image.Statement, error) {
	m, err := r.Index.IndexManifest()
	if err != nil {
		return image.Statement{}, err
	}
	f := sbom.IndexFacts{Name: r.Resolved.Name, Version: imageVersion(r.Resolved), Licence: licence(r.Resolved), Digest: r.Digest}
	if f.Created, err = time.Parse(time.RFC3339, m.Annotations[ocispec.AnnotationCreated]); err != nil {
		return image.Statement{}, fmt.Errorf("the index has no date: %w", err)
	}
	for _, i := range r.Images {
		child := sbom.Child{Arch: i.Arch, Digest: i.Digest}
		for _, said := range r.About(i.Descriptor.Digest) {
			if said.ArtifactType == s.Format.MediaType() {
				child.SBOM = said.Content
			}
		}
		f.Images = append(f.Images, child)
	}
	b, err := sbom.Index(s.Format, f)
	return s.statement("index", b), err
}

func (s SBOM) statement(what string, b []byte) image.Statement {
	return image.Statement{Name: "sbom-" + what + s.Format.Ending(), ArtifactType: s.Format.MediaType(), PredicateType: s.Format.PredicateType(), Content: b}
}

// publishedModules are the modules' files that a compiler can get.
type publishedModules struct{ *etcd.Compiler }

func (m publishedModules) RootFiles(ctx context.Context, modules []sbom.Module, wanted func(string) bool) (map[sbom.Module]map[string]string, error) {
	var all []etcd.PublishedModule
	for _, one := range modules {
		all = append(all, etcd.PublishedModule(one))
	}
	found, err := m.Compiler.RootFiles(ctx, all, wanted)
	files := map[sbom.Module]map[string]string{}
	for one, f := range found {
		files[sbom.Module(one)] = f
	}
	return files, err
}
