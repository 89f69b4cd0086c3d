// Package build is the pipeline: it calls the rooms before it in order — lock,
// binaries and packages, file tree, layers, image — for all architectures of a
// profile at once, and tells as events what is going on.
//
// It must not know flags or terminals, and does nothing itself that one of the
// rooms could do.
package build

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/layer"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
	"github.com/etcdimg/etcdimg/pkg/sbom"
)

// Compiler gives the binaries of an etcd version.
type Compiler interface {
	// Compile returns the named binaries for a GOARCH, compiled or looked up.
	Compile(ctx context.Context, l lock.Etcd, arch string, binaries []string) (map[string]rootfs.Content, error)
	// Cached says whether Compile would be a look-up.
	Cached(l lock.Etcd, arch string, binaries []string) bool
	// Prefetch downloads what Compile needs and the cache lacks, so that
	// compilers that run at once do not begin by fetching the same, and what
	// can not be had is told before anything is compiled.
	Prefetch(ctx context.Context, l lock.Etcd, archs, binaries []string) error
}

// Operator gives the migrate operator. Its methods fail for a pin of other
// sources than it has.
type Operator interface {
	// Pin pins it for the toolchain and the settings that compile etcd.
	Pin(toolchain string, settings map[string]string) (lock.Migrate, error)
	Compile(ctx context.Context, pin lock.Migrate, arch string) (rootfs.Content, error)
	Cached(pin lock.Migrate, arch string) bool
	Prefetch(ctx context.Context, pin lock.Migrate, archs []string) error
	// Script runs the operator as the environment says, in images with a shell.
	Script() []byte
}

// Packages puts the pinned packages of one architecture into a tree.
type Packages interface {
	Install(ctx context.Context, t *rootfs.Tree, p *profile.Profile, l *lock.Lock, set lock.Debian) error
}

// Builder builds images.
type Builder struct {
	Cache    Store
	Compiler Compiler
	Operator Operator // nil where no profile wants it
	Packages Packages
	Log      *slog.Logger
	Events   func(Event) // called by several goroutines at once; may be nil
	Jobs     int         // compilations at once, at least 1
	Epoch    *time.Time  // SOURCE_DATE_EPOCH: the date of everything, where it is set
	Offline  bool        // tell what the cache lacks before anything is made

	Describers []Describer // who makes statements about what is built, in their order
	SBOMs      *sbom.Maker // lists what is in an image, in the image too; nil for images without

	etcd     *etcd.Resolver
	debian   *debian.Resolver
	compiler *etcd.Compiler
}

// Result is a built index and what is in it.
type Result struct {
	Profile string  `json:"profile"`
	Digest  string  `json:"digest"` // of the index
	Images  []Image `json:"images"` // in the profile's order of architectures

	Index      v1.ImageIndex     `json:"-"`
	Descriptor v1.Descriptor     `json:"-"` // of the index: media type, digest, size
	Statements []image.Statement `json:"-"` // about the images, in their order, then about the index

	// What it was made of.
	Resolved *profile.Profile `json:"-"`
	Lock     *lock.Lock       `json:"-"`
	Epoch    *time.Time       `json:"-"`

	sboms *sbom.Maker
}

// Image is one image of a result.
type Image struct {
	Arch   string        `json:"arch"`
	Digest string        `json:"digest"` // of the manifest
	Layers []layer.Layer `json:"layers"` // lowest first

	Image      v1.Image      `json:"-"`
	Descriptor v1.Descriptor `json:"-"` // media type, digest and size of the manifest
	Tree       *rootfs.Tree  `json:"-"` // all of its files; not to be changed
}

// Size is the sum of the compressed layers, in bytes.
func (i Image) Size() int64 {
	var n int64
	for _, l := range i.Layers {
		n += l.Size
	}
	return n
}

// attempts bounds how often a build starts over because something in the
// cache turned out damaged while it was used. Every attempt removes at least
// one damaged blob.
const attempts = 8

// Build makes the images of a profile for the given architectures from the
// inputs that the lock pins, and hands the index to write. When write, or
// anything before it, finds that the cache has lost or damaged a blob, what is
// missing is made again.
func (b *Builder) Build(ctx context.Context, p *profile.Profile, l *lock.Lock, archs []profile.Arch, write func(*Result) error) (*Result, error) {
	for i := 0; ; i++ {
		r, err := b.build(ctx, p, l, archs)
		if err == nil {
			err = write(r)
		}
		if err == nil {
			return r, nil
		}
		if !errors.Is(err, cache.ErrNotFound) || i+1 == attempts {
			return nil, err
		}
		b.Log.Warn("the cache lost something, making it again", "reason", err)
	}
}

func (b *Builder) build(ctx context.Context, p *profile.Profile, l *lock.Lock, archs []profile.Arch) (*Result, error) {
	if len(archs) == 0 {
		return nil, fmt.Errorf("no architecture to build for: name one in archs or with --arch")
	}
	if b.Offline {
		if err := b.missing(l, archs); err != nil {
			return nil, err
		}
	}
	b.emit(Event{Kind: Planned, Tasks: tasks(l, archs)})
	results := make([]Image, len(archs))
	g, gctx := errgroup.WithContext(ctx)
	w, err := b.newWorkshop(gctx, p, l, archs)
	if err != nil {
		return nil, err
	}
	for i, arch := range archs {
		g.Go(func() error {
			made, err := b.buildImage(gctx, p, l, arch, w)
			if err != nil {
				return fmt.Errorf("building %s for %s: %w", p.Name, arch, err)
			}
			results[i] = made
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	r := &Result{Profile: p.Name, Images: results, Resolved: p, Lock: l, Epoch: b.Epoch, sboms: b.SBOMs}
	if err := r.makeIndex(); err != nil {
		return nil, err
	}
	return r, b.describe(ctx, r)
}

// descriptor is what a statement's subject is of an image or an index.
func descriptor(x interface {
	MediaType() (types.MediaType, error)
	Digest() (v1.Hash, error)
	Size() (int64, error)
}) (v1.Descriptor, error) {
	mediaType, err := x.MediaType()
	if err != nil {
		return v1.Descriptor{}, err
	}
	digest, err := x.Digest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := x.Size()
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}, err
}

func (b *Builder) buildImage(ctx context.Context, p *profile.Profile, l *lock.Lock, arch profile.Arch, w *workshop) (Image, error) {
	tree := rootfs.New()
	made := programs{etcd: make([]map[string]rootfs.Content, len(l.Etcd))}
	g, gctx := errgroup.WithContext(ctx)
	first := newTurn()
	for i, piece := range w.etcd {
		g.Go(func() error {
			var err error
			made.etcd[i], err = w.compile(gctx, piece, string(arch), first)
			return err
		})
	}
	if w.migrate != nil {
		g.Go(func() error {
			var err error
			made.migrate, err = w.compile(gctx, w.migrate, string(arch), first)
			made.script = b.Operator.Script()
			return err
		})
	}
	g.Go(func() error { return b.installPackages(gctx, tree, p, l, arch) })
	if err := g.Wait(); err != nil {
		return Image{}, err
	}
	task := imageTask(arch)
	b.emit(Event{Kind: Started, Task: task, Detail: "assembling"})
	img, layers, err := b.assemble(ctx, tree, p, l, arch, made, w.presses)
	b.finish(task, err)
	if err != nil {
		return Image{}, err
	}
	d, err := descriptor(img)
	return Image{Arch: string(arch), Digest: d.Digest.String(), Layers: layers, Image: img, Descriptor: d, Tree: tree}, err
}

func (b *Builder) installPackages(ctx context.Context, tree *rootfs.Tree, p *profile.Profile, l *lock.Lock, arch profile.Arch) error {
	for _, set := range l.Debian {
		if set.Arch == string(arch) {
			task := packagesTask(arch)
			b.emit(Event{Kind: Started, Task: task, Detail: "unpacking"})
			err := b.Packages.Install(ctx, tree, p, l, set)
			b.finish(task, err)
			return err
		}
	}
	return nil
}

func (b *Builder) assemble(ctx context.Context, tree *rootfs.Tree, p *profile.Profile, l *lock.Lock, arch profile.Arch, made programs, presses chan struct{}) (v1.Image, []layer.Layer, error) {
	if err := complete(tree, p, arch, l, made, passwordDay(tree, b.Epoch)); err != nil {
		return nil, nil, err
	}
	config, err := config(tree, p, l, arch)
	if err != nil {
		return nil, nil, err
	}
	partition := func() ([]layer.Group, error) {
		return layer.Partition(tree, layer.Strategy(p.Layering.Strategy), p.Layering.Budget, componentOrder(l), b.Epoch)
	}
	groups, err := partition()
	if err != nil {
		return nil, nil, err
	}
	created := newest(groups)
	if b.SBOMs != nil {
		if err := b.addSBOM(ctx, p, l, arch, tree, created); err != nil {
			return nil, nil, err
		}
		if groups, err = partition(); err != nil {
			return nil, nil, err
		}
	}
	w := &layer.Writer{Store: b.Cache, Places: presses, OnMake: func(components []string) {
		b.emit(Event{Kind: Progressed, Task: imageTask(arch), Detail: fmt.Sprintf("compressing %v", components)})
	}}
	layers := make([]layer.Layer, len(groups))
	g, gctx := errgroup.WithContext(ctx)
	for i, group := range groups {
		g.Go(func() error {
			var err error
			layers[i], err = w.Layer(gctx, group, layer.Compression(p.Layering.Compression))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	img, err := image.New(image.Spec{
		Platform:    v1.Platform{OS: "linux", Architecture: string(arch)},
		Created:     created,
		Config:      config,
		Annotations: withOmissions(annotations(p, created), l, arch),
		CreatedBy:   "etcdimg build",
	}, layers, b.Cache)
	return img, layers, err
}

// omissionsAnnotation names the suites that an image was made without although
// its profile names them.
const omissionsAnnotation = "io.github.etcdimg.skipped-suites"

func withOmissions(a map[string]string, l *lock.Lock, arch profile.Arch) map[string]string {
	name, _ := debian.DebianArch(string(arch))
	var skipped []string
	for _, s := range l.Suites {
		if s.Skipped != "" && s.Arch == name {
			skipped = append(skipped, s.Suite)
		}
	}
	if len(skipped) > 0 {
		a[omissionsAnnotation] = strings.Join(skipped, " ")
	}
	return a
}

// annotations are the profile's, and those that follow from the image.
func annotations(p *profile.Profile, created time.Time) map[string]string {
	a := map[string]string{
		ocispec.AnnotationTitle:   p.Name,
		ocispec.AnnotationCreated: created.UTC().Format(time.RFC3339),
	}
	if len(p.Etcd.Versions) > 0 {
		a[ocispec.AnnotationVersion] = p.Etcd.Versions[0]
	}
	maps.Copy(a, p.Annotations)
	return a
}
