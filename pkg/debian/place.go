package debian

import (
	"fmt"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// firstPlaced is the package whose links make /bin, /lib and their like what
// they are. Whatever another package ships beneath them has to follow these
// links, so it comes first, as it does when a system is bootstrapped.
const firstPlaced = "base-files"

// Place writes the packages' own files into the tree: without what a slim image
// leaves out, and under the name that another package's diversion gives them.
func Place(tree Tree, pkgs []*Package, opts RuleOptions) error {
	for _, p := range placing(pkgs) {
		moved := diverted(rules, pkgs, p.Name, opts.debianArch())
		for _, e := range opts.Keep(p.Entries) {
			if to, ok := moved[e.Path]; ok && e.Type != rootfs.Dir {
				e.Path = to
			}
			if to, ok := moved[e.Link]; ok && e.Type == rootfs.Hardlink {
				e.Link = to
			}
			if err := tree.Add(e); err != nil {
				return fmt.Errorf("package %s: %w", p.Name, err)
			}
		}
	}
	return nil
}

// placing is the order in which packages are unpacked.
func placing(pkgs []*Package) []*Package {
	return slices.SortedFunc(slices.Values(pkgs), func(a, b *Package) int {
		if (a.Name == firstPlaced) != (b.Name == firstPlaced) {
			if a.Name == firstPlaced {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// diversion is one entry of dpkg's list of diversions: files of other packages
// at From go to To instead.
type diversion struct {
	from, to string
	by       string
}

// diversions are those that the scripts of the given packages add.
func diversions(rows []rule, pkgs []*Package, debArch string) []diversion {
	var out []diversion
	for _, row := range rows {
		if !slices.ContainsFunc(pkgs, func(p *Package) bool { return p.Name == row.pkg }) {
			continue
		}
		for _, from := range row.diverts[debArch] {
			to := from + ".usr-is-merged"
			if strings.LastIndexByte(from, '/') == 0 {
				to = "/." + from[1:] + ".usr-is-merged" // directly in the root: hidden
			}
			out = append(out, diversion{from, to, row.pkg})
		}
	}
	return out
}

// diverted maps the paths that one package may not use to those it gets.
func diverted(rows []rule, pkgs []*Package, name, debArch string) map[string]string {
	out := map[string]string{}
	for _, d := range diversions(rows, pkgs, debArch) {
		if d.by != name {
			out[d.from] = d.to
		}
	}
	return out
}
