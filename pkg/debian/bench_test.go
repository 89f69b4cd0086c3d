package debian_test

import (
	"context"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// BenchmarkWarm is the share of packages in a build with nothing changed:
// resolution, packages and rules, each out of the cache, by a new process.
func BenchmarkWarm(b *testing.B) {
	m := debiantest.NewMirror(now)
	m.AddHardened()
	store, err := cache.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	opts := debian.Options{Store: store, Mirror: m.Serve(b), Snapshot: debian.None, Now: now}
	req := debian.Request{Repositories: debiantest.HardenedRepositories(), Packages: debiantest.HardenedPackages(), Archs: archs, Keyring: [][]byte{m.Key.Public()}}
	run := func() {
		ctx := context.Background()
		r, err := debian.NewResolver(opts)
		if err != nil {
			b.Fatal(err)
		}
		_, sets, err := r.Resolve(ctx, req)
		if err != nil {
			b.Fatal(err)
		}
		for _, set := range sets {
			var pkgs []*debian.Package
			tr := rootfs.New()
			for _, p := range set.Packages {
				pkg, err := r.Unpack(ctx, p)
				if err != nil {
					b.Fatal(err)
				}
				pkgs = append(pkgs, pkg)
				for _, e := range pkg.Entries {
					if err := tr.Add(e); err != nil {
						b.Fatal(err)
					}
				}
			}
			if _, err := debian.Apply(ctx, tr, pkgs, debian.RuleOptions{Arch: set.Arch, Store: store}); err != nil {
				b.Fatal(err)
			}
		}
	}
	run()
	for b.Loop() {
		run()
	}
}
