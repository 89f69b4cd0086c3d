package audit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/audit/osv"
	"github.com/etcdimg/etcdimg/pkg/audit/vex"
)

// notes begin what call analysis says, so that it is told from what people
// say.
const notes = "Found by call analysis of the image's programs (golang.org/x/vuln)"

// lookedUp begins what the look-up of a package's version says.
const lookedUp = "Found by call analysis: none was made. The version is one that the database names"

// purls are the image's own, and the index's.
func (a *auditor) purls(l *looked) []string {
	all := []string{a.result.Purl, imagePurl(a.name, l.Digest, "")}
	return append(all, imagePurl(a.name, l.Digest, l.Arch))
}

// imagePurl names an image or an index (package-url, type oci), as its SBOM
// does.
func imagePurl(name, digest, arch string) string {
	p := "pkg:oci/" + name + "@" + strings.Replace(digest, ":", "%3A", 1)
	if arch != "" {
		p += "?arch=" + arch
	}
	return p
}

// gather collects the VEX documents that count.
func (a *auditor) gather(images []*looked, about []claim) error {
	take := func(c claim) error {
		if c.kind != "openvex" {
			return nil
		}
		d, err := vex.Parse(c.predicate)
		if err != nil {
			return fmt.Errorf("the image's VEX (%s): %w", c.from, err)
		}
		from := c.from
		if c.by != "" {
			from += " by " + c.by
		}
		a.said.Add(d, vex.Attached, from)
		return nil
	}
	for _, c := range about {
		if err := take(c); err != nil {
			return err
		}
	}
	for _, l := range images {
		for _, c := range l.claims {
			if err := take(c); err != nil {
				return err
			}
		}
	}
	for _, g := range a.req.Statements {
		a.said.Add(g.Document, vex.ByHand, g.Name)
	}
	return nil
}

// statementOf is what call analysis says of a finding, without products.
func statementOf(f *Finding) vex.Statement {
	s := vex.Statement{Vulnerability: vex.Vulnerability{ID: f.URL, Name: f.ID, Description: f.Summary, Aliases: f.Aliases}, StatusNotes: notes}
	update := "No version is known that is right: see the advisory."
	if f.Fixed != "" {
		update = fmt.Sprintf("Update %s to %s.", f.Package, f.Fixed)
	}
	switch f.Reachability {
	case Called:
		s.Status, s.ActionStatement = vex.Affected, update
	case Imported:
		s.Status, s.Justification = vex.NotAffected, vex.NotCalled
		s.ImpactStatement = "The vulnerable package is linked, but none of its vulnerable functions."
	case Required:
		s.Status, s.Justification = vex.NotAffected, vex.NotPresent
		s.ImpactStatement = "The vulnerable package is not linked."
	default:
		s.Status, s.StatusNotes = vex.UnderInvestigation, lookedUp
		if f.Fixed != "" {
			s.ActionStatement = update
		}
	}
	return s
}

// settle adds to a finding what is said about it.
func (a *auditor) settle(f *Finding, l *looked) {
	s := statementOf(f)
	f.VEX = &VEX{
		Status: s.Status, Justification: s.Justification, Statement: cmp.Or(s.ImpactStatement, s.ActionStatement),
		Timestamp: a.at, From: "analysis", Author: a.req.Tool,
	}
	found := a.said.Find(vex.Subject{Vulnerability: append([]string{f.ID}, f.Aliases...), Image: a.purls(l), Package: f.Purl})
	if found != nil && (found.Rank > vex.ByAnalysis || found.At.After(a.at)) {
		f.VEX = &VEX{
			Status: found.Status, Justification: found.Justification, Statement: cmp.Or(found.ImpactStatement, found.ActionStatement, found.StatusNotes),
			Timestamp: found.At.UTC(), From: found.From, Author: found.Author,
		}
	}
	f.Open = f.VEX.Status != vex.NotAffected && f.VEX.Status != vex.Fixed
}

// time is the newest of what the result follows from: databases and images.
func (a *auditor) newest(images []*looked) time.Time {
	var t time.Time
	for _, d := range a.req.Databases {
		if d.Info.Date.After(t) {
			t = d.Info.Date
		}
	}
	for _, l := range images {
		if l.Created.After(t) {
			t = l.Created
		}
	}
	return t.UTC().Truncate(time.Second)
}

// VEX is what the audit says of every finding, merged with the documents that
// were given: where they speak of a finding, their word stands.
func (a *auditor) document(findings []Finding, images []*looked) (*vex.Document, error) {
	var all []vex.Statement
	taken := map[string]bool{}
	for _, g := range a.req.Statements {
		for _, s := range g.Document.Statements {
			if s.Timestamp == nil {
				at := g.Document.Timestamp
				s.Timestamp = &at
			}
			b, err := json.Marshal(s)
			if err != nil {
				return nil, err
			}
			if !taken[string(b)] {
				taken[string(b)] = true
				all = append(all, s)
			}
		}
	}
	for i := range findings {
		f := &findings[i]
		if f.VEX.From != "analysis" && slices.ContainsFunc(a.req.Statements, func(g Given) bool { return g.Name == f.VEX.From }) {
			continue
		}
		s := statementOf(f)
		if f.VEX.From != "analysis" { // an attestation's word stands too
			s.Status, s.Justification, s.StatusNotes = f.VEX.Status, f.VEX.Justification, "As "+f.VEX.Author+" said before."
			s.ImpactStatement, s.ActionStatement = f.VEX.Statement, ""
			if s.Status == vex.Affected {
				s.ImpactStatement, s.ActionStatement = "", f.VEX.Statement
			}
			at := f.VEX.Timestamp
			s.Timestamp = &at
		}
		s.Products = a.products(images, f.Archs, f.Purl)
		all = append(all, s)
	}
	fixed, err := a.fixedByBumps(images)
	if err != nil {
		return nil, err
	}
	all = append(all, fixed...)
	return vex.New("etcdimg", a.req.Tool, a.at, all)
}

// products are the index and the images of some architectures, with the part
// that a statement is about.
func (a *auditor) products(images []*looked, archs []string, part string) []vex.Product {
	var names []string
	if a.report.IsIndex() {
		names = append(names, a.result.Purl)
	}
	for _, l := range images {
		if slices.Contains(archs, l.Arch) {
			names = append(names, imagePurl(a.name, l.Digest, l.Arch))
		}
	}
	var all []vex.Product
	for _, n := range names {
		p := vex.Product{Component: vex.Component{ID: n, Identifiers: map[string]string{"purl": n}}}
		if part != "" {
			p.Subcomponents = []vex.Component{{ID: part, Identifiers: map[string]string{"purl": part}}}
		}
		all = append(all, p)
	}
	return all
}

// fixedByBumps says of modules that the profile raised above what etcd pins
// which vulnerabilities the raised versions are right about.
func (a *auditor) fixedByBumps(images []*looked) ([]vex.Statement, error) {
	if a.report.Made == nil {
		return nil, nil
	}
	var all []vex.Statement
	for _, p := range a.result.Packages {
		version, ok := a.report.Made.Bumps[p.Name]
		if p.Kind != GoModule || !ok || version != p.Version {
			continue
		}
		seen := map[string]bool{}
		for _, d := range a.req.Databases {
			records, err := d.For("Go", p.Name)
			if err != nil {
				return nil, err
			}
			for _, r := range records {
				if seen[r.ID] || !strings.HasPrefix(r.ID, goRecords) || !fixedBy(r, p.Name, p.Version) {
					continue
				}
				seen[r.ID] = true
				f := Finding{}
				f.tell(r, nil)
				all = append(all, vex.Statement{
					Vulnerability: vex.Vulnerability{ID: f.URL, Name: f.ID, Description: f.Summary, Aliases: f.Aliases},
					Products:      a.products(images, p.Archs, p.Purl), Status: vex.Fixed, StatusNotes: notes,
					ImpactStatement: fmt.Sprintf("The profile raises %s to %s, which has the fix.", p.Name, p.Version),
				})
			}
		}
	}
	return all, nil
}

// fixedBy says whether a version has the fix of a vulnerability that the module
// had before.
func fixedBy(r *osv.Record, module, version string) bool {
	had := false
	for _, part := range r.Of("Go", module) {
		if in, _ := part.Has(version, compareModules); in {
			return false
		}
		for _, rg := range part.Ranges {
			for _, e := range rg.Events {
				had = had || e.Fixed != "" && compareModules(e.Fixed, version) <= 0
			}
		}
	}
	return had
}
