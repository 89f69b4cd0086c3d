package build

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// Resolve pins the inputs of a profile for the given architectures, as they
// are offered now.
func (b *Builder) Resolve(ctx context.Context, p *profile.Profile, archs []profile.Arch) (*lock.Lock, error) {
	l, err := blank(p, archs)
	if err != nil {
		return nil, err
	}
	if p.Migrate {
		pin, err := b.pinMigrate(p, p.Etcd.Toolchain)
		if err != nil {
			return nil, err
		}
		l.Migrate = &pin
	}
	l.Etcd = make([]lock.Etcd, len(p.Etcd.Versions))
	g, ctx := errgroup.WithContext(ctx)
	for i, version := range p.Etcd.Versions {
		g.Go(func() error {
			var err error
			l.Etcd[i], err = b.pinEtcd(ctx, p, i, etcdRequest(p, version, archs))
			return err
		})
	}
	g.Go(func() error {
		var err error
		l.Suites, l.Debian, err = b.resolvePackages(ctx, p, archs, nil)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return l, nil
}

// errNoOperator is the error of a Builder without the operator's sources.
var errNoOperator = errors.New("this build has no migrate operator: set migrate to false")

// pinMigrate pins the operator that is to be compiled as etcd is.
func (b *Builder) pinMigrate(p *profile.Profile, toolchain string) (lock.Migrate, error) {
	if b.Operator == nil {
		return lock.Migrate{}, p.Problem("migrate", "this build has no migrate operator", "set it to false")
	}
	pin, err := b.Operator.Pin(toolchain, etcdRequest(p, "", nil).Settings())
	if err != nil {
		return lock.Migrate{}, fmt.Errorf("choosing the migrate operator: %w", located(p, "", err))
	}
	return pin, nil
}

func etcdRequest(p *profile.Profile, version string, archs []profile.Arch) etcd.Request {
	binaries, err := etcd.BinariesOf(version, p.Etcd.Binaries)
	if err != nil || len(binaries) == 0 {
		binaries = p.Etcd.Binaries // Resolve tells what is wrong with them
	}
	return etcd.Request{
		Version: version, From: p.Etcd.From.Default(), FromByArch: p.Etcd.From.ByArch(), Archs: names(archs), Binaries: binaries, Toolchain: p.Etcd.Toolchain,
		Bump: p.Etcd.Bump, FIPS: p.Etcd.FIPS,
		GOAMD64: p.Etcd.GOAMD64, GOARM64: p.Etcd.GOARM64, GOPPC64: p.Etcd.GOPPC64,
	}
}

// pinEtcd pins the i-th etcd version of a profile. The keys of official releases
// are read for it: the request is without them, so that requests of a profile
// that is known by its text alone can be made.
func (b *Builder) pinEtcd(ctx context.Context, p *profile.Profile, i int, r etcd.Request) (lock.Etcd, error) {
	var err error
	if r.Keyring, err = readKeys(p, "etcd.keyring", p.Etcd.Keyring); err != nil {
		return lock.Etcd{}, err
	}
	pin, err := b.etcd.Resolve(ctx, r)
	if err != nil {
		return lock.Etcd{}, fmt.Errorf("choosing etcd %s: %w", r.Version, located(p, fmt.Sprintf("etcd.versions[%d]", i), err))
	}
	return pin, nil
}

// located gives an error about a key the place where the key was written.
func located(p *profile.Profile, versionKey string, err error) error {
	var wrong *etcd.KeyError
	if !errors.As(err, &wrong) {
		return err
	}
	key := wrong.Key
	if key == "etcd.versions" {
		key = versionKey
	}
	if _, ok := p.Etcd.From[wrong.Value]; ok && key == "etcd.from" {
		key += "." + wrong.Value
	}
	return p.Problem(key, wrong.Err.Error(), "")
}

// resolvePackages chooses packages, those in keep excepted, by architecture.
func (b *Builder) resolvePackages(ctx context.Context, p *profile.Profile, archs []profile.Arch, keep map[string][]lock.Package) ([]lock.Suite, []lock.Debian, error) {
	if len(p.Contents.Packages) == 0 {
		return nil, nil, nil
	}
	r := debian.Request{Repositories: p.Contents.Repositories, Packages: p.Contents.Packages, Keep: keep}
	for _, arch := range archs {
		r.Archs = append(r.Archs, string(arch))
	}
	var err error
	if r.Keyring, err = readKeys(p, "contents.keyring", p.Contents.Keyring); err != nil {
		return nil, nil, err
	}
	suites, sets, err := b.debian.Resolve(ctx, r)
	if err != nil {
		return nil, nil, fmt.Errorf("choosing packages: %w", err)
	}
	for _, s := range suites {
		if s.Skipped != "" {
			b.Log.Warn("a suite is left out", "suite", s.Suite, "arch", s.Arch, "reason", s.Skipped)
		}
	}
	return suites, sets, nil
}
