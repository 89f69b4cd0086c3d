package sbom

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/anchore/syft/syft/pkg"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// ownModule is the module of etcdimg itself, which brings programs into images.
const ownModule = "github.com/etcdimg/etcdimg"

// goItems are the modules of all Go programs of an image, each once, and the
// standard libraries that they are linked with.
func (c *collector) goItems(ctx context.Context, found []pkg.Package) ([]*item, error) {
	type identity struct{ name, version, changed string }
	items := map[identity]*item{}
	var order []*item
	for _, p := range found {
		m, ok := p.Metadata.(pkg.GolangBinaryBuildinfoEntry)
		if !ok {
			continue
		}
		program := place(p)
		if owner := c.origin(program); !c.facts.Scanned && c.packaged(owner) {
			continue // the package that brought it speaks for it
		}
		i := c.goItem(p, m, program)
		id := identity{i.Name, i.Version, i.Changed}
		if known, ok := items[id]; ok {
			if known.Sum != i.Sum {
				return nil, fmt.Errorf("%s: %s %s has the sum %s, in another program it has %s", program, i.Name, i.Version, orNone(i.Sum), orNone(known.Sum))
			}
			known.Program = known.Program || i.Program
			i = known
		} else {
			items[id] = i
			order = append(order, i)
		}
		i.In = append(i.In, program)
	}
	return order, c.licenseModules(ctx, order)
}

func (c *collector) packaged(origin string) bool {
	return slices.ContainsFunc(c.facts.Debian, func(p lock.Package) bool { return p.Name == origin })
}

func (c *collector) goItem(p pkg.Package, m pkg.GolangBinaryBuildinfoEntry, program string) *item {
	if p.Name == "stdlib" {
		version := strings.TrimPrefix(p.Version, "go")
		i := toolchain("go" + version)
		i.Kind, i.Name, i.Program, i.PURL = kindStdlib, "stdlib", false, p.PURL
		i.CPE = "cpe:2.3:a:golang:go:" + version + ":-:*:*:*:*:*:*"
		i.Comment = "Go's standard library and runtime, as the toolchain go" + version + " linked them."
		return i
	}
	i := &item{Kind: kindModule, Name: p.Name, Version: p.Version, PURL: p.PURL, Sum: m.H1Digest, Program: p.Name == m.MainModule}
	i.Supplier, _ = home(i.Name)
	if e, sum, ok := c.edit(program, i.Name); ok {
		i.Version, i.Sum = e.Version, sum
		i.Changed = "not compiled as it was published: " + e.Reason + "; the lock and the provenance have every change"
		if e.Own {
			i.Changed = "not the published module, but a stand-in of etcdimg's own: " + e.Reason
			i.Supplier = "etcdimg"
		}
		i.PURL = "pkg:golang/" + i.Name + "@" + strings.ReplaceAll(i.Version, "+", "%2B")
	}
	if i.Name == ownModule {
		i.Supplier, i.Licences.Expression = "etcdimg", "Apache-2.0"
		i.Comment = "The program " + path.Base(program) + " of etcdimg itself."
		if i.Version == "" || i.Version == "(devel)" {
			i.Version, i.PURL = "devel", "pkg:golang/"+ownModule
		}
	}
	i.Download = sourceLocation(i.Name, i.Version)
	return i
}

// edit is the change that a module has in a program, and the sum of what was
// published.
func (c *collector) edit(program, module string) (lock.Edit, string, bool) {
	for _, e := range c.facts.Etcd {
		if etcdOrigin(e) != c.origin(program) {
			continue
		}
		for _, edit := range e.Edits {
			if edit.Module == module {
				return edit, sumOf(e.GoSum, edit.Module, edit.Version), true
			}
		}
	}
	return lock.Edit{}, "", false
}

// sumOf is the checksum that a go.sum has of a module version.
func sumOf(goSum, module, version string) string {
	for line := range strings.Lines(goSum) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == module && f[1] == version {
			return f[2]
		}
	}
	return ""
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// licenseModules fills in the licences of modules that were published.
func (c *collector) licenseModules(ctx context.Context, items []*item) error {
	of := map[Module][]*item{}
	for _, i := range items {
		if i.Kind == kindModule && i.Licences.Expression == "" && i.Sum != "" {
			m := Module{i.Name, i.Version, i.Sum}
			of[m] = append(of[m], i)
		}
	}
	known, err := c.known.of(ctx, slices.Collect(maps.Keys(of)))
	for m, same := range of {
		for _, i := range same {
			i.Licences = known[m]
		}
	}
	c.ownLicences(items)
	return err
}

// ownLicences are those of what etcdimg wrote itself.
func (c *collector) ownLicences(items []*item) {
	for _, i := range items {
		if i.Licences.Expression == "" && i.Supplier == "etcdimg" {
			i.Licences.Expression = "Apache-2.0"
		}
	}
}
