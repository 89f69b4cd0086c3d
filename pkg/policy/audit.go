package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Vulnerabilities are limits for what is known to be wrong with what is in the
// image. What a VEX statement settles does not count.
type Vulnerabilities struct {
	// FailAt is the severity from which on a finding breaks the policy: critical,
	// high, medium, low or negligible.
	FailAt string `json:"fail-at,omitempty"`
	// Unknown is the severity that one without any counts as; high if it is not
	// said. Go's database tells none.
	Unknown string `json:"unknown,omitempty"`
	// Reach are the reaches that count: called, imported, required, package. Of
	// Go modules those that are called if it is not said, and Debian packages.
	Reach []string `json:"reach,omitempty"`
	// Fixable lets only those count that a version is known for that is right.
	Fixable bool `json:"fixable,omitempty"`
	// MaxDatabaseAge is how old the database may be: 168h, 7d.
	MaxDatabaseAge string `json:"max-database-age,omitempty"`
}

// Packages are names, as the SBOM has them; * stands for anything but a slash.
type Packages struct {
	Forbid []string `json:"forbid,omitempty"`
}

// Files are rules for what is in the image's file system.
type Files struct {
	NoShell         bool     `json:"no-shell,omitempty"`          // no program that is a shell
	NoSetuid        bool     `json:"no-setuid,omitempty"`         // no file with the setuid or setgid bit
	NoWorldWritable bool     `json:"no-world-writable,omitempty"` // nothing that everybody may write to, sticky directories aside
	Allow           []string `json:"allow,omitempty"`             // paths that the rules are not for; * stands for anything but a slash
}

// Inputs are rules for what the image was made of. They need etcdimg's
// provenance and an SBOM.
type Inputs struct {
	// Signed wants every input pinned and vouched for: no suite of Debian's
	// that could not be verified, and a checksum of every Go module and every
	// Debian package.
	Signed bool `json:"signed,omitempty"`
}

// Exception lets something pass that a rule is against, until a day.
type Exception struct {
	Rule    string `json:"rule"`    // severity, licences, …: as breaks name it
	Subject string `json:"subject"` // as breaks name it; * stands for anything but a slash
	Reason  string `json:"reason"`
	Expires string `json:"expires"` // 2026-12-31, the last day that it holds, in UTC
	Line    int    `json:"-"`       // in the policy
}

// Severities are the words for how bad something is, worst first.
func Severities() []string { return []string{"critical", "high", "medium", "low", "negligible"} }

// Fields are what a policy can want of every package in an SBOM.
func Fields() []string { return []string{"version", "licence", "supplier", "origin", "digest"} }

// AuditRules are the rules of an audit, as breaks and exceptions name them.
func AuditRules() []string {
	return []string{"vulnerabilities", "database", "licences", "packages", "shell", "setuid", "world-writable", "user", "sbom", "age", "inputs", "signatures", "attestations", "bases"}
}

var reaches = []string{"called", "imported", "required", "package"}

// Counts says whether a finding is one that the limits are for, and what its
// severity counts as.
func (v *Vulnerabilities) Counts(severity, reach string, fixable bool) (as string, counts bool) {
	as = severity
	if !slices.Contains(Severities(), as) {
		if as = v.Unknown; as == "" {
			as = "high"
		}
	}
	want := v.Reach
	if len(want) == 0 {
		want = []string{"called", "package"}
	}
	limit := slices.Index(Severities(), v.FailAt)
	return as, slices.Contains(want, reach) && (fixable || !v.Fixable) && slices.Index(Severities(), as) <= limit
}

// DatabaseAge is how old a database may be; 0 for any age.
func (v *Vulnerabilities) DatabaseAge() time.Duration {
	if v.MaxDatabaseAge == "" {
		return 0
	}
	d, _ := age(v.MaxDatabaseAge) // check has seen that it is one
	return d
}

// ParseAge reads how old something may be: 720h, 30d.
func ParseAge(s string) (time.Duration, error) { return age(s) }

// Covers says whether the exception is for a break of a rule.
func (e *Exception) Covers(rule string, subjects ...string) bool {
	return e.Rule == rule && slices.ContainsFunc(subjects, func(s string) bool { return glob(e.Subject, s) })
}

// Expired says whether the exception's last day is over.
func (e *Exception) Expired(now time.Time) bool {
	last, err := time.Parse(time.DateOnly, e.Expires)
	return err != nil || !now.Before(last.AddDate(0, 0, 1))
}

// Allowed says whether the rules for files are not for a path.
func (f *Files) Allowed(p string) bool {
	return slices.ContainsFunc(f.Allow, func(a string) bool { return glob(a, p) })
}

// Forbidden is the pattern that forbids a package; empty for none.
func (p *Packages) Forbidden(name string) string {
	i := slices.IndexFunc(p.Forbid, func(f string) bool { return glob(f, name) })
	if i < 0 {
		return ""
	}
	return p.Forbid[i]
}

func glob(pattern, s string) bool {
	ok, err := path.Match(pattern, s)
	return err == nil && ok || pattern == s
}

// checkAudit finds what the rules of an audit have that nobody could hold to.
func (p *Policy) checkAudit() []error {
	var errs []error
	wrong := func(key, format string, args ...any) {
		errs = append(errs, p.at(key, fmt.Errorf(format, args...)))
	}
	oneOf := func(key, value string, words []string) {
		if value != "" && !slices.Contains(words, value) {
			wrong(key, "%q is none of %s", value, strings.Join(words, ", "))
		}
	}
	patterns := func(key string, all []string) {
		for i, s := range all {
			if _, err := path.Match(s, ""); err != nil {
				wrong(fmt.Sprintf("%s[%d]", key, i), "%q is no pattern: %w", s, err)
			}
		}
	}
	if v := p.Vulnerabilities; v != nil {
		oneOf("vulnerabilities.fail-at", v.FailAt, Severities())
		oneOf("vulnerabilities.unknown", v.Unknown, Severities())
		for i, r := range v.Reach {
			oneOf(fmt.Sprintf("vulnerabilities.reach[%d]", i), r, reaches)
		}
		if v.FailAt == "" && (v.Unknown != "" || len(v.Reach) > 0 || v.Fixable) {
			wrong("vulnerabilities", "without fail-at nothing can break it: say from which severity on: %s", strings.Join(Severities(), ", "))
		}
		if v.MaxDatabaseAge != "" {
			if _, err := age(v.MaxDatabaseAge); err != nil {
				wrong("vulnerabilities.max-database-age", "%q is no duration: want 168h or 7d", v.MaxDatabaseAge)
			}
		}
	}
	if p.Packages != nil {
		patterns("packages.forbid", p.Packages.Forbid)
	}
	if p.Files != nil {
		patterns("files.allow", p.Files.Allow)
	}
	for i, f := range p.SBOM {
		oneOf(fmt.Sprintf("sbom[%d]", i), f, Fields())
	}
	for i := range p.Exceptions {
		e := &p.Exceptions[i]
		key := fmt.Sprintf("exceptions[%d]", i)
		e.Line = p.Line(key)
		oneOf(key+".rule", e.Rule, AuditRules())
		patterns(key+".subject", []string{e.Subject})
		for _, f := range []struct{ name, value string }{{"rule", e.Rule}, {"subject", e.Subject}, {"reason", e.Reason}, {"expires", e.Expires}} {
			if strings.TrimSpace(f.value) == "" {
				wrong(key, "%s is missing: an exception has a rule, a subject, a reason and a day on which it expires", f.name)
			}
		}
		if e.Expires != "" {
			if _, err := time.Parse(time.DateOnly, e.Expires); err != nil {
				wrong(key+".expires", "%q is no day: want 2026-12-31", e.Expires)
			}
		}
	}
	return errs
}
