package form

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/audit"
)

// The parts of SARIF (OASIS, 2.1.0) that results need.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool      `json:"tool"`
		Results    []sarifResult  `json:"results"`
		ColumnKind string         `json:"columnKind"`
		Properties map[string]any `json:"properties,omitempty"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version,omitempty"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID         string         `json:"id"`
		Short      sarifText      `json:"shortDescription"`
		Full       *sarifText     `json:"fullDescription,omitempty"`
		HelpURI    string         `json:"helpUri,omitempty"`
		Properties map[string]any `json:"properties,omitempty"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Kind         string             `json:"kind,omitempty"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
		Fingerprints map[string]string  `json:"partialFingerprints"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification,omitempty"`
	}
)

// SARIF writes the result for code scanners. What is settled is in it too, as
// suppressed.
func SARIF(w io.Writer, r *audit.Result) error {
	name, version, _ := strings.Cut(r.Tool, " ")
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: cmp.Or(name, "etcdimg"), Version: version, InformationURI: "https://github.com/etcdimg/etcdimg", Rules: []sarifRule{}}},
		Results:    []sarifResult{},
		ColumnKind: "utf16CodeUnits",
		Properties: map[string]any{"image": r.Reference, "digest": r.Digest},
	}
	at := map[string]int{}
	rule := func(s sarifRule) int {
		i, ok := at[s.ID]
		if !ok {
			i = len(run.Tool.Driver.Rules)
			at[s.ID] = i
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, s)
		}
		return i
	}
	for _, f := range r.Findings {
		run.Results = append(run.Results, findingResult(f, rule))
	}
	if r.Policy != nil {
		for _, b := range r.Policy.Breaks {
			if b.Rule != "vulnerabilities" { // those are results already
				run.Results = append(run.Results, breakResult(b, rule))
			}
		}
	}
	var all []string
	for _, g := range r.NotJudged {
		all = append(all, g.What+": "+g.Reason)
	}
	if len(all) > 0 {
		run.Properties["notJudged"] = all
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

// levels are SARIF's, by severity; security-severity is what GitHub sorts by.
var levels = map[audit.Severity]struct{ level, score string }{
	audit.Critical: {"error", "9.5"}, audit.High: {"error", "8.0"}, audit.Medium: {"warning", "5.5"},
	audit.Low: {"note", "2.0"}, audit.Negligible: {"note", "0.1"}, audit.Unknown: {"warning", "5.0"},
}

func findingResult(f audit.Finding, rule func(sarifRule) int) sarifResult {
	l := levels[f.Severity]
	s := sarifRule{
		ID: f.ID, Short: sarifText{cmp.Or(oneLine(f.Summary), f.ID)},
		Properties: map[string]any{"security-severity": l.score, "tags": append([]string{"security"}, f.Aliases...)},
	}
	if strings.HasPrefix(f.URL, "https://") {
		s.HelpURI = f.URL
	}
	if f.Details != "" {
		s.Full = &sarifText{f.Details}
	}
	text := fmt.Sprintf("%s %s has %s (%s): %s.", f.Package, f.Installed, f.ID, f.Reachability, cmp.Or(oneLine(f.Summary), "no summary"))
	if len(f.Symbols) > 0 {
		text += " Functions: " + few(f.Symbols, 8) + "."
	}
	if f.Fixed != "" {
		text += " It is right in " + f.Fixed + "."
	}
	out := sarifResult{RuleID: f.ID, RuleIndex: rule(s), Level: l.level, Message: sarifText{text}, Fingerprints: fingerprint(f.ID, f.Package, f.Installed, string(f.Reachability))}
	if !f.Open && f.VEX != nil {
		why := sarifSuppression{"external", "accepted", strings.TrimSpace(f.VEX.Status + " " + f.VEX.Justification + ": " + f.VEX.Statement)}
		if f.Exception != nil {
			why.Justification = "until " + f.Exception.Expires + ": " + f.Exception.Reason
		}
		out.Suppressions = append(out.Suppressions, why)
	}
	for _, p := range f.Files {
		out.Locations = append(out.Locations, location(p, f.Package))
	}
	if len(f.Files) == 0 {
		out.Locations = append(out.Locations, location("var/lib/dpkg/status.d/"+f.Package, f.Package))
	}
	return out
}

func breakResult(b audit.Break, rule func(sarifRule) int) sarifResult {
	id := "policy/" + b.Rule
	out := sarifResult{
		RuleID: id, RuleIndex: rule(sarifRule{ID: id, Short: sarifText{"The policy's rule about " + b.Rule}}), Level: "error",
		Message:      sarifText{fmt.Sprintf("%s: expected %s, found %s", b.Subject, b.Expected, b.Found)},
		Locations:    []sarifLocation{location(b.Subject, b.Subject)},
		Fingerprints: fingerprint(id, b.Subject, b.Expected, b.Found),
	}
	if b.Exception != nil && !b.Exception.Expired {
		out.Suppressions = append(out.Suppressions, sarifSuppression{"external", "accepted", "until " + b.Exception.Expires + ": " + b.Exception.Reason})
	}
	return out
}

// location is a path in the image, as a URI reference.
func location(path, name string) sarifLocation {
	var b strings.Builder
	for _, c := range []byte(strings.TrimLeft(path, "/")) {
		if c > ' ' && c < 0x7f && !slices.Contains([]byte(`%<>"{}|\^[]#?:`+"`"), c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return sarifLocation{Physical: sarifPhysical{sarifArtifact{b.String()}}, Logical: []sarifLogical{{name, "module"}}}
}

func fingerprint(parts ...string) map[string]string {
	return map[string]string{"etcdimg/v1": strings.Join(parts, " ")}
}
