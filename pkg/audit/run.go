package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	packageurl "github.com/anchore/packageurl-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/mod/semver"
	"golang.org/x/sync/errgroup"

	"github.com/etcdimg/etcdimg/pkg/audit/vex"
	"github.com/etcdimg/etcdimg/pkg/diff"
	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/policy"
)

// auditor is one audit that is under way.
type auditor struct {
	req    *Request
	report *inspect.Report
	result *Result
	name   string // of the image, in package URLs
	said   vex.Set
	at     time.Time // of what the result follows from
}

// compareModules orders versions of Go modules and of Go, with or without the
// letters before them.
func compareModules(a, b string) int {
	return semver.Compare("v"+strings.TrimLeft(a, "gov"), "v"+strings.TrimLeft(b, "gov"))
}

// Run audits an image or an index. A broken policy is no error: the result says
// so. The document is what the result says of its findings, as OpenVEX; nil
// where no database was given.
func Run(ctx context.Context, req Request) (*Result, *vex.Document, error) {
	a := &auditor{req: &req}
	images, programs, err := a.everything(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := a.find(ctx, images, programs); err != nil {
		return nil, nil, err
	}
	var document *vex.Document
	if len(req.Databases) > 0 {
		if document, err = a.document(a.result.Findings, images); err != nil {
			return nil, nil, err
		}
	}
	if err := a.judge(images); err != nil {
		return nil, nil, err
	}
	a.result.Findings = fold(a.result.Findings)
	a.link()
	if req.Since != nil {
		err = a.since(ctx)
	}
	return a.result, document, err
}

// everything reads the image, and starts the result.
func (a *auditor) everything(ctx context.Context) ([]*looked, [][]program, error) {
	var err error
	if a.report, err = inspect.Inspect(ctx, a.req.Source, a.req.Root); err != nil {
		return nil, nil, err
	}
	r := &Result{
		Tool: a.req.Tool, Reference: a.req.Reference, Digest: a.report.Digest, MediaType: a.report.MediaType, Title: a.report.Title(),
		Packages: []Package{}, Findings: []Finding{}, Databases: []Database{},
	}
	a.result = r
	images := make([]*looked, len(a.report.Images))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, img := range a.report.Images {
		g.Go(func() (err error) {
			images[i], err = a.look(gctx, img)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	var all []*contents
	var programs [][]program
	for _, l := range images {
		r.Images = append(r.Images, l.Image)
		all = append(all, l.contents)
		found, err := a.programs(l)
		if err != nil {
			return nil, nil, err
		}
		programs = append(programs, found)
	}
	r.Packages = append(r.Packages, combine(all)...)
	a.name = a.called(all)
	r.Purl = imagePurl(a.name, r.Digest, "")
	a.at = a.newest(images)
	about, err := a.claimsAbout(ctx, a.req.Root.Digest)
	if err != nil {
		return nil, nil, err
	}
	a.tellSaid()
	return images, programs, a.gather(images, about)
}

// called is the image's name in package URLs: its title, which etcdimg sets to
// the profile's name, its SBOM's name for it, or what it was asked for as.
func (a *auditor) called(all []*contents) string {
	if title := a.report.Annotations[ocispec.AnnotationTitle]; title != "" {
		return strings.ToLower(title)
	}
	for _, c := range all {
		if u, err := packageurl.FromString(c.purl); err == nil && u.Type == "oci" {
			return u.Name
		}
	}
	return baseName(a.req.Reference)
}

// find looks the packages up.
func (a *auditor) find(ctx context.Context, images []*looked, programs [][]program) error {
	for _, d := range a.req.Databases {
		told := Database{Source: d.Info.Source, Kind: d.Info.Kind, Date: d.Info.Date, DateFrom: d.Info.DateFrom, Digest: d.Info.Digest, Records: d.Info.Records, Ecosystems: []Ecosystem{}}
		for _, name := range slices.Sorted(maps.Keys(d.Info.Ecosystems)) {
			told.Ecosystems = append(told.Ecosystems, Ecosystem{name, d.Info.Ecosystems[name]})
		}
		a.result.Databases = append(a.result.Databases, told)
	}
	if len(a.req.Databases) == 0 {
		a.gap("vulnerabilities", "no database was given")
		return nil
	}
	all := slices.Concat(programs...)
	if err := a.coverage(all); err != nil {
		return err
	}
	hits, err := a.matchGo(ctx, all)
	if err != nil {
		return err
	}
	for i, l := range images {
		found, err := a.goFindings(l, programs[i], hits)
		if err != nil {
			return err
		}
		debs, err := a.debFindings(l)
		if err != nil {
			return err
		}
		for _, f := range append(found, debs...) {
			a.settle(&f, l)
			a.result.Findings = append(a.result.Findings, f)
		}
	}
	a.result.Findings = fold(a.result.Findings)
	return nil
}

// link tells every package which findings are about it.
func (a *auditor) link() {
	for i := range a.result.Packages {
		p := &a.result.Packages[i]
		for _, f := range a.result.Findings {
			if f.Kind == p.Kind && f.Package == p.Name && (f.Installed == p.Version || f.Kind != Debian && compareModules(f.Installed, p.Version) == 0) && !slices.Contains(p.Findings, f.ID) {
				p.Findings = append(p.Findings, f.ID)
			}
		}
		slices.Sort(p.Findings)
	}
}

// tellSaid takes over what is said about the image, and who signed it.
func (a *auditor) tellSaid() {
	r := a.result
	verified := map[string]string{} // subject and predicate type → by whom
	for _, c := range a.req.Checked {
		for _, t := range c.Attestations {
			verified[c.Subject.Digest.String()+" "+t.PredicateType] = t.By
		}
		for _, s := range c.Signatures {
			verified[c.Subject.Digest.String()+" "] = s.By
		}
	}
	for _, s := range a.report.Signatures {
		by, ok := verified[s.Subject+" "+s.PredicateType]
		r.Signatures = append(r.Signatures, Signature{
			Subject: s.Subject, Form: s.Form, PredicateType: s.PredicateType, By: cmp.Or(by, s.Identity), Verified: ok,
		})
	}
	for _, s := range a.report.Statements {
		t := cmp.Or(s.PredicateType, s.ArtifactType)
		r.Statements = append(r.Statements, Statement{Subject: s.Subject, Digest: s.Digest, Kind: policy.Name(t), Verified: verified[s.Subject+" "+t]})
	}
	if m := a.report.Made; m != nil {
		p := &Provenance{Builder: strings.TrimSpace("etcdimg " + m.Builder["etcdimg"]), Packages: len(m.Packages), Skipped: m.Skipped}
		for _, e := range m.Etcd {
			c := Compiled{Version: e.Version, Toolchain: e.Toolchain, Modules: e.Modules}
			for _, edit := range e.Edits {
				c.Edits = append(c.Edits, fmt.Sprintf("%s@%s: %s", edit.Module, edit.Version, edit.Reason))
			}
			p.Etcd = append(p.Etcd, c)
		}
		for _, i := range r.Images {
			if i.Created.After(p.Newest) {
				p.Newest = i.Created
			}
		}
		r.Provenance = p
	}
}

// since compares with an image from before, by the same databases and
// statements.
func (a *auditor) since(ctx context.Context) error {
	before := *a.req.Since
	before.Databases, before.Statements, before.Partial = a.req.Databases, a.req.Statements, true
	before.Cache, before.Now, before.Tool = a.req.Cache, a.req.Now, a.req.Tool
	before.Policy, before.Since = nil, nil
	old, _, err := Run(ctx, before)
	if err != nil {
		return fmt.Errorf("auditing %s, to compare with: %w", before.Reference, err)
	}
	changes, err := diff.Images(
		diff.Image{Source: partsOf{ctx, before.Source}, Digest: before.Root.Digest},
		diff.Image{Source: partsOf{ctx, a.req.Source}, Digest: a.req.Root.Digest}, a.req.Cache)
	if err != nil {
		return fmt.Errorf("comparing with %s: %w", before.Reference, err)
	}
	diff.Sort(changes)
	was, is := names(old.Findings), names(a.result.Findings)
	a.result.Since = &Since{
		Reference: before.Reference, Digest: old.Digest, Changes: append([]diff.Change{}, changes...),
		New: without(is, was), Gone: without(was, is),
	}
	return nil
}

func names(all []Finding) []string {
	var out []string
	for _, f := range all {
		out = append(out, f.ID+" "+f.Package)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func without(all, but []string) []string {
	var out []string
	for _, s := range all {
		if !slices.Contains(but, s) {
			out = append(out, s)
		}
	}
	return out
}

// DatabaseTooOld says that a database is older than it may be.
var ErrDatabaseTooOld = errors.New("the vulnerability database is too old")

// CheckDatabaseAge holds the dates of databases against how old they may be, in
// words: 168h, 7d; empty for any age.
func CheckDatabaseAge(r []Database, limit string, now time.Time) error {
	if limit == "" {
		return nil
	}
	most, err := policy.ParseAge(limit)
	if err != nil {
		return err
	}
	for _, d := range r {
		switch old := now.Sub(d.Date); {
		case old > most:
			return fmt.Errorf("%w: %s is of %s (%s), %d days ago; at most %s is allowed: get a newer one", ErrDatabaseTooOld, d.Source, d.Date.Format(time.DateOnly), d.DateFrom, int(old.Hours()/24), limit)
		case old < -48*time.Hour:
			return fmt.Errorf("%w to tell: %s is of %s, which is yet to come: set this machine's clock", ErrDatabaseTooOld, d.Source, d.Date.Format(time.DateOnly))
		}
	}
	return nil
}

// partsOf is where an image lies, as images are compared from it.
type partsOf struct {
	ctx context.Context
	src inspect.Source
}

func (p partsOf) Manifest(digest v1.Hash) ([]byte, error) { return p.src.Manifest(p.ctx, digest) }

func (p partsOf) Open(digest v1.Hash) (io.ReadCloser, error) { return p.src.Layer(p.ctx, digest) }
