package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/audit/content"
	"github.com/etcdimg/etcdimg/pkg/audit/osv"
	"github.com/etcdimg/etcdimg/pkg/audit/reach"
	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/debian"
)

// goRecords begins the identifiers of Go's database. What others publish about
// Go modules has no symbols, and is in it under another name.
const goRecords = "GO-"

// program is a Go program of an image.
type program struct {
	path string
	sum  string
	*reach.Program
}

func (a *auditor) programs(l *looked) ([]program, error) {
	var found []program
	for _, p := range slices.Sorted(maps.Keys(l.tree)) {
		sum := l.tree[p].Program
		if sum == "" {
			continue
		}
		read, err := content.Program(a.req.Cache, sum)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		found = append(found, program{p, sum, read})
	}
	return found, nil
}

// coverage finds which packages no database has a word about. Without Partial
// that is an error.
func (a *auditor) coverage(programs []program) error {
	if len(a.req.Databases) == 0 {
		return nil
	}
	missing := map[string]int{}
	if len(programs) > 0 && !a.knows("Go") {
		missing["Go"] = len(programs)
	}
	for _, p := range a.result.Packages {
		switch p.Kind {
		case Debian:
			system := p.system()
			if system == "" {
				a.gap(fmt.Sprintf("deb %s %s", p.Name, p.Version), "the SBOM does not say of which distribution it is")
			} else if !a.knows(system) {
				missing[system]++
			}
		case OtherKind:
			switch e := p.ecosystem(); e {
			case "", "generic", "github", "oci": // a program as a whole, whose modules are judged
			default:
				a.gap(fmt.Sprintf("%s %s %s", e, p.Name, p.Version), "audit judges Go programs and Debian packages")
			}
		}
	}
	for _, system := range slices.Sorted(maps.Keys(missing)) {
		what := plural(missing[system], "package") + " of " + system
		if system == "Go" {
			what = plural(missing[system], "Go program")
		}
		if !a.req.Partial {
			return fmt.Errorf("the image has %s, but no database has records of them: %s: add a database with --db, or let it be said that they were not judged with --allow-partial-db", what, a.whatIsThere())
		}
		a.gap(what, "no database has records of "+system)
	}
	return nil
}

// knows says whether a database has records of an ecosystem that are used.
func (a *auditor) knows(ecosystem string) bool {
	return slices.ContainsFunc(a.req.Databases, func(d *osv.Database) bool {
		if ecosystem == "Go" {
			return d.Info.GoRecords > 0
		}
		return d.Info.Ecosystems[ecosystem] > 0
	})
}

func (a *auditor) whatIsThere() string {
	var all []string
	for _, d := range a.req.Databases {
		names := slices.Sorted(maps.Keys(d.Info.Ecosystems))
		const most = 6
		if len(names) > most {
			names = append(names[:most], "…")
		}
		all = append(all, fmt.Sprintf("%s has %d records of %s", d.Info.Source, d.Info.Records, strings.Join(names, ", ")))
	}
	return strings.Join(all, "; ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (a *auditor) gap(what, reason string) {
	g := Gap{what, reason}
	if !slices.Contains(a.result.NotJudged, g) {
		a.result.NotJudged = append(a.result.NotJudged, g)
	}
}

const hitsKind = "audit-hits"

// matchGo finds what programs have, each program once per database.
func (a *auditor) matchGo(ctx context.Context, programs []program) (map[string][]reach.Hit, error) {
	var digests []string
	for _, d := range a.req.Databases {
		digests = append(digests, d.Info.Digest)
	}
	found := map[string][]reach.Hit{}
	var todo []program
	key := func(sum string) string {
		return cache.Key(append([]string{"hits 1", sum}, digests...)...)
	}
	for _, p := range programs {
		var hits []reach.Hit
		if _, ok := found[p.sum]; ok {
			continue
		}
		if a.req.Cache.ReadRecord(hitsKind, key(p.sum), &hits) != nil {
			todo = append(todo, p)
		}
		found[p.sum] = hits
	}
	if len(todo) == 0 {
		return found, nil
	}
	records, err := a.goRecordsFor(todo)
	if err != nil {
		return nil, err
	}
	dir, remove, err := a.req.Cache.TempDir()
	if err != nil {
		return nil, err
	}
	defer remove()
	var bare []*reach.Program
	for _, p := range todo {
		bare = append(bare, p.Program)
	}
	all, err := reach.Match(ctx, bare, records, dir)
	if err != nil {
		return nil, err
	}
	for i, p := range todo {
		found[p.sum] = all[i]
		if err := a.req.Cache.WriteRecord(hitsKind, key(p.sum), all[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// goRecordsFor are the records about any module of the programs. Of several
// databases the first that has one counts.
func (a *auditor) goRecordsFor(programs []program) (map[string]json.RawMessage, error) {
	modules := map[string]bool{"stdlib": true}
	for _, p := range programs {
		for _, m := range p.Modules {
			modules[m.Path] = true
		}
	}
	records := map[string]json.RawMessage{}
	for _, d := range a.req.Databases {
		for m := range modules {
			raw, err := d.Raw("Go", m)
			if err != nil {
				return nil, err
			}
			for _, b := range raw {
				var r struct{ ID string }
				if err := json.Unmarshal(b, &r); err != nil {
					return nil, err
				}
				if _, ok := records[r.ID]; !ok && strings.HasPrefix(r.ID, goRecords) {
					records[r.ID] = b
				}
			}
		}
	}
	return records, nil
}

// reachOf are the words for x/vuln's levels.
var reachOf = map[reach.Level]Reachability{reach.Called: Called, reach.Imported: Imported, reach.Required: Required}

// goFindings are the findings in the programs of one image.
func (a *auditor) goFindings(l *looked, programs []program, hits map[string][]reach.Hit) ([]Finding, error) {
	var all []Finding
	for _, p := range programs {
		if !p.Symbols {
			a.gap(p.path, "which functions are called: "+p.Reason+"; all vulnerable ones are taken as called")
		}
		for _, h := range hits[p.sum] {
			r, err := a.record("Go", h.Module, h.ID)
			if err != nil {
				return nil, err
			}
			f := Finding{
				Kind: GoModule, Package: h.Module, Installed: h.Version, Fixed: h.Fixed,
				Reachability: reachOf[h.Level], Symbols: h.Symbols, Files: []string{p.path}, Archs: []string{l.Arch},
			}
			if h.Module == "stdlib" {
				f.Kind = Toolchain
				f.Installed, f.Fixed = strings.TrimLeft(f.Installed, "gov"), strings.TrimLeft(f.Fixed, "gov")
			}
			f.tell(r, r.Of("Go", h.Module))
			if f.Severity == Unknown {
				a.severityByAlias(&f, h.Module)
			}
			f.Purl = l.contents.purlOf(f.Kind, f.Package, f.Installed)
			all = append(all, f)
		}
	}
	return all, nil
}

// record is one that x/vuln named.
func (a *auditor) record(ecosystem, name, id string) (*osv.Record, error) {
	for _, d := range a.req.Databases {
		all, err := d.For(ecosystem, name)
		if err != nil {
			return nil, err
		}
		for _, r := range all {
			if r.ID == id {
				return r, nil
			}
		}
	}
	return nil, fmt.Errorf("%s was found in %s, but no database has it", id, name)
}

// severityByAlias looks whether another record of the same vulnerability says
// what Go's does not.
func (a *auditor) severityByAlias(f *Finding, module string) {
	for _, d := range a.req.Databases {
		all, err := d.For("Go", module)
		if err != nil {
			return
		}
		for _, r := range all {
			if r.ID == f.ID || !slices.ContainsFunc(r.Names(), func(n string) bool { return slices.Contains(f.Aliases, n) }) {
				continue
			}
			if s, vector := severityOf(r, r.Of("Go", module)); s != Unknown {
				f.Severity, f.Score = s, vector
				return
			}
		}
	}
}

// tell takes over what a record says.
func (f *Finding) tell(r *osv.Record, parts []osv.Affected) {
	f.ID, f.Aliases = r.ID, r.Names()[1:]
	f.Summary, f.Details = r.Summary, r.Details
	f.Severity, f.Score = severityOf(r, parts)
	f.URL = r.DatabaseSpecific.URL
	if f.URL == "" {
		switch {
		case strings.HasPrefix(r.ID, goRecords):
			f.URL = "https://pkg.go.dev/vuln/" + r.ID
		case strings.HasPrefix(r.ID, "DEBIAN-"):
			f.URL = "https://security-tracker.debian.org/tracker/" + strings.TrimPrefix(r.ID, "DEBIAN-")
		case strings.HasPrefix(r.ID, "DSA-"), strings.HasPrefix(r.ID, "DLA-"):
			f.URL = "https://security-tracker.debian.org/tracker/" + r.ID
		default:
			for _, ref := range r.References {
				if f.URL == "" || ref.Type == "ADVISORY" {
					f.URL = ref.URL
				}
			}
		}
	}
	if f.Summary == "" {
		f.Summary, _, _ = strings.Cut(f.Details, "\n")
	}
}

func (c *contents) purlOf(kind PackageKind, name, version string) string {
	for _, p := range c.packages {
		if p.Kind == kind && p.Name == name && (p.Version == version || strings.TrimLeft(p.Version, "gov") == strings.TrimLeft(version, "gov")) {
			return p.Purl
		}
	}
	if kind == Debian {
		return ""
	}
	return "pkg:golang/" + name + "@" + version
}

// debFindings are the findings in the Debian packages of one image, by their
// source packages.
func (a *auditor) debFindings(l *looked) ([]Finding, error) {
	var all []Finding
	for _, p := range l.contents.packages {
		system := p.system()
		if p.Kind != Debian || system == "" {
			continue
		}
		source, version, _ := strings.Cut(p.Source, " ")
		seen := map[string]bool{}
		for _, d := range a.req.Databases {
			records, err := d.For(system, source)
			if err != nil {
				return nil, err
			}
			for _, r := range records {
				parts := r.Of(system, source)
				affected, fixed := false, ""
				for i := range parts {
					if in, fix := parts[i].Has(version, debian.CompareVersions); in {
						affected = true
						fixed = cmp.Or(fixed, fix)
					}
				}
				if !affected || seen[r.ID] {
					continue
				}
				seen[r.ID] = true
				f := Finding{
					Kind: Debian, Package: p.Name, Installed: p.Version, Fixed: fixed, Purl: p.Purl,
					Reachability: PackageLevel, Archs: []string{l.Arch},
				}
				f.tell(r, parts)
				all = append(all, f)
			}
		}
	}
	return all, nil
}

// fold puts findings of several programs and images together that differ in
// nothing else, worst first.
func fold(all []Finding) []Finding {
	type key struct {
		id, pkg, version, fixed string
		reach                   Reachability
		vex                     VEX
	}
	at := map[key]int{}
	var out []Finding
	for _, f := range all {
		k := key{f.ID, f.Package, f.Installed, f.Fixed, f.Reachability, VEX{}}
		if f.VEX != nil {
			k.vex = *f.VEX
		}
		i, ok := at[k]
		if !ok {
			at[k] = len(out)
			f.Files, f.Archs, f.Symbols = union(f.Files, nil), union(f.Archs, nil), union(f.Symbols, nil)
			out = append(out, f)
			continue
		}
		out[i].Files = union(out[i].Files, f.Files)
		out[i].Archs = union(out[i].Archs, f.Archs)
		out[i].Symbols = union(out[i].Symbols, f.Symbols)
	}
	slices.SortFunc(out, func(a, b Finding) int {
		return cmp.Or(
			boolOrder(a.Open, b.Open), cmp.Compare(slices.Index(order, a.Severity), slices.Index(order, b.Severity)),
			cmp.Compare(near(a.Reachability), near(b.Reachability)), cmp.Compare(a.ID, b.ID),
			cmp.Compare(a.Package, b.Package), cmp.Compare(a.Installed, b.Installed), slices.Compare(a.Archs, b.Archs), slices.Compare(a.Files, b.Files))
	})
	return out
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func near(r Reachability) int {
	return slices.Index([]Reachability{Called, PackageLevel, Imported, Required}, r)
}
