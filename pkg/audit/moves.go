package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/etcdimg/etcdimg/pkg/audit/osv"
	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/diff"
)

// Deb is a Debian package as databases know it: by its source.
type Deb struct {
	Suite   string // trixie-security
	Source  string // name of the source package
	Version string // of the source package, deb-version(7)
}

// DebOf names a Debian package among those of a lock.
type DebOf struct{ Name, Arch string } // GOARCH

// MarkMoves notes on the changes from one lock to another what databases know of
// them: vulnerabilities that the old version has and the new one does not
// (Change.Fixes, and with them Change.Security), and the reverse (Change.Brings).
// They are named by their CVE where they have one. Versions alone decide: nothing
// is built yet whose calls could be looked at.
//
// The gaps are kinds of changes that no database has records about: without a mark
// they are not known to be harmless.
func MarkMoves(changes []diff.Change, old, new map[DebOf]Deb, databases []*osv.Database) ([]Gap, error) {
	m := marker{databases: databases, missing: map[string]bool{}, debs: [2]map[DebOf]Deb{old, new}}
	for i := range changes {
		before, after, err := m.both(&changes[i])
		if err != nil {
			return nil, err
		}
		changes[i].Fixes, changes[i].Brings = without(before, after), without(after, before)
		changes[i].Security = changes[i].Security || len(changes[i].Fixes) > 0
	}
	var gaps []Gap
	for _, system := range slices.Sorted(maps.Keys(m.missing)) {
		gaps = append(gaps, Gap{What: "what moved of " + system, Reason: "no database has records of " + system})
	}
	return gaps, nil
}

type marker struct {
	databases []*osv.Database
	missing   map[string]bool // ecosystems
	debs      [2]map[DebOf]Deb
}

// both are the vulnerabilities of what was there and of what takes its place.
func (m *marker) both(c *diff.Change) (before, after []string, err error) {
	switch c.Kind {
	case diff.Module, diff.Toolchain:
		name := c.Name
		if c.Kind == diff.Toolchain {
			name = "stdlib"
		}
		if before, err = m.goVersion(name, c.Old); err == nil {
			after, err = m.goVersion(name, c.New)
		}
	case diff.Package:
		for _, arch := range c.Archs {
			for i, found := range []*[]string{&before, &after} {
				d, ok := m.debs[i][DebOf{c.Name, arch}]
				if !ok {
					continue
				}
				more, err := m.deb(d)
				if err != nil {
					return nil, nil, err
				}
				*found = union(*found, more)
			}
		}
	}
	return before, after, err
}

// goVersion are the vulnerabilities of a version of a module, or of Go itself as
// its standard library. What is no version, as a directory in a module's place, has
// none.
func (m *marker) goVersion(module, version string) ([]string, error) {
	if !semver.IsValid("v" + strings.TrimLeft(version, "gov")) {
		return nil, nil
	}
	return m.find("Go", module, version, compareModules)
}

func (m *marker) deb(d Deb) ([]string, error) {
	system := debianOf(d.Suite)
	if system == "" {
		m.missing["Debian's "+d.Suite] = true
		return nil, nil
	}
	return m.find(system, d.Source, d.Version, debian.CompareVersions)
}

// debianOf is OSV's name of the release that a suite belongs to; empty for one
// that is no release.
func debianOf(suite string) string {
	name, _, _ := strings.Cut(suite, "-")
	number := map[string]string{"bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14", "duke": "15"}[name]
	if number == "" {
		return ""
	}
	return "Debian:" + number
}

func (m *marker) find(system, name, version string, compare func(a, b string) int) ([]string, error) {
	var found []string
	known := false
	for _, d := range m.databases {
		if d.Info.Ecosystems[system] == 0 || system == "Go" && d.Info.GoRecords == 0 {
			continue
		}
		known = true
		records, err := d.For(system, name)
		if err != nil {
			return nil, fmt.Errorf("looking up %s: %w", name, err)
		}
		for _, r := range records {
			if system == "Go" && !strings.HasPrefix(r.ID, goRecords) {
				continue
			}
			if slices.ContainsFunc(r.Of(system, name), func(a osv.Affected) bool {
				in, _ := a.Has(version, compare)
				return in
			}) {
				found = union(found, []string{commonName(r)})
			}
		}
	}
	if !known {
		m.missing[system] = true
	}
	return found, nil
}

// commonName is the name under which several databases know a vulnerability.
func commonName(r *osv.Record) string {
	for _, n := range r.Names() {
		if strings.HasPrefix(n, "CVE-") {
			return n
		}
	}
	return r.ID
}
