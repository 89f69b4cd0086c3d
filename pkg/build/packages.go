package build

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// debianPackages are Packages that come from Debian archives.
type debianPackages struct {
	resolver *debian.Resolver
	store    debian.Store
	log      *slog.Logger
	epoch    *time.Time    // SOURCE_DATE_EPOCH, where it is set
	places   chan struct{} // one for each package that is being unpacked
}

// newDebianPackages fetches and unpacks a few packages more at once, over all
// architectures, than there are processors: some always wait for the network,
// and each holds a dictionary of megabytes.
func newDebianPackages(r *debian.Resolver, o Options) *debianPackages {
	return &debianPackages{
		resolver: r, store: o.Cache, log: o.Log, epoch: o.Epoch,
		places: make(chan struct{}, runtime.GOMAXPROCS(0)+2),
	}
}

func (d *debianPackages) Install(ctx context.Context, t *rootfs.Tree, p *profile.Profile, l *lock.Lock, set lock.Debian) error {
	pkgs, err := d.unpack(ctx, set.Packages)
	if err != nil {
		return err
	}
	for _, pkg := range pkgs {
		t.SetDate(pkg.Component(), pkg.Date)
	}
	options, err := d.ruleOptions(t, p, l, set)
	if err != nil {
		return err
	}
	if err := debian.Place(t, pkgs, options); err != nil {
		return err
	}
	report, err := debian.Apply(ctx, t, pkgs, options)
	if err != nil {
		return err
	}
	for _, f := range report.Uncovered {
		d.log.Warn("maintainer scripts whose effects the image lacks", "package", f.Package, "version", f.Version, "scripts", f.Scripts)
	}
	return nil
}

// unpack begins with the largest packages, so that none of them is left to be
// waited for alone.
func (d *debianPackages) unpack(ctx context.Context, pins []lock.Package) ([]*debian.Package, error) {
	order := make([]int, len(pins))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(pins[b].Size, pins[a].Size) })
	pkgs := make([]*debian.Package, len(pins))
	g, ctx := errgroup.WithContext(ctx)
	for _, i := range order {
		select {
		case d.places <- struct{}{}:
		case <-ctx.Done():
			if err := g.Wait(); err != nil {
				return nil, err
			}
			return nil, ctx.Err()
		}
		g.Go(func() error {
			defer func() { <-d.places }()
			var err error
			pkgs[i], err = d.resolver.Unpack(ctx, pins[i])
			return err
		})
	}
	return pkgs, g.Wait()
}

func (d *debianPackages) ruleOptions(t *rootfs.Tree, p *profile.Profile, l *lock.Lock, set lock.Debian) (debian.RuleOptions, error) {
	o := debian.RuleOptions{Arch: set.Arch, Slim: p.Contents.Slim, Exclude: p.Contents.Exclude, Day: passwordDay(t, d.epoch), Store: d.store}
	var err error
	if o.Sources, err = debian.RuntimeSources(p.Contents.RuntimeRepositories, l.Suites, set); err != nil {
		return o, fmt.Errorf("contents.runtime-repositories: %w", err)
	}
	if o.Keys, err = readKeys(p, "contents.keyring", p.Contents.Keyring); err != nil {
		return o, err
	}
	for _, c := range p.Certificates.Additional {
		pem := []byte(c.Content)
		if c.Source != "" {
			if pem, err = p.ReadLocal(c.Source); err != nil {
				return o, fmt.Errorf("certificates.additional: %s: %w", c.Name, err)
			}
		}
		o.Certificates = append(o.Certificates, debian.Certificate{Name: c.Name, PEM: pem})
	}
	return o, nil
}

// readKeys reads the files that a profile names under a key.
func readKeys(p *profile.Profile, name string, keyring []string) ([][]byte, error) {
	var keys [][]byte
	for _, key := range keyring {
		bytes, err := p.ReadLocal(key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		keys = append(keys, bytes)
	}
	return keys, nil
}
