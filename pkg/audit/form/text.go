// Package form writes the result of an audit: for people in words, for pull
// requests in Markdown, for programs in JSON, for code scanners in SARIF 2.1.0.
//
// The same result gives the same bytes. The package must not know how anything
// was found out.
package form

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/audit"
)

// JSON writes the result as it is.
func JSON(w io.Writer, r *audit.Result) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// printer keeps the first error of many writes.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// Text writes the result for people. Findings that are settled are counted; all
// of them are shown with everything.
func Text(w io.Writer, r *audit.Result, everything bool) error {
	p := &printer{w: w}
	p.f("image      %s\n", r.Reference)
	if r.Title != "" {
		p.f("title      %s\n", r.Title)
	}
	p.f("digest     %s\n", r.Digest)
	for _, i := range r.Images {
		p.f("platform   %-13s %s  packages by %s\n", i.Platform, short(i.Digest), i.SBOM)
	}
	p.f("packages   %s\n", counts(r))
	for _, d := range r.Databases {
		p.f("database   %s of %s (%s), %d records\n", d.Source, d.Date.Format(time.DateOnly), d.DateFrom, d.Records)
	}
	for _, g := range r.NotJudged {
		p.f("NOT JUDGED %s: %s\n", g.What, g.Reason)
	}
	findings(p, r, everything)
	if r.Policy != nil {
		breaks(p, r.Policy)
	}
	if s := r.Since; s != nil {
		p.f("since      %s: %d changes, %d new findings, %d gone\n", s.Reference, len(s.Changes), len(s.New), len(s.Gone))
		for _, n := range s.New {
			p.f("  new      %s\n", n)
		}
		for _, n := range s.Gone {
			p.f("  gone     %s\n", n)
		}
	}
	return p.err
}

func counts(r *audit.Result) string {
	n := map[audit.PackageKind]int{}
	for _, p := range r.Packages {
		n[p.Kind]++
	}
	var parts []string
	for _, k := range []struct {
		kind audit.PackageKind
		name string
	}{{audit.GoModule, "Go modules"}, {audit.Toolchain, "Go standard libraries"}, {audit.Debian, "Debian packages"}, {audit.OtherKind, "others"}} {
		if n[k.kind] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[k.kind], k.name))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

func findings(p *printer, r *audit.Result, everything bool) {
	if len(r.Databases) == 0 {
		return
	}
	open := 0
	settled := map[string]int{}
	for _, f := range r.Findings {
		if f.Open {
			open++
		} else {
			settled[why(f)]++
		}
		if f.Open || everything {
			finding(p, f)
		}
	}
	var rest []string
	for _, k := range sorted(settled) {
		rest = append(rest, fmt.Sprintf("%d %s", settled[k], k))
	}
	line := fmt.Sprintf("%d open", open)
	if len(rest) > 0 {
		line += ", " + strings.Join(rest, ", ")
	}
	p.f("findings   %s\n", line)
}

// why says what settles a finding.
func why(f audit.Finding) string {
	if f.Exception != nil && !f.Exception.Expired {
		return "excepted"
	}
	return strings.ReplaceAll(f.VEX.Status, "_", " ") + " (" + strings.ReplaceAll(string(f.Reachability), "package", "package level") + ")"
}

func finding(p *printer, f audit.Finding) {
	mark := "  "
	if f.Open {
		mark = "! "
	}
	p.f("%s%s %s, %s: %s %s", mark, f.ID, f.Severity, f.Reachability, f.Package, f.Installed)
	if f.Fixed != "" {
		p.f(", right in %s", f.Fixed)
	}
	p.f("\n")
	if f.Summary != "" {
		p.f("    %s\n", oneLine(f.Summary))
	}
	if len(f.Symbols) > 0 {
		p.f("    functions %s\n", few(f.Symbols, 4))
	}
	if len(f.Files) > 0 {
		p.f("    in %s (%s)\n", few(f.Files, 4), strings.Join(f.Archs, " "))
	}
	if f.VEX != nil {
		p.f("    %s", strings.ReplaceAll(f.VEX.Status, "_", " "))
		if f.VEX.Justification != "" {
			p.f(": %s", strings.ReplaceAll(f.VEX.Justification, "_", " "))
		}
		p.f(" (%s)", f.VEX.From)
		if f.VEX.Statement != "" {
			p.f(" %s", oneLine(f.VEX.Statement))
		}
		p.f("\n")
	}
	exception(p, f.Exception)
}

func exception(p *printer, e *audit.Exception) {
	switch {
	case e == nil:
	case e.Expired:
		p.f("    its exception has EXPIRED on %s: %s\n", e.Expires, e.Reason)
	default:
		p.f("    excepted until %s: %s\n", e.Expires, e.Reason)
	}
}

func breaks(p *printer, pol *audit.Policy) {
	n := 0
	for _, b := range pol.Breaks {
		if b.Exception != nil && !b.Exception.Expired {
			continue
		}
		n++
		p.f("BROKEN %s: %s", b.Rule, b.Subject)
		if len(b.Archs) > 0 {
			p.f(" (%s)", strings.Join(b.Archs, " "))
		}
		p.f(": expected %s, found %s [%s:%d]\n", b.Expected, b.Found, pol.Source, b.Line)
		exception(p, b.Exception)
	}
	p.f("policy     %s: rules %s: %d broken, %d excepted\n", pol.Source, cmp.Or(strings.Join(pol.Rules, ", "), "none"), n, len(pol.Breaks)-n)
}

func sorted(m map[string]int) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func few(all []string, most int) string {
	if len(all) > most {
		return strings.Join(all[:most], ", ") + fmt.Sprintf(" and %d more", len(all)-most)
	}
	return strings.Join(all, ", ")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func short(digest string) string {
	const hex = 12
	algorithm, sum, _ := strings.Cut(digest, ":")
	return algorithm + ":" + sum[:min(hex, len(sum))]
}
