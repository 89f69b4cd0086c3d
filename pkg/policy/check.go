package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/sign"
)

// Check adds to what was found about an image what the policy finds wrong with
// it. created tells when the newest input of an image was made; now is what
// ages are counted from.
func (p *Policy) Check(found []sign.Checked, created map[v1.Hash]time.Time, now time.Time) error {
	for i := range found {
		c := &found[i]
		checkPredicates(c)
		for _, name := range p.Attestations {
			if err := p.attestation(c, name); err != nil {
				return err
			}
		}
		if err := p.age(c, created, now); err != nil {
			return err
		}
		p.licences(c)
		p.bases(c)
	}
	return nil
}

// CheckPredicates holds every predicate against its format, as a policy that
// asks for nothing does.
func CheckPredicates(found []sign.Checked) {
	for i := range found {
		checkPredicates(&found[i])
	}
}

func checkPredicates(c *sign.Checked) {
	for _, a := range c.Attestations {
		if err := CheckPredicate(a.PredicateType, a.Predicate); err != nil {
			failed(c, "predicate", "what "+a.PredicateType+" stands for", err.Error())
		}
	}
}

func failed(c *sign.Checked, check, expected, found string) {
	c.Failures = append(c.Failures, &sign.Failure{Check: check, Digest: c.Subject.Digest.String(), Expected: expected, Found: found})
}

func (p *Policy) attestation(c *sign.Checked, name string) error {
	uri, err := PredicateType(name)
	if err != nil {
		return err
	}
	var there []string
	for _, a := range c.Attestations {
		if a.PredicateType == uri || Name(a.PredicateType) == name {
			return nil
		}
		there = append(there, Name(a.PredicateType))
	}
	found := "none"
	if len(there) > 0 {
		found = strings.Join(there, ", ")
	}
	for _, o := range c.Others {
		if strings.HasPrefix(o, "an attestation") || strings.HasPrefix(o, "a bundle") {
			found += "; " + o
		}
	}
	failed(c, "attestation", name+" ("+uri+") by somebody who counts", found)
	return nil
}

func (p *Policy) age(c *sign.Checked, created map[v1.Hash]time.Time, now time.Time) error {
	t, ok := created[c.Subject.Digest]
	if p.MaxAge == "" || !ok {
		return nil
	}
	limit, err := age(p.MaxAge)
	if err != nil {
		return err
	}
	if old := now.Sub(t); old > limit {
		failed(c, "age", "at most "+p.MaxAge, fmt.Sprintf("%dd: its newest input is of %s", int(old.Hours()/24), t.UTC().Format(time.DateOnly)))
	}
	return nil
}

// unnamed are SPDX's words for a licence that is not told.
var unnamed = []string{"", "NOASSERTION", "NONE"}

func (p *Policy) licences(c *sign.Checked) {
	if p.Licences == nil {
		return
	}
	n := 0
	for _, a := range c.Attestations {
		if Name(a.PredicateType) != "spdxjson" {
			continue
		}
		var d spdx
		if json.Unmarshal(a.Predicate, &d) != nil {
			continue // checkPredicates says so
		}
		n++
		for _, pkg := range d.Packages {
			// The image as a whole is not under a licence of its own.
			if slices.Contains([]string{"CONTAINER", "OPERATING-SYSTEM"}, pkg.Purpose) {
				continue
			}
			p.licence(c, strings.TrimSpace(pkg.Name+" "+pkg.VersionInfo), pkg.LicenseConcluded, pkg.LicenseDeclared)
		}
	}
	if n == 0 {
		failed(c, "licences", "an SBOM (spdxjson) by somebody who counts", "none")
	}
}

func (p *Policy) licence(c *sign.Checked, pkg, concluded, declared string) {
	expression := concluded
	if slices.Contains(unnamed, expression) {
		expression = declared
	}
	if slices.Contains(unnamed, expression) {
		if !p.Licences.Unknown {
			failed(c, "licence of "+pkg, "one that is known", "none")
		}
		return
	}
	ok, err := p.Licences.Permits(expression)
	switch {
	case err != nil:
		failed(c, "licence of "+pkg, "an SPDX expression", err.Error())
	case !ok:
		failed(c, "licence of "+pkg, p.Licences.Wanted(), expression)
	}
}

// Wanted is what the licences ask for, in words.
func (l *Licences) Wanted() string {
	var parts []string
	if len(l.Allow) > 0 {
		parts = append(parts, "one of "+strings.Join(l.Allow, ", "))
	}
	if len(l.Deny) > 0 {
		parts = append(parts, "none of "+strings.Join(l.Deny, ", "))
	}
	return strings.Join(parts, " and ")
}

func (p *Policy) bases(c *sign.Checked) {
	if len(p.Bases) == 0 {
		return
	}
	n := 0
	for _, a := range c.Attestations {
		if Name(a.PredicateType) != "slsaprovenance1" {
			continue
		}
		var d provenance
		if json.Unmarshal(a.Predicate, &d) != nil || d.BuildDefinition == nil || d.BuildDefinition.ExternalParameters == nil || d.BuildDefinition.ExternalParameters.Profile == nil {
			continue
		}
		n++
		for _, repository := range d.BuildDefinition.ExternalParameters.Profile.Contents.Repositories {
			f := strings.Fields(repository)
			if len(f) < 2 || !slices.ContainsFunc(p.Bases, func(b string) bool { return b == f[1] || b == f[0]+" "+f[1] }) {
				failed(c, "base", strings.Join(p.Bases, " or "), repository)
			}
		}
	}
	if n == 0 {
		failed(c, "base", "etcdimg's provenance by somebody who counts", "none")
	}
}
