package sbom

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/anchore/syft/syft/pkg"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// collector puts together what syft finds and what the build knows.
type collector struct {
	facts  Facts
	known  *knowledge
	inv    *inventory
	byName map[string]*item // Debian's packages
}

// collect makes the inventory of an image.
func collect(ctx context.Context, f Facts, k *knowledge) (*inventory, error) {
	found, err := find(ctx, f.Tree)
	if err != nil {
		return nil, err
	}
	c := &collector{facts: f, known: k, inv: &inventory{}, byName: map[string]*item{}}
	if c.inv.Files, err = listFiles(ctx, f.Tree, f.InsidePath()); err != nil {
		return nil, err
	}
	var packages []*item
	debs, err := c.debs(found)
	if err != nil {
		return nil, err
	}
	packages = append(packages, debs...)
	packages = append(packages, c.apks(found)...)
	goItems, err := c.goItems(ctx, found)
	if err != nil {
		return nil, err
	}
	packages = append(packages, c.etcds(goItems)...)
	packages = append(packages, goItems...)
	c.give(packages)
	for _, i := range packages {
		c.inv.Items = append(c.inv.Items, *i)
	}
	c.inv.Image = c.image()
	c.inv.sort()
	return c.inv, nil
}

func (c *collector) image() item {
	i := item{Kind: kindImage, Name: c.facts.Name, Version: c.facts.Version, Supplier: "etcdimg", Program: true}
	var all []licences
	for _, part := range c.inv.Items {
		if part.Kind != kindBuilder {
			all = append(all, part.Licences)
		}
	}
	i.Licences = merge(all...)
	i.Licences.Texts, i.Licences.Copyright = nil, ""
	if c.facts.Scanned {
		i.Supplier = ""
	}
	return i
}

// etcds are the packages that stand for the versions of etcd as a whole.
func (c *collector) etcds(modules []*item) []*item {
	var all []*item
	tools := map[string]*item{}
	for _, e := range c.facts.Etcd {
		i := &item{
			Kind: kindEtcd, Name: "etcd", Version: e.Version, Program: true,
			PURL:     "pkg:github/etcd-io/etcd@v" + e.Version,
			CPE:      "cpe:2.3:a:etcd:etcd:" + e.Version + ":*:*:*:*:*:*:*",
			Supplier: "etcd-io", Originator: "Organization: The etcd Authors",
			Download: "git+https://github.com/etcd-io/etcd@v" + e.Version,
		}
		if a, ok := releaseArchive(e, c.facts.Arch); ok {
			i.Download, i.SHA256 = "https://github.com/etcd-io/etcd/releases/download/"+a.Path, a.SHA256
			i.Source = "the official release, as it was published"
		} else {
			i.Source = "compiled from the Go modules that the packages below name, by " + e.Toolchain
			tool, ok := tools[e.Toolchain]
			if !ok {
				tool = toolchain(e.Toolchain)
				tools[e.Toolchain] = tool
				all = append(all, tool)
			}
			tool.For = append(tool.For, e.Version)
		}
		for _, name := range sortedKeys(e.Packages) {
			for _, m := range modules {
				if m.Kind == kindModule && m.Program && within(e.Packages[name], m.Name) && slices.ContainsFunc(m.In, func(p string) bool { return c.origin(p) == etcdOrigin(e) }) {
					i.Licences = merge(i.Licences, m.Licences)
				}
			}
		}
		if i.Licences.Expression == "" {
			i.Licences.Expression = "Apache-2.0" // of every version since the first
		}
		all = append(all, i)
	}
	return all
}

// toolchain is what compiled; its standard library is what the image has of it.
func toolchain(name string) *item {
	return &item{
		Kind: kindBuilder, Name: "go", Version: strings.TrimPrefix(name, "go"), Program: true,
		PURL:     "pkg:generic/go@" + strings.TrimPrefix(name, "go"),
		Licences: licences{Expression: "BSD-3-Clause", Copyright: "Copyright 2009 The Go Authors."},
		Supplier: "The Go Authors", Download: "https://go.dev/dl/" + name + ".src.tar.gz",
		Comment: "Compiled what is in the image. It is not in the image itself; its standard library is, as the package stdlib.",
	}
}

func releaseArchive(e lock.Etcd, arch string) (lock.Archive, bool) {
	if e.Release == nil {
		return lock.Archive{}, false
	}
	a, ok := e.Release.Archives[arch]
	return a, ok
}

// within says whether a Go package lies in a module.
func within(pkg, module string) bool { return pkg == module || strings.HasPrefix(pkg, module+"/") }

// etcdOrigin is the Origin of what a version of etcd brings into a tree.
func etcdOrigin(e lock.Etcd) string { return "etcd " + e.Version }

func (c *collector) origin(p string) string {
	if e, ok := c.facts.Tree.Get(p); ok {
		return e.Origin
	}
	return ""
}

// give tells every item which files it brought.
func (c *collector) give(items []*item) {
	owner := map[string]*item{}
	programs := map[string]*item{} // path → the module whose program it is
	for _, i := range items {
		switch {
		case i.Kind == kindDebian && !c.facts.Scanned:
			owner[i.Name] = i
		case i.Kind == kindEtcd:
			owner["etcd "+i.Version] = i
		case i.Kind == kindModule && i.Program:
			for _, p := range i.In {
				programs[p] = i
			}
		}
	}
	for _, f := range c.inv.Files {
		i := owner[c.origin(f.Path)]
		if i == nil && len(programs) > 0 {
			i = programs[f.Path]
			if f.Same != "" && i == nil {
				i = programs[f.Same]
			}
		}
		if i != nil {
			i.Files = append(i.Files, f.Path)
		}
	}
}

// apks are the packages of Alpine and its kin. Only images that are scanned
// have them.
func (c *collector) apks(found []pkg.Package) []*item {
	var all []*item
	for _, p := range found {
		m, ok := p.Metadata.(pkg.ApkDBEntry)
		if !ok {
			continue
		}
		i := &item{Kind: kindAlpine, Name: p.Name, Version: p.Version, PURL: p.PURL, Originator: person(m.Maintainer), Source: m.OriginPackage, Program: true}
		for _, l := range p.Licenses.ToSlice() {
			if l.SPDXExpression != "" {
				i.Licences = merge(i.Licences, licences{Expression: l.SPDXExpression})
			}
		}
		all = append(all, i)
	}
	return all
}

// debs are the packages of Debian. Those of a build are the ones that the lock
// names, and the image's own database must name the same.
func (c *collector) debs(found []pkg.Package) ([]*item, error) {
	var all []*item
	installed := map[string]pkg.Package{}
	for _, p := range found {
		if _, ok := p.Metadata.(pkg.DpkgDBEntry); !ok {
			continue
		}
		installed[p.Name+" "+p.Version] = p
		if !c.facts.Scanned {
			continue
		}
		i, err := c.deb(p, lock.Package{})
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	if c.facts.Scanned {
		return all, nil
	}
	for _, l := range c.facts.Debian {
		p, ok := installed[l.Name+" "+l.Version]
		if !ok {
			return nil, fmt.Errorf("the package %s %s was installed, but the image's own database does not name it", l.Name, l.Version)
		}
		delete(installed, l.Name+" "+l.Version)
		i, err := c.deb(p, l)
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	for _, name := range sortedKeys(installed) {
		return nil, fmt.Errorf("the image's own database names the package %s, which nobody installed", name)
	}
	return all, nil
}

func (c *collector) deb(p pkg.Package, l lock.Package) (*item, error) {
	m := p.Metadata.(pkg.DpkgDBEntry)
	said, err := c.copyright(p.Name)
	if err != nil {
		return nil, err
	}
	i := &item{
		Kind: kindDebian, Name: p.Name, Version: p.Version, PURL: p.PURL, Program: true,
		Originator: person(m.Maintainer), Source: "the Debian source package " + sourceOf(m), Licences: said,
	}
	if c.facts.Scanned {
		if strings.HasPrefix(p.PURL, "pkg:deb/debian/") {
			i.Supplier = "Debian"
		}
		return i, nil
	}
	i.Supplier, i.SHA256 = "Debian", l.SHA256
	i.Download = "https://snapshot.debian.org/archive/" + l.Archive + "/" + l.Snapshot + "/" + l.Path
	if strings.Contains(l.Archive, "://") { // an archive that is not Debian's, and has no snapshots
		i.Supplier, i.Download = strings.TrimSuffix(l.Archive, "/"), strings.TrimSuffix(l.Archive, "/")+"/"+l.Path
	}
	if i.PURL == "" {
		i.PURL = "pkg:deb/debian/" + l.Name + "@" + strings.NewReplacer("+", "%2B", "~", "~", ":", "%3A").Replace(l.Version) + "?arch=" + l.Arch
	}
	return i, nil
}

func sourceOf(m pkg.DpkgDBEntry) string {
	name, version := m.Source, m.SourceVersion
	if name == "" {
		name = m.Package
	}
	if version == "" {
		version = m.Version
	}
	return name + " " + version
}

// copyright reads what a package's copyright file says.
func (c *collector) copyright(name string) (licences, error) {
	b, err := c.facts.Tree.ReadFile(path.Join("/usr/share/doc", name, "copyright"))
	if errors.Is(err, fs.ErrNotExist) {
		return licences{}, nil
	}
	if err != nil {
		return licences{}, err
	}
	return c.known.copyright(string(b))
}

// person is a maintainer as SPDX writes people and organizations.
func person(maintainer string) string {
	maintainer = strings.Join(strings.Fields(maintainer), " ")
	name, mail, ok := strings.Cut(maintainer, " <")
	switch {
	case maintainer == "":
		return ""
	case ok:
		maintainer = strings.Trim(name, `"`) + " (" + strings.TrimSuffix(mail, ">") + ")"
	}
	for _, word := range []string{"Team", "Maintainers", "Developers", "Debian", "Group", "Project", "Packag"} {
		if strings.Contains(name, word) {
			return "Organization: " + maintainer
		}
	}
	return "Person: " + maintainer
}
