package report

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/audit"
)

// page is what the template shows: a result with everything counted, merged
// over the architectures and put in words.
type page struct {
	Security string
	Style    template.CSS
	Script   template.JS

	*audit.Result
	Heading  string
	Archs    []string // of all images, as the index has them
	Verdict  mark
	Because  string // what the verdict is from
	Figures  []figure
	Facts    []fact
	Origin   []fact // how it was made
	Layers   layers
	Bundles  []bundle
	Kinds    []string // of packages, in words
	Findings []finding
	States   []string // of findings, to choose from
	Reaches  []legend // of the findings, explained
	Open     int
	Rules    []rule
	Breaks   []policyBreak
	Risks    []risk
	Vouched  []vouched
	Said     []vouched
	Changes  []changes
}

// mark is a state in words, with the tone that the style has for it. No two
// states say the same.
type mark struct {
	State string // for the style sheet: critical, not-affected, …
	Tone  string // bad, warn, good, info, plain
	Text  string
}

// legend explains a mark.
type legend struct {
	Mark mark
	Note string
}

// figure is one of the numbers on top.
type figure struct {
	Value, Label, Note, Tone, To string
}

// fact is a name with values; what differs between architectures has one
// value for each.
type fact struct {
	Name   string
	Values []value
}

type value struct {
	Text  string
	Code  bool
	Archs []string // empty for all
	Warn  bool
}

func newPage(r *audit.Result) *page {
	p := &page{Result: r, Heading: r.Title}
	if p.Heading == "" {
		p.Heading = r.Reference
	}
	for _, i := range r.Images {
		p.Archs = append(p.Archs, i.Arch)
	}
	p.Bundles = p.bundles()
	for _, b := range p.Bundles {
		if !slices.Contains(p.Kinds, b.Kind) {
			p.Kinds = append(p.Kinds, b.Kind)
		}
	}
	p.Findings = p.findings()
	p.States = []string{"open", "settled"}
	for _, f := range p.Findings {
		if f.Open {
			p.Open++
		}
		if l := (legend{f.Reach, f.Reached}); !slices.Contains(p.Reaches, l) {
			p.Reaches = append(p.Reaches, l)
		}
	}
	p.Rules, p.Breaks = p.policy()
	p.Risks = p.risks()
	p.Layers = p.layers()
	p.Vouched, p.Said = p.vouched(), p.said()
	p.Changes = p.changes()
	p.Facts, p.Origin = p.facts(), p.origin()
	p.Verdict, p.Because = p.verdict()
	p.Figures = p.figures()
	return p
}

// verdict is what the policy says of the image as a whole.
func (p *page) verdict() (mark, string) {
	switch {
	case p.Policy == nil:
		return mark{"no-policy", "plain", "No verdict"}, "no policy was given to hold the image against"
	case p.Policy.Broken:
		broken := 0
		for _, r := range p.Rules {
			if r.Mark.State == "broken" {
				broken++
			}
		}
		return mark{"not-allowed", "bad", "Not allowed"}, fmt.Sprintf("%d of the %s of %s broken", broken, count(len(p.Rules), "rule", "rules"), p.Policy.Source)
	}
	because := count(len(p.Policy.Rules), "rule of "+p.Policy.Source+" holds", "rules of "+p.Policy.Source+" hold")
	if n := len(p.Policy.Breaks); n > 0 {
		because += ", with " + count(n, "exception", "exceptions")
	}
	return mark{"allowed", "good", "Allowed"}, because
}

func (p *page) figures() []figure {
	open := figure{Value: fmt.Sprint(p.Open), Label: "open vulnerabilities", To: "vulnerabilities", Tone: "good"}
	if p.Open == 1 {
		open.Label = "open vulnerability"
	}
	if p.Open > 0 {
		open.Tone = "bad"
		open.Note = severities(p.Findings)
	} else if n := len(p.Findings); n > 0 {
		open.Note = count(n, "known, and settled", "known, all settled")
	}
	if len(p.Databases) == 0 {
		open = figure{Value: "?", Label: "vulnerabilities", Note: "no database was asked", To: "vulnerabilities", Tone: "warn"}
	} else if len(p.NotJudged) > 0 {
		open.Note = strings.TrimPrefix(open.Note+"; some packages not judged", "; ")
		if open.Tone == "good" {
			open.Tone = "warn"
		}
	}
	rules := figure{Value: "–", Label: "rules broken", Note: "no policy", To: "policy"}
	if p.Policy != nil {
		broken, excepted := 0, 0
		for _, b := range p.Breaks {
			if b.Mark.State == "break-excepted" {
				excepted++
			} else {
				broken++
			}
		}
		rules = figure{Value: fmt.Sprint(broken), Label: "breaks of the policy", To: "policy", Tone: "good"}
		if broken == 1 {
			rules.Label = "break of the policy"
		}
		if broken > 0 {
			rules.Tone = "bad"
		}
		if excepted > 0 {
			rules.Note = fmt.Sprintf("and %d excepted", excepted)
		}
	}
	packages := figure{Value: fmt.Sprint(len(p.Bundles)), Label: "packages", To: "packages"}
	unknown := 0
	for _, b := range p.Bundles {
		if b.Licence == "" {
			unknown++
		}
	}
	if unknown > 0 {
		packages.Note = fmt.Sprintf("%d without a known licence", unknown)
	}
	var least, most int64
	for i, image := range p.Images {
		if i == 0 || image.Size < least {
			least = image.Size
		}
		most = max(most, image.Size)
	}
	size := figure{Value: megabytes(most), Label: "compressed", To: "layers"}
	if len(p.Images) > 1 {
		size.Note = fmt.Sprintf("at most; the smallest of %d has %s", len(p.Images), megabytes(least))
	}
	signed := figure{Value: "0", Label: "verified signatures", To: "signatures", Tone: "warn", Note: "none was found"}
	verified := 0
	for _, s := range p.Signatures {
		if s.Verified {
			verified++
		}
	}
	if len(p.Signatures) > 0 {
		signed.Value = fmt.Sprint(verified)
		signed.Note = fmt.Sprintf("of %d found", len(p.Signatures))
		if verified == len(p.Signatures) {
			signed.Tone = "good"
		}
	}
	if verified == 1 {
		signed.Label = "verified signature"
	}
	return []figure{open, rules, signed, packages, size}
}

// facts is what the image is.
func (p *page) facts() []fact {
	all := []fact{
		{"Reference", []value{{Text: p.Reference, Code: true}}},
		{"Digest", []value{{Text: p.Digest, Code: true}}},
		{"Architectures", []value{{Text: strings.Join(p.Archs, ", ")}}},
	}
	each := func(name string, code bool, of func(audit.Image) string) {
		if f := (fact{name, p.perArch(code, of)}); len(f.Values) > 0 {
			all = append(all, f)
		}
	}
	if p.Provenance != nil {
		var versions []string
		for _, c := range p.Provenance.Etcd {
			versions = append(versions, c.Version)
		}
		if len(versions) > 0 {
			all = append(all, fact{"etcd", []value{{Text: strings.Join(versions, ", ")}}})
		}
	}
	all = append(all, p.base())
	each("User", true, func(i audit.Image) string {
		if i.User == "" {
			return "root (none is set)"
		}
		return i.User
	})
	each("Entrypoint", true, func(i audit.Image) string { return words(i.Entrypoint) })
	each("Command", true, func(i audit.Image) string { return words(i.Cmd) })
	each("Working directory", true, func(i audit.Image) string { return i.WorkDir })
	each("Ports", true, func(i audit.Image) string { return strings.Join(i.Ports, ", ") })
	each("Volumes", true, func(i audit.Image) string { return strings.Join(i.Volumes, ", ") })
	each("Newest input", false, func(i audit.Image) string { return moment(i.Created) })
	each("Packages known from", false, func(i audit.Image) string { return inventory(i.SBOM) })
	return all
}

// base tells the Debian packages and when they are from.
func (p *page) base() fact {
	n := 0
	for _, b := range p.Bundles {
		if b.kind == audit.Debian {
			n++
		}
	}
	text := "no Debian packages"
	if n > 0 {
		text = count(n, "Debian package", "Debian packages")
		if p.Provenance != nil && p.Provenance.Snapshot != "" {
			text += ", from the archive as of " + snapshot(p.Provenance.Snapshot)
		}
	}
	return fact{"Base", []value{{Text: text}}}
}

// origin is how the image was made.
func (p *page) origin() []fact {
	m := p.Provenance
	if m == nil {
		return nil
	}
	all := []fact{{"Builder", []value{{Text: m.Builder}}}}
	for _, c := range m.Etcd {
		how := "binaries of the official release"
		if c.Toolchain != "" {
			how = "compiled with " + c.Toolchain
			if c.Modules > 0 {
				how += " from " + count(c.Modules, "module", "modules")
			}
		}
		f := fact{"etcd " + c.Version, []value{{Text: how}}}
		for _, e := range c.Edits {
			f.Values = append(f.Values, value{Text: "edited: " + e})
		}
		all = append(all, f)
	}
	if m.Packages > 0 {
		f := fact{"Debian packages", []value{{Text: fmt.Sprint(m.Packages)}}}
		if m.Snapshot != "" {
			f.Values[0].Text += ", from the archive as of " + snapshot(m.Snapshot)
		}
		all = append(all, f)
	}
	for _, s := range m.Skipped {
		all = append(all, fact{"Not verified", []value{{Text: s, Warn: true}}})
	}
	if !m.Newest.IsZero() {
		all = append(all, fact{"Newest input", []value{{Text: moment(m.Newest)}}})
	}
	return all
}

// perArch collects what is told of each image; what all have is told once.
func (p *page) perArch(code bool, of func(audit.Image) string) []value {
	var all []value
	for _, i := range p.Images {
		text := of(i)
		if text == "" {
			text = "none"
		}
		at := slices.IndexFunc(all, func(v value) bool { return v.Text == text })
		if at < 0 {
			at = len(all)
			all = append(all, value{Text: text, Code: code && text != "none"})
		}
		all[at].Archs = append(all[at].Archs, i.Arch)
	}
	if len(all) == 1 {
		all[0].Archs = nil
		if all[0].Text == "none" {
			return nil
		}
	}
	return all
}

// everywhere leaves architectures out where all are meant.
func (p *page) everywhere(archs []string) bool {
	for _, a := range p.Archs {
		if !slices.Contains(archs, a) {
			return false
		}
	}
	return true
}

// subject names a digest of the image.
func (p *page) subject(digest string) string {
	if digest == p.Digest && len(p.Images) != 1 {
		return "index"
	}
	for _, i := range p.Images {
		if i.Digest == digest {
			return i.Arch
		}
	}
	if digest == p.Digest {
		return "index"
	}
	return short(digest)
}

func functions() template.FuncMap {
	return template.FuncMap{
		"short": short, "megabytes": megabytes, "moment": moment, "date": date, "join": func(s []string) string { return strings.Join(s, ", ") },
		"count": count, "dict": dict,
	}
}

// dict makes the argument of a template of several named values.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict needs pairs, got %d values", len(pairs))
	}
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// short is enough of a digest to tell it from others.
func short(digest string) string {
	algorithm, sum, ok := strings.Cut(digest, ":")
	if !ok || len(sum) <= 10 {
		return digest
	}
	return algorithm + ":" + sum[:10] + "…"
}

// megabytes is a size as etcdimg tells it everywhere.
func megabytes(n int64) string {
	if n < 100_000 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

func date(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	return t.UTC().Format("2006-01-02")
}

// snapshot reads the name of a snapshot of Debian's archive.
func snapshot(s string) string {
	t, err := time.Parse("20060102T150405Z", s)
	if err != nil {
		return s
	}
	return moment(t)
}

func inventory(from string) string {
	switch from {
	case "referrer":
		return "the SBOM that goes with the image"
	case "attestation":
		return "the SBOM that is signed with the image"
	case "scan":
		return "a scan of its files: it has no SBOM"
	}
	return from
}

// words is a command line; an argument that a shell would take apart is quoted.
func words(argv []string) string {
	var all []string
	for _, a := range argv {
		if a == "" || strings.ContainsAny(a, " \t\n\"'$`\\") {
			a = fmt.Sprintf("%q", a)
		}
		all = append(all, a)
	}
	return strings.Join(all, " ")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
