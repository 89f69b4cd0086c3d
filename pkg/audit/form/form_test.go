package form_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/etcdimg/etcdimg/pkg/audit"
	"github.com/etcdimg/etcdimg/pkg/audit/form"
)

func result() *audit.Result {
	date := time.Date(2026, 8, 21, 0, 0, 0, 0, time.UTC)
	vex := func(status, justification, words string) *audit.VEX {
		return &audit.VEX{Status: status, Justification: justification, Statement: words, Timestamp: date, From: "analysis", Author: "etcdimg"}
	}
	return &audit.Result{
		Tool: "etcdimg v1", Reference: "registry.example/etcd:1", Digest: "sha256:" + strings.Repeat("a", 64), Title: "etcd 1",
		Images:    []audit.Image{{Platform: "linux/amd64", Digest: "sha256:" + strings.Repeat("b", 64), SBOM: "referrer"}},
		Packages:  []audit.Package{{Kind: audit.GoModule, Name: "example.com/x"}, {Kind: audit.Debian, Name: "tzdata"}},
		Databases: []audit.Database{{Source: "db", Date: date, DateFrom: "modified", Records: 3}},
		NotJudged: []audit.Gap{{What: "apk busybox 1", Reason: "nobody knows"}},
		Findings: []audit.Finding{
			{ID: "GO-1", Aliases: []string{"CVE-1"}, Summary: "One | <script>`", Details: "long", URL: "https://pkg.go.dev/vuln/GO-1", Severity: audit.High, Kind: audit.GoModule, Package: "example.com/x", Installed: "v1.0.0", Fixed: "v1.1.0", Reachability: audit.Called, Symbols: []string{"example.com/x.F"}, Files: []string{"/usr/bin/a b%"}, Archs: []string{"amd64"}, VEX: vex("affected", "", "Update."), Open: true},
			{ID: "GO-2", URL: "javascript:alert(1)", Severity: audit.Unknown, Kind: audit.GoModule, Package: "example.com/x", Installed: "v1.0.0", Reachability: audit.Required, Files: []string{"/usr/bin/a"}, Archs: []string{"amd64"}, VEX: vex("not_affected", "vulnerable_code_not_present", "Not linked.")},
			{ID: "DEBIAN-CVE-3", Severity: audit.Negligible, Kind: audit.Debian, Package: "tzdata", Installed: "1", Reachability: audit.PackageLevel, Archs: []string{"amd64"}, VEX: vex("under_investigation", "", ""), Exception: &audit.Exception{Reason: "so be it", Expires: "2027-01-01"}},
		},
		Policy: &audit.Policy{Source: "policy.yaml", Rules: []string{"shell", "vulnerabilities"}, Broken: true, Breaks: []audit.Break{
			{Rule: "shell", Subject: "/bin/sh", Expected: "no shell", Found: "mode 0755", Line: 3, Archs: []string{"amd64"}},
			{Rule: "setuid", Subject: "/bin/su", Expected: "none", Found: "mode 4755", Line: 4, Exception: &audit.Exception{Reason: "needed", Expires: "2020-01-01", Expired: true}},
			{Rule: "vulnerabilities", Subject: "GO-1", Expected: "below high", Found: "high", Line: 1},
		}},
		Since: &audit.Since{Reference: "before", New: []string{"GO-1 example.com/x"}},
	}
}

func write(t *testing.T, f func(io.Writer, *audit.Result) error) string {
	t.Helper()
	var a, b bytes.Buffer
	if err := f(&a, result()); err != nil {
		t.Fatal(err)
	}
	if err := f(&b, result()); err != nil {
		t.Fatal(err)
	}
	if a.String() != b.String() {
		t.Error("the same result gave other bytes")
	}
	return a.String()
}

// sarifSchema is what SARIF 2.1.0 requires of the objects that are written
// (OASIS, sections 3.13 to 3.35), and no more than the names that it knows.
const sarifSchema = `{
"type":"object","required":["version","runs","$schema"],"additionalProperties":false,
"properties":{"$schema":{"type":"string","format":"uri"},"version":{"const":"2.1.0"},
 "runs":{"type":"array","items":{"type":"object","required":["tool","results"],"additionalProperties":false,
  "properties":{"columnKind":{"enum":["utf16CodeUnits","unicodeCodePoints"]},"properties":{"type":"object"},
   "tool":{"type":"object","required":["driver"],"additionalProperties":false,"properties":{"driver":{"type":"object","required":["name"],"additionalProperties":false,
    "properties":{"name":{"type":"string","minLength":1},"version":{"type":"string"},"informationUri":{"type":"string","format":"uri"},
     "rules":{"type":"array","uniqueItems":true,"items":{"type":"object","required":["id"],"additionalProperties":false,
      "properties":{"id":{"type":"string"},"shortDescription":{"$ref":"#/$defs/text"},"fullDescription":{"$ref":"#/$defs/text"},"helpUri":{"type":"string","format":"uri"},"properties":{"type":"object","properties":{"tags":{"type":"array","uniqueItems":true}}}}}}}}}},
   "results":{"type":"array","items":{"type":"object","required":["message"],"additionalProperties":false,
    "properties":{"ruleId":{"type":"string"},"ruleIndex":{"type":"integer","minimum":0},"level":{"enum":["none","note","warning","error"]},"kind":{"type":"string"},"message":{"$ref":"#/$defs/text"},
     "partialFingerprints":{"type":"object","additionalProperties":{"type":"string"}},
     "locations":{"type":"array","minItems":1,"items":{"type":"object","additionalProperties":false,"properties":{
      "physicalLocation":{"type":"object","required":["artifactLocation"],"properties":{"artifactLocation":{"type":"object","properties":{"uri":{"type":"string","format":"uri-reference","minLength":1}}}}},
      "logicalLocations":{"type":"array","items":{"type":"object","additionalProperties":false,"properties":{"fullyQualifiedName":{"type":"string"},"kind":{"type":"string"}}}}}}},
     "suppressions":{"type":"array","items":{"type":"object","required":["kind"],"additionalProperties":false,"properties":{"kind":{"enum":["inSource","external"]},"status":{"enum":["accepted","underReview","rejected"]},"justification":{"type":"string"}}}}}}}}}}},
"$defs":{"text":{"type":"object","required":["text"],"additionalProperties":false,"properties":{"text":{"type":"string","minLength":1}}}}}`

func TestSARIFIsWhatItsSchemaWants(t *testing.T) {
	schema, err := jsonschema.UnmarshalJSON(strings.NewReader(sarifSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("sarif.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("sarif.json")
	if err != nil {
		t.Fatal(err)
	}
	out := write(t, form.SARIF)
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(document); err != nil {
		t.Error(err)
	}
	var log struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID       string
				RuleIndex    int
				Suppressions []any
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &log); err != nil {
		t.Fatal(err)
	}
	suppressed := map[string]bool{}
	for _, r := range log.Runs[0].Results {
		if got := log.Runs[0].Tool.Driver.Rules[r.RuleIndex].ID; got != r.RuleID {
			t.Errorf("the rule of %s is %s", r.RuleID, got)
		}
		suppressed[r.RuleID] = len(r.Suppressions) > 0
	}
	for id, want := range map[string]bool{"GO-1": false, "GO-2": true, "DEBIAN-CVE-3": true, "policy/shell": false, "policy/setuid": false} {
		if got, ok := suppressed[id]; !ok || got != want {
			t.Errorf("%s: suppressed is %v, it is there: %v; want %v", id, got, ok, want)
		}
	}
}

func TestTextForPeople(t *testing.T) {
	brief := write(t, func(w io.Writer, r *audit.Result) error { return form.Text(w, r, false) })
	whole := write(t, func(w io.Writer, r *audit.Result) error { return form.Text(w, r, true) })
	for _, want := range []string{
		"! GO-1 high, called: example.com/x v1.0.0, right in v1.1.0\n", "NOT JUDGED apk busybox 1: nobody knows\n",
		"database   db of 2026-08-21 (modified), 3 records\n", "findings   1 open, 1 excepted, 1 not affected (required)\n",
		"BROKEN shell: /bin/sh (amd64): expected no shell, found mode 0755 [policy.yaml:3]\n", "its exception has EXPIRED on 2020-01-01: needed\n",
		"  new      GO-1 example.com/x\n",
	} {
		if !strings.Contains(brief, want) || !strings.Contains(whole, want) {
			t.Errorf("%q is missing in\n%s", want, brief)
		}
	}
	if strings.Contains(brief, "GO-2") || !strings.Contains(whole, "GO-2 unknown, required") {
		t.Errorf("what is settled:\n%s", whole)
	}
}

func TestMarkdownHasNoMarkupOfStrangers(t *testing.T) {
	out := write(t, form.Markdown)
	for _, want := range []string{"| open | [GO-1](https://pkg.go.dev/vuln/GO-1) One \\| &lt;script&gt;' | high |", "is **broken**", "until 2027-01-01: so be it"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if strings.Contains(out, "<script>") || strings.Contains(out, "javascript:") {
		t.Errorf("markup by strangers:\n%s", out)
	}
}

func TestJSONIsTheResult(t *testing.T) {
	var back audit.Result
	d := json.NewDecoder(strings.NewReader(write(t, form.JSON)))
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if len(back.Findings) != 3 || back.Findings[0].VEX == nil || !back.Findings[0].Open {
		t.Errorf("%+v", back.Findings)
	}
}
