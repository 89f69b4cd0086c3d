package policy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/policy"
	"github.com/etcdimg/etcdimg/pkg/sign"
)

const (
	spdxType  = "https://spdx.dev/Document"
	slsaType  = "https://slsa.dev/provenance/v1"
	cdxType   = "https://cyclonedx.org/bom"
	vexType   = "https://openvex.dev/ns"
	goodSPDX  = `{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"etcd","documentNamespace":"https://example.com/x","creationInfo":{"created":"2026-01-02T03:04:05Z","creators":["Tool: x"]},"packages":[PACKAGES]}`
	goodSLSA  = `{"buildDefinition":{"buildType":"https://example.com/b","externalParameters":{"profile":{"contents":{"repositories":["debian trixie main","debian-security trixie-security main"]}}}},"runDetails":{"builder":{"id":"https://example.com"}}}`
	goodCDX   = `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[{"type":"library","name":"a"}]}`
	goodVEX   = `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"x","author":"a","timestamp":"2026-01-02T03:04:05Z","version":1,"statements":[{"vulnerability":{"name":"CVE-1"},"status":"fixed"}]}`
	container = `{"name":"etcd","SPDXID":"SPDXRef-i","downloadLocation":"NOASSERTION","primaryPackagePurpose":"CONTAINER"}`
)

func spdx(packages ...string) string {
	return strings.Replace(goodSPDX, "PACKAGES", strings.Join(packages, ","), 1)
}

func pkg(name, concluded, declared string) string {
	return `{"name":"` + name + `","SPDXID":"SPDXRef-` + name + `","versionInfo":"1","downloadLocation":"NOASSERTION","licenseConcluded":"` + concluded + `","licenseDeclared":"` + declared + `"}`
}

func load(t *testing.T, yaml string) (*policy.Policy, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	return policy.Load(path)
}

func TestPoliciesAreHeld(t *testing.T) {
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, policy string
		said         map[string]string
		want         string // the failures, a line each; "" for none
	}{
		{"nothing asked", `{}`, nil, ""},
		{"attested", `attestations: [spdxjson, slsaprovenance1, "https://openvex.dev/ns"]`, map[string]string{spdxType: spdx(), slsaType: goodSLSA, vexType + "/v0.2.0": goodVEX},
			"attestation of DIGEST: expected https://openvex.dev/ns (https://openvex.dev/ns) by somebody who counts, found openvex, slsaprovenance1, spdxjson"},
		{"attested, by name", `attestations: [openvex]`, map[string]string{vexType + "/v0.2.0": goodVEX}, ""},
		{"not attested", `attestations: [spdxjson]`, nil, "attestation of DIGEST: expected spdxjson (https://spdx.dev/Document) by somebody who counts, found none"},
		{"young", `max-age: 30d`, nil, ""},
		{"old", `max-age: 24h`, nil, "age of DIGEST: expected at most 24h, found 10d: its newest input is of 2026-05-22"},
		{"licences", `licences: {allow: [MIT, Apache-2.0, GPL-2.0-only]}`, map[string]string{spdxType: spdx(container, pkg("a", "MIT", ""), pkg("b", "NOASSERTION", "Apache-2.0 AND MIT"), pkg("c", "(GPL-3.0-only OR MIT) AND GPL-2.0-only WITH Classpath-exception-2.0", ""))}, ""},
		{"a licence too many", `licences: {allow: [MIT]}`, map[string]string{spdxType: spdx(pkg("a", "MIT AND BSD-3-Clause", ""))}, "licence of a 1 of DIGEST: expected one of MIT, found MIT AND BSD-3-Clause"},
		{"denied", `licences: {deny: [AGPL-3.0-only]}`, map[string]string{spdxType: spdx(pkg("a", "MIT", ""), pkg("b", "agpl-3.0-only", ""))}, "licence of b 1 of DIGEST: expected none of AGPL-3.0-only, found agpl-3.0-only"},
		{"denied, but for a choice", `licences: {deny: [AGPL-3.0-only]}`, map[string]string{spdxType: spdx(pkg("a", "MIT OR AGPL-3.0-only", ""))}, ""},
		{"unknown", `licences: {deny: [X]}`, map[string]string{spdxType: spdx(pkg("a", "NOASSERTION", "NONE"))}, "licence of a 1 of DIGEST: expected one that is known, found none"},
		{"unknown, accepted", `licences: {unknown: true}`, map[string]string{spdxType: spdx(pkg("a", "NOASSERTION", "NONE"))}, ""},
		{"no expression", `licences: {unknown: true}`, map[string]string{spdxType: spdx(pkg("a", "MIT AND (", ""))}, `licence of a 1 of DIGEST: expected an SPDX expression, found licence expression "MIT AND (": it ends too early`},
		{"no SBOM", `licences: {allow: [MIT]}`, nil, "licences of DIGEST: expected an SBOM (spdxjson) by somebody who counts, found none"},
		{"base", `bases: [debian trixie, trixie-security]`, map[string]string{slsaType: goodSLSA}, ""},
		{"another base", `bases: [trixie]`, map[string]string{slsaType: goodSLSA}, "base of DIGEST: expected trixie, found debian-security trixie-security main"},
		{"no provenance", `bases: [trixie]`, nil, "base of DIGEST: expected etcdimg's provenance by somebody who counts, found none"},
		{"a document of another kind", `{}`, map[string]string{spdxType: goodCDX}, `predicate of DIGEST: expected what https://spdx.dev/Document stands for, found spdxVersion is "", want SPDX-2.3; dataLicense is "", want CC0-1.0; SPDXID is "", want SPDXRef-DOCUMENT; name is missing; documentNamespace is "", want a URI; and 1 more`},
		{"half a provenance", `{}`, map[string]string{slsaType: `{"buildDefinition":{}}`}, `predicate of DIGEST: expected what https://slsa.dev/provenance/v1 stands for, found buildType is "", want a URI; externalParameters are missing; runDetails names no builder`},
		{"CycloneDX", `attestations: [cyclonedx]`, map[string]string{cdxType: goodCDX}, ""},
		{"CycloneDX to come", `{}`, map[string]string{cdxType: `{"bomFormat":"CycloneDX","specVersion":"9"}`}, `predicate of DIGEST: expected what https://cyclonedx.org/bom stands for, found specVersion is "9", want 1.4 to 1.6`},
		{"a VEX without reasons", `{}`, map[string]string{vexType: strings.Replace(goodVEX, "fixed", "not_affected", 1)}, "predicate of DIGEST: expected what https://openvex.dev/ns stands for, found not_affected without a justification"},
		{"something that nobody knows", `{}`, map[string]string{"https://example.com/x": `[1]`}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := load(t, tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			c := sign.Checked{Subject: v1.Descriptor{Digest: digest}}
			for _, k := range []string{vexType, vexType + "/v0.2.0", slsaType, spdxType, cdxType, "https://example.com/x"} {
				if s, ok := tt.said[k]; ok {
					c.Attestations = append(c.Attestations, sign.Attestation{PredicateType: k, Predicate: json.RawMessage(s)})
				}
			}
			found := []sign.Checked{c}
			if err := p.Check(found, map[v1.Hash]time.Time{digest: now.Add(-10 * 24 * time.Hour)}, now); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found[0].Failures {
				got = append(got, strings.ReplaceAll(f.Error(), digest.String(), "DIGEST"))
			}
			if all := strings.Join(got, "\n"); all != tt.want {
				t.Errorf("found %s\nwant  %s", all, tt.want)
			}
		})
	}
}

func TestWrongPoliciesAreRefused(t *testing.T) {
	for yaml, want := range map[string]string{
		"max-age: soon":              `line 1: max-age: "soon" is no duration: want 720h or 30d`,
		"max-age: -1d":               `is no duration`,
		"attestations: [sbom]":       `"sbom" is no kind of attestation: want spdxjson, cyclonedx, slsaprovenance1, openvex or a URI`,
		"keyz: [a]":                  `line 1: error unmarshaling JSON: while decoding JSON: json: unknown field "keyz"`,
		"keys: [a]\nkeys: [b]":       `key "keys" already set`,
		"keys: {a: b}":               "cannot unmarshal",
		"trust: {root: x, extra: y}": `unknown field "extra"`,
		"licences: {permit: [MIT]}":  `unknown field "permit"`,
	} {
		if _, err := load(t, yaml); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", yaml, err, want)
		}
	}
	p, err := load(t, "keys: [absent.pub]")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.SignaturesBy(); err == nil || !strings.Contains(err.Error(), "absent.pub") {
		t.Errorf("a key that is not there: %v", err)
	}
}

// Predicates are written by strangers: nothing that they write may stop the
// program.
func FuzzPredicates(f *testing.F) {
	for uri, s := range map[string]string{spdxType: spdx(pkg("a", "(MIT", "")), slsaType: goodSLSA, cdxType: goodCDX, vexType: goodVEX} {
		f.Add(uri, []byte(s))
	}
	f.Fuzz(func(t *testing.T, uri string, predicate []byte) {
		c := []sign.Checked{{Attestations: []sign.Attestation{{PredicateType: uri, Predicate: predicate}}}}
		p := &policy.Policy{Licences: &policy.Licences{Allow: []string{"MIT"}}, Bases: []string{"trixie"}, Attestations: []string{"spdxjson"}}
		if err := p.Check(c, nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
	})
}
