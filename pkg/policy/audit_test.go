package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/policy"
)

func TestWrongAuditRulesAreRefusedWithTheirLine(t *testing.T) {
	for _, tt := range []struct{ yaml, want string }{
		{"vulnerabilities:\n  fail-at: bad", `line 2: vulnerabilities.fail-at: "bad" is none of critical, high, medium, low, negligible`},
		{"vulnerabilities:\n  fail-at: high\n  reach: [called, near]", `line 3: vulnerabilities.reach[1]: "near" is none of called, imported, required, package`},
		{"vulnerabilities: {unknown: low}", "line 1: vulnerabilities: without fail-at nothing can break it"},
		{"vulnerabilities: {max-database-age: old}", `line 1: vulnerabilities.max-database-age: "old" is no duration`},
		{"\npackages: {forbid: ['a[']}", `line 2: packages.forbid[0]: "a[" is no pattern`},
		{"files: {allow: ['[']}", `line 1: files.allow[0]`},
		{"files: {no-shel: true}", `line 1: error unmarshaling JSON`},
		{"sbom: [version, colour]", `line 1: sbom[1]: "colour" is none of version, licence, supplier, origin, digest`},
		{"exceptions:\n- {rule: x, subject: a, reason: b, expires: 2026-01-01}", `line 2: exceptions[0].rule: "x" is none of vulnerabilities`},
		{"exceptions:\n- rule: age\n  subject: a\n  reason: b\n  expires: soon", `line 5: exceptions[0].expires: "soon" is no day`},
		{"exceptions:\n- {rule: age, subject: a, expires: 2026-01-01}", `line 2: exceptions[0]: reason is missing`},
		{"exceptions:\n- {rule: age, subject: a, reason: b}", `line 2: exceptions[0]: expires is missing`},
	} {
		if _, err := load(t, tt.yaml); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.yaml, err, tt.want)
		}
	}
}

func TestWhichFindingsCount(t *testing.T) {
	for _, tt := range []struct {
		yaml, severity, reach string
		fixable               bool
		as                    string
		counts                bool
	}{
		{"{fail-at: high}", "critical", "called", true, "critical", true},
		{"{fail-at: high}", "high", "package", false, "high", true},
		{"{fail-at: high}", "medium", "called", true, "medium", false},
		{"{fail-at: high}", "unknown", "called", true, "high", true},
		{"{fail-at: high, unknown: low}", "unknown", "called", true, "low", false},
		{"{fail-at: negligible}", "negligible", "called", true, "negligible", true},
		{"{fail-at: high}", "critical", "imported", true, "critical", false},
		{"{fail-at: high, reach: [required]}", "critical", "required", true, "critical", true},
		{"{fail-at: high, reach: [required]}", "critical", "called", true, "critical", false},
		{"{fail-at: high, fixable: true}", "critical", "called", false, "critical", false},
	} {
		p, err := load(t, "vulnerabilities: "+tt.yaml)
		if err != nil {
			t.Fatal(err)
		}
		as, counts := p.Vulnerabilities.Counts(tt.severity, tt.reach, tt.fixable)
		if as != tt.as || counts != tt.counts {
			t.Errorf("%s: %s, %s: as %s, %v; want %s, %v", tt.yaml, tt.severity, tt.reach, as, counts, tt.as, tt.counts)
		}
	}
}

func TestAnExceptionHoldsToItsLastDay(t *testing.T) {
	e := policy.Exception{Rule: "packages", Subject: "lib*", Expires: "2026-12-31"}
	if !e.Covers("packages", "x", "libc6") || e.Covers("packages", "x") || e.Covers("licences", "libc6") {
		t.Error("it covers something else than packages that begin with lib")
	}
	for at, want := range map[string]bool{"2026-12-31T23:59:59Z": false, "2027-01-01T00:00:00Z": true, "2025-01-01T00:00:00Z": false} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Expired(now); got != want {
			t.Errorf("at %s: expired is %v", at, got)
		}
	}
}
