package sbom

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/anchore/syft/syft/pkg"
	"github.com/anchore/syft/syft/pkg/cataloger/alpine"
	"github.com/anchore/syft/syft/pkg/cataloger/debian"
	"github.com/anchore/syft/syft/pkg/cataloger/golang"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// find returns what syft finds in a tree: the modules of every Go program,
// once for each program, and the packages of every package database.
func find(ctx context.Context, t *rootfs.Tree) ([]pkg.Package, error) {
	r, err := newResolver(t)
	if err != nil {
		return nil, err
	}
	var all []pkg.Package
	for _, c := range []pkg.Cataloger{
		// No remote look-ups, and nothing of the machine's module cache: the
		// zero configuration looks at the programs only.
		golang.NewGoModuleBinaryCataloger(golang.CatalogerConfig{}),
		debian.NewDBCataloger(),
		alpine.NewDBCataloger(),
	} {
		// An error beside packages tells of a file that was not understood in
		// all respects: a stripped program has no symbols to look at.
		found, _, err := c.Catalog(ctx, r)
		if err != nil && len(found) == 0 {
			return nil, fmt.Errorf("looking for packages (%s): %w", c.Name(), err)
		}
		all = append(all, found...)
	}
	slices.SortStableFunc(all, func(a, b pkg.Package) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(place(a), place(b)))
	})
	return all, nil
}

// place is the file in which a package was found.
func place(p pkg.Package) string {
	if at := p.Locations.ToSlice(); len(at) > 0 {
		return at[0].RealPath
	}
	return ""
}
