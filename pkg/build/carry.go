package build

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// MissingError says what the cache lacks and no network may be asked for.
type MissingError struct {
	Items []string // each on a line, by what it is and its digest
}

func (e *MissingError) Error() string {
	return "the cache lacks:\n  " + strings.Join(e.Items, "\n  ")
}

// binariesOf are the programs that a profile takes of an etcd version.
func binariesOf(p *profile.Profile, e lock.Etcd) ([]string, error) {
	return etcd.BinariesOf(e.Version, p.Etcd.Binaries)
}

// pinnedSets are a lock's package sets for some architectures.
func pinnedSets(l *lock.Lock, archs []profile.Arch) []lock.Debian {
	var sets []lock.Debian
	for _, set := range l.Debian {
		if slices.Contains(archs, profile.Arch(set.Arch)) {
			sets = append(sets, set)
		}
	}
	return sets
}

// packagesOf are the packages of a lock for some architectures, each once.
func packagesOf(l *lock.Lock, archs []profile.Arch) []lock.Package {
	var all []lock.Package
	seen := map[string]bool{}
	for _, set := range pinnedSets(l, archs) {
		for _, p := range set.Packages {
			if !seen[p.SHA256] {
				seen[p.SHA256] = true
				all = append(all, p)
			}
		}
	}
	return all
}

func describePackage(p lock.Package) string {
	return fmt.Sprintf("package %s %s %s, %d bytes, sha256:%s", p.Name, p.Version, p.Arch, p.Size, p.SHA256)
}

// compiledFor are the architectures for which a pin is compiled, and releases
// the archives that the others take.
func compiledFor(e lock.Etcd, archs []profile.Arch) (compiled []string, releases []lock.Archive) {
	for _, arch := range archs {
		if e.Release != nil {
			if a, ok := e.Release.Archives[string(arch)]; ok {
				releases = append(releases, a)
				continue
			}
		}
		compiled = append(compiled, string(arch))
	}
	return compiled, releases
}

// missing tells what a build without a network would miss. Of modules that the
// cache has not, the go command may have them, so that it alone can tell.
func (b *Builder) missing(l *lock.Lock, archs []profile.Arch) error {
	if b.debian == nil {
		return nil
	}
	e := &MissingError{}
	for _, p := range packagesOf(l, archs) {
		if !b.debian.Has(p) {
			e.Items = append(e.Items, describePackage(p))
		}
	}
	for _, pin := range l.Etcd {
		_, releases := compiledFor(pin, archs)
		for _, a := range releases {
			if !b.Cache.Has("sha256:" + a.SHA256) {
				e.Items = append(e.Items, fmt.Sprintf("release %s, %d bytes, sha256:%s", a.Path, a.Size, a.SHA256))
			}
		}
	}
	if len(e.Items) > 0 {
		return e
	}
	return nil
}

// Fetch puts into the cache all that a lock pins for some architectures, so
// that it can be built later without a network: packages, the modules and the
// toolchain that compile etcd, archives of official releases.
func (b *Builder) Fetch(ctx context.Context, p *profile.Profile, l *lock.Lock, archs []profile.Arch) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 2)
	g.Go(func() error { // one after the other: they share modules
		for _, pin := range l.Etcd {
			if err := b.fetchEtcd(ctx, p, pin, archs); err != nil {
				return err
			}
		}
		if carrier, ok := b.Operator.(operatorCarrier); ok && l.Migrate != nil {
			return carrier.FetchSources(ctx, *l.Migrate, names(archs))
		}
		return nil
	})
	for _, pkg := range packagesOf(l, archs) {
		g.Go(func() error {
			_, err := b.debian.Fetch(ctx, pkg)
			return err
		})
	}
	return g.Wait()
}

func (b *Builder) fetchEtcd(ctx context.Context, p *profile.Profile, pin lock.Etcd, archs []profile.Arch) error {
	binaries, err := binariesOf(p, pin)
	if err != nil {
		return err
	}
	compiled, releases := compiledFor(pin, archs)
	if len(releases) > 0 {
		var others []string
		for _, a := range names(archs) {
			if !slices.Contains(compiled, a) {
				others = append(others, a)
			}
		}
		if err := b.compiler.FetchReleases(ctx, pin, others, binaries); err != nil {
			return err
		}
	}
	return b.compiler.FetchSources(ctx, pin, compiled)
}

// operatorCarrier is an Operator whose sources can be fetched beforehand.
type operatorCarrier interface {
	FetchSources(ctx context.Context, pin lock.Migrate, archs []string) error
	Fetched(pin lock.Migrate) ([]etcd.Record, bool, error)
	Made(pin lock.Migrate, arch string) []etcd.Record
}

func describeSources(of, toolchain string) string {
	return fmt.Sprintf("modules of %s, and %s for %s/%s", of, toolchain, runtime.GOOS, runtime.GOARCH)
}

func selection(records []etcd.Record) cache.Selection {
	var s cache.Selection
	for _, r := range records {
		if r.Kind != "" {
			s.Records = append(s.Records, cache.RecordName{Kind: r.Kind, Key: r.Key})
		}
		if r.Digest != "" {
			s.Blobs = append(s.Blobs, r.Digest)
		}
	}
	return s
}

// Inputs are the entries of the cache that a lock can be built from for some
// architectures, on a machine of the same kind without a network. What is not
// there is a *MissingError.
func (b *Builder) Inputs(l *lock.Lock, archs []profile.Arch) (cache.Selection, error) {
	var s cache.Selection
	e := &MissingError{}
	add := func(digest, what string) {
		s.Blobs = append(s.Blobs, digest)
		if !b.Cache.Has(digest) {
			e.Items = append(e.Items, what)
		}
	}
	for _, p := range packagesOf(l, archs) {
		add("sha256:"+p.SHA256, describePackage(p))
	}
	for _, pin := range l.Etcd {
		compiled, releases := compiledFor(pin, archs)
		for _, a := range releases {
			add("sha256:"+a.SHA256, "release "+a.Path+", sha256:"+a.SHA256)
		}
		if len(compiled) == 0 {
			continue
		}
		if found, ok := b.compiler.Sources(pin); ok {
			s.Add(selection(found))
		} else {
			e.Items = append(e.Items, describeSources("etcd "+pin.Version, pin.Toolchain))
		}
	}
	if carrier, ok := b.Operator.(operatorCarrier); ok && l.Migrate != nil {
		found, ok, err := carrier.Fetched(*l.Migrate)
		if err != nil {
			return s, err
		}
		s.Add(selection(found))
		if !ok {
			e.Items = append(e.Items, describeSources("the migrate operator", l.Migrate.Toolchain))
		}
	}
	if len(e.Items) > 0 {
		return s, e
	}
	return s, nil
}

// Keep are the entries of the cache that a lock can use for some architectures:
// Inputs, as far as they are there, and what was made of them that takes long to make.
func (b *Builder) Keep(p *profile.Profile, l *lock.Lock, archs []profile.Arch) (cache.Selection, error) {
	s, err := b.Inputs(l, archs)
	var missing *MissingError
	if err != nil && !errors.As(err, &missing) {
		return s, err
	}
	for _, pkg := range packagesOf(l, archs) {
		if kind, key, blobs, ok := b.debian.Unpacked(pkg); ok {
			s.Add(cache.Selection{Blobs: blobs, Records: []cache.RecordName{{Kind: kind, Key: key}}})
		}
	}
	for _, pin := range l.Etcd {
		binaries, err := binariesOf(p, pin)
		if err != nil {
			return s, err
		}
		for _, arch := range archs {
			s.Add(selection(b.compiler.Made(pin, string(arch), binaries)))
		}
	}
	if carrier, ok := b.Operator.(operatorCarrier); ok && l.Migrate != nil {
		for _, arch := range archs {
			s.Add(selection(carrier.Made(*l.Migrate, string(arch))))
		}
	}
	return s, nil
}
