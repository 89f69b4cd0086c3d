package build

import (
	"context"
	"fmt"
	"log/slog"
	"os"

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
}

// downloads is how many packages of one architecture are fetched at once.
const downloads = 4

func (d *debianPackages) Install(ctx context.Context, t *rootfs.Tree, p *profile.Profile, set lock.Debian) error {
	pkgs := make([]*debian.Package, len(set.Packages))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(downloads)
	for i, pin := range set.Packages {
		g.Go(func() error {
			var err error
			pkgs[i], err = d.resolver.Unpack(gctx, pin)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, pkg := range pkgs {
		entries := pkg.Entries
		if p.Contents.Slim {
			entries = debian.Slim(entries)
		}
		for _, e := range entries {
			if err := t.Add(e); err != nil {
				return fmt.Errorf("package %s: %w", pkg.Name, err)
			}
			t.SetDate(e.Component, pkg.Date)
		}
	}
	options, err := d.ruleOptions(p, set)
	if err != nil {
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

func (d *debianPackages) ruleOptions(p *profile.Profile, set lock.Debian) (debian.RuleOptions, error) {
	o := debian.RuleOptions{Arch: set.Arch, Store: d.store}
	for _, c := range p.Certificates.Additional {
		pem := []byte(c.Content)
		if c.Source != "" {
			var err error
			if pem, err = os.ReadFile(p.Local(c.Source)); err != nil {
				return o, fmt.Errorf("certificates.additional: %s: %w", c.Name, err)
			}
		}
		o.Certificates = append(o.Certificates, debian.Certificate{Name: c.Name, PEM: pem})
	}
	return o, nil
}
