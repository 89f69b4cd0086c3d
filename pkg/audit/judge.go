package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/policy"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

// judge holds the result against the policy.
func (a *auditor) judge(images []*looked) error {
	p := a.req.Policy
	if p == nil {
		return nil
	}
	j := &judgement{auditor: a, p: p, out: &Policy{Source: a.req.PolicyFile, Rules: []string{}, Breaks: []Break{}}}
	a.result.Policy = j.out
	for _, rule := range []struct {
		name  string
		asked bool
		hold  func() error
	}{
		{"vulnerabilities", p.Vulnerabilities != nil && p.Vulnerabilities.FailAt != "", j.vulnerabilities},
		{"database", p.Vulnerabilities != nil && p.Vulnerabilities.MaxDatabaseAge != "", j.database},
		{"licences", p.Licences != nil, j.licences},
		{"packages", p.Packages != nil, j.packages},
		{"shell", p.Files != nil && p.Files.NoShell, j.risk("shell", Shell, "no shell")},
		{"setuid", p.Files != nil && p.Files.NoSetuid, j.risk("setuid", Setuid, "no setuid or setgid bit")},
		{"world-writable", p.Files != nil && p.Files.NoWorldWritable, j.risk("world-writable", WorldWritable, "nothing that everybody may write to")},
		{"user", p.NoRoot, j.risk("user", RootUser, "another user than root")},
		{"sbom", len(p.SBOM) > 0, j.sbom},
		{"age", p.MaxAge != "", j.age},
		{"inputs", p.Inputs != nil && p.Inputs.Signed, j.inputs},
		{"signatures", len(p.Keys)+len(p.Identities) > 0, j.signatures},
		{"attestations", len(p.Attestations) > 0, j.signatures},
		{"bases", len(p.Bases) > 0, j.signatures},
	} {
		if !rule.asked {
			continue
		}
		j.out.Rules = append(j.out.Rules, rule.name)
		j.rule = rule.name
		if err := rule.hold(); err != nil {
			return err
		}
	}
	j.out.Breaks = foldBreaks(j.out.Breaks)
	j.out.Broken = slices.ContainsFunc(j.out.Breaks, func(b Break) bool { return b.Exception == nil || b.Exception.Expired })
	return nil
}

// judgement is a policy that is being held against a result.
type judgement struct {
	*auditor
	p    *policy.Policy
	out  *Policy
	rule string
}

// breaks says that the rule does not hold. names are what an exception may call
// the subject.
func (j *judgement) breaks(b Break, names ...string) *Exception {
	b.Rule = j.rule
	b.Exception = j.exception(append(names, b.Subject)...)
	j.out.Breaks = append(j.out.Breaks, b)
	return b.Exception
}

// exception is the one that covers a subject; one that holds before one that
// has expired.
func (j *judgement) exception(subjects ...string) *Exception {
	var found *Exception
	for _, e := range j.p.Exceptions {
		if !e.Covers(j.rule, subjects...) {
			continue
		}
		one := &Exception{Reason: e.Reason, Expires: e.Expires, Expired: e.Expired(j.req.Now), Line: e.Line}
		if found == nil || found.Expired && !one.Expired {
			found = one
		}
	}
	return found
}

func (j *judgement) vulnerabilities() error {
	v := j.p.Vulnerabilities
	if len(j.req.Databases) == 0 {
		return fmt.Errorf("the policy %s has limits for vulnerabilities, but no database was given: add one with --db", j.req.PolicyFile)
	}
	for i := range j.result.Findings {
		f := &j.result.Findings[i]
		as, counts := v.Counts(string(f.Severity), string(f.Reachability), f.Fixed != "")
		// Whoever asks for what is not called either does not want to be told
		// that it is not called.
		settled := f.VEX != nil && !f.Open && f.VEX.From != "analysis"
		if !counts || settled {
			continue
		}
		found := fmt.Sprintf("%s, %s in %s %s", as, f.Reachability, f.Package, f.Installed)
		if f.Severity == Unknown {
			found = "unknown severity, which counts as " + found
		}
		e := j.breaks(Break{
			Digest: j.result.Digest, Archs: f.Archs, Subject: f.ID, Expected: "below " + v.FailAt, Found: found, Line: j.p.Line("vulnerabilities.fail-at"),
		}, append([]string{f.ID + " " + f.Package, f.Package}, f.Aliases...)...)
		if e != nil {
			f.Exception = e
			if !e.Expired {
				f.Open = false
			}
		}
	}
	return nil
}

func (j *judgement) database() error {
	for _, d := range j.result.Databases {
		if err := CheckDatabaseAge([]Database{d}, j.p.Vulnerabilities.MaxDatabaseAge, j.req.Now); err != nil {
			j.breaks(Break{
				Digest: j.result.Digest, Subject: d.Source, Expected: "at most " + j.p.Vulnerabilities.MaxDatabaseAge + " old",
				Found: "of " + d.Date.Format("2006-01-02"), Line: j.p.Line("vulnerabilities.max-database-age"),
			})
		}
	}
	return nil
}

// parts are the packages with their name and version in one word.
func (j *judgement) parts(each func(p *Package, subject string)) {
	for i := range j.result.Packages {
		p := &j.result.Packages[i]
		each(p, strings.TrimSpace(p.Name+" "+p.Version))
	}
}

func (j *judgement) licences() error {
	l := j.p.Licences
	j.parts(func(p *Package, subject string) {
		b := Break{Digest: j.result.Digest, Archs: p.Archs, Subject: subject, Expected: l.Wanted(), Found: p.Licence, Line: j.p.Line("licences")}
		if p.Licence == "" {
			if !l.Unknown {
				b.Expected, b.Found = "a known licence", "none"
				j.breaks(b, p.Name)
			}
			return
		}
		switch ok, err := l.Permits(p.Licence); {
		case err != nil:
			b.Expected, b.Found = "an SPDX expression", err.Error()
			j.breaks(b, p.Name)
		case !ok:
			j.breaks(b, p.Name)
		}
	})
	return nil
}

func (j *judgement) packages() error {
	j.parts(func(p *Package, subject string) {
		if pattern := j.p.Packages.Forbidden(p.Name); pattern != "" {
			j.breaks(Break{Digest: j.result.Digest, Archs: p.Archs, Subject: subject, Expected: "no " + pattern, Found: "it is in the image", Line: j.p.Line("packages.forbid")}, p.Name)
		}
	})
	return nil
}

func (j *judgement) risk(rule string, kind RiskKind, expected string) func() error {
	line := map[string]string{"shell": "files.no-shell", "setuid": "files.no-setuid", "world-writable": "files.no-world-writable", "user": "no-root"}
	return func() error {
		for _, i := range j.result.Images {
			for _, r := range i.Risks {
				if r.Kind != kind || r.Path != "" && j.p.Files.Allowed(r.Path) {
					continue
				}
				j.breaks(Break{Digest: i.Digest, Archs: []string{i.Arch}, Subject: cmp.Or(r.Path, "user"), Expected: expected, Found: r.Detail, Line: j.p.Line(line[rule])})
			}
		}
		return nil
	}
}

func (j *judgement) sbom() error {
	j.parts(func(p *Package, subject string) {
		has := map[string]bool{"version": p.Version != "", "licence": p.Licence != "", "supplier": p.Supplier != "", "origin": p.Origin != "", "digest": len(p.Digests) > 0}
		var missing []string
		for _, f := range j.p.SBOM {
			if !has[f] {
				missing = append(missing, f)
			}
		}
		if len(missing) > 0 {
			j.breaks(Break{Digest: j.result.Digest, Archs: p.Archs, Subject: subject, Expected: strings.Join(j.p.SBOM, ", "), Found: "without " + strings.Join(missing, ", "), Line: j.p.Line("sbom")}, p.Name)
		}
	})
	return nil
}

func (j *judgement) age() error {
	most, err := policy.ParseAge(j.p.MaxAge)
	if err != nil {
		return err
	}
	for _, i := range j.result.Images {
		if old := j.req.Now.Sub(i.Created); old > most {
			j.breaks(Break{
				Digest: i.Digest, Archs: []string{i.Arch}, Subject: "image", Expected: "at most " + j.p.MaxAge,
				Found: fmt.Sprintf("%dd: its newest input is of %s", int(old.Hours()/24), i.Created.Format("2006-01-02")), Line: j.p.Line("max-age"),
			})
		}
	}
	return nil
}

// ownModule is etcdimg's: its programs are compiled from where etcdimg itself
// is from, and provenance names that.
const ownModule = "github.com/etcdimg/etcdimg"

func (j *judgement) inputs() error {
	line := j.p.Line("inputs.signed")
	if j.result.Provenance == nil {
		j.breaks(Break{Digest: j.result.Digest, Subject: "provenance", Expected: "etcdimg's provenance", Found: "none", Line: line})
		return nil
	}
	for _, s := range j.result.Provenance.Skipped {
		j.breaks(Break{Digest: j.result.Digest, Subject: s, Expected: "a suite whose signature was verified", Found: "it could not be verified, and was left out", Line: line})
	}
	j.parts(func(p *Package, subject string) {
		if (p.Kind == GoModule || p.Kind == Debian) && len(p.Digests) == 0 && p.Name != ownModule {
			j.breaks(Break{Digest: j.result.Digest, Archs: p.Archs, Subject: subject, Expected: "a checksum that was verified", Found: "none", Line: line}, p.Name)
		}
	})
	return nil
}

// signatures takes over what pkg/policy's own rules find, as verify does.
func (j *judgement) signatures() error {
	if slices.ContainsFunc(j.out.Breaks, func(b Break) bool { return slices.Contains(signing, b.Rule) }) {
		return nil // all of them are found at once
	}
	if j.req.Checked == nil {
		j.breaks(Break{Digest: j.result.Digest, Subject: j.result.Digest, Expected: "signatures that could be checked", Found: "nobody's key was given: use --key, or keys in the policy", Line: j.p.Line(j.rule)})
		return nil
	}
	asked := &policy.Policy{Attestations: j.p.Attestations, Bases: j.p.Bases}
	checked := make([]sign.Checked, len(j.req.Checked))
	for i, c := range j.req.Checked {
		c.Failures = slices.Clone(c.Failures)
		checked[i] = c
	}
	if err := asked.Check(checked, nil, j.req.Now); err != nil {
		return err
	}
	rule := j.rule
	archs := map[string][]string{}
	for _, i := range j.result.Images {
		archs[i.Digest] = []string{i.Arch}
	}
	for _, c := range checked {
		for _, f := range c.Failures {
			j.rule = "signatures"
			switch f.Check {
			case "attestation", "predicate":
				j.rule = "attestations"
			case "base":
				j.rule = "bases"
			}
			j.breaks(Break{Digest: f.Digest, Archs: archs[f.Digest], Subject: f.Check, Expected: f.Expected, Found: f.Found, Line: j.p.Line(j.rule)}, f.Digest)
		}
	}
	j.rule = rule
	return nil
}

var signing = []string{"signatures", "attestations", "bases"}

// foldBreaks puts breaks together that images of several architectures have
// alike.
func foldBreaks(all []Break) []Break {
	type key struct {
		rule, subject, expected, found string
	}
	at := map[key]int{}
	out := []Break{}
	for _, b := range all {
		k := key{b.Rule, b.Subject, b.Expected, b.Found}
		if i, ok := at[k]; ok && len(b.Archs) > 0 && len(out[i].Archs) > 0 {
			out[i].Archs = union(out[i].Archs, b.Archs)
			continue
		}
		at[k] = len(out)
		out = append(out, b)
	}
	return out
}
