package vex_test

import (
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/etcdimg/etcdimg/pkg/audit/vex"
	"github.com/etcdimg/etcdimg/pkg/policy"
)

var at = time.Date(2026, 8, 21, 0, 0, 0, 0, time.UTC)

const (
	image  = "pkg:oci/etcd@sha256%3Aaa?arch=amd64"
	module = "pkg:golang/golang.org/x/net@v0.1.0"
)

func statement(name, status string) vex.Statement {
	s := vex.Statement{Vulnerability: vex.Vulnerability{Name: name}, Status: status, Products: []vex.Product{{
		Component: vex.Component{ID: image}, Subcomponents: []vex.Component{{ID: module}},
	}}}
	switch status {
	case vex.NotAffected:
		s.Justification = vex.NotCalled
	case vex.Affected:
		s.ActionStatement = "Update."
	}
	return s
}

// openVEX is what OpenVEX v0.2.0 requires, and no more than the names that it
// knows.
const openVEX = `{"type":"object","required":["@context","@id","author","timestamp","version","statements"],"additionalProperties":false,
"properties":{"@context":{"const":"https://openvex.dev/ns/v0.2.0"},"@id":{"type":"string","format":"iri"},"author":{"type":"string","minLength":1},"role":{"type":"string"},
 "timestamp":{"type":"string","format":"date-time"},"last_updated":{"type":"string","format":"date-time"},"version":{"type":"integer","minimum":1},"tooling":{"type":"string"},
 "statements":{"type":"array","items":{"type":"object","required":["vulnerability","status"],"additionalProperties":false,
  "properties":{"@id":{"type":"string"},"vulnerability":{"type":"object","required":["name"],"additionalProperties":false,"properties":{"@id":{"type":"string","format":"iri"},"name":{"type":"string","minLength":1},"description":{"type":"string"},"aliases":{"type":"array","uniqueItems":true,"items":{"type":"string"}}}},
   "timestamp":{"type":"string","format":"date-time"},"last_updated":{"type":"string","format":"date-time"},
   "products":{"type":"array","items":{"type":"object","additionalProperties":false,"properties":{"@id":{"type":"string","format":"iri"},"identifiers":{"$ref":"#/$defs/ids"},"hashes":{"type":"object"},
    "subcomponents":{"type":"array","items":{"type":"object","additionalProperties":false,"properties":{"@id":{"type":"string","format":"iri"},"identifiers":{"$ref":"#/$defs/ids"},"hashes":{"type":"object"}}}}}}},
   "status":{"enum":["not_affected","affected","fixed","under_investigation"]},"status_notes":{"type":"string"},
   "justification":{"enum":["component_not_present","vulnerable_code_not_present","vulnerable_code_not_in_execute_path","vulnerable_code_cannot_be_controlled_by_adversary","inline_mitigations_already_exist"]},
   "impact_statement":{"type":"string"},"action_statement":{"type":"string"}},
  "allOf":[{"if":{"properties":{"status":{"const":"not_affected"}}},"then":{"anyOf":[{"required":["justification"]},{"required":["impact_statement"]}]}},
   {"if":{"properties":{"status":{"const":"affected"}}},"then":{"required":["action_statement"]}}]}}},
"$defs":{"ids":{"type":"object","additionalProperties":false,"properties":{"purl":{"type":"string"},"cpe22":{"type":"string"},"cpe23":{"type":"string"}}}}}`

func TestWhatIsWrittenIsOpenVEX(t *testing.T) {
	all := []vex.Statement{statement("GO-2", vex.Affected), statement("GO-1", vex.NotAffected), statement("GO-3", vex.Fixed), statement("GO-4", vex.UnderInvestigation)}
	d, err := vex.New("etcdimg", "etcdimg v1", at, all)
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if err := policy.CheckPredicate("https://openvex.dev/ns", b); err != nil {
		t.Error(err)
	}
	schema, err := jsonschema.UnmarshalJSON(strings.NewReader(openVEX))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openvex.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("openvex.json")
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(document); err != nil {
		t.Error(err)
	}
	if _, err := vex.Parse(b); err != nil {
		t.Error(err)
	}
	// The order in which statements come changes nothing; what they say does.
	all[0], all[3] = all[3], all[0]
	again, err := vex.New("etcdimg", "etcdimg v1", at, all)
	if err != nil || again.ID != d.ID {
		t.Errorf("%s, then %s: %v", d.ID, again.ID, err)
	}
	other, err := vex.New("etcdimg", "etcdimg v1", at, all[:3])
	if err != nil || other.ID == d.ID {
		t.Errorf("another content has the identifier %s: %v", other.ID, err)
	}
}

func document(t *testing.T, when time.Time, s ...vex.Statement) *vex.Document {
	t.Helper()
	d, err := vex.New("somebody", "", when, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestWhoseWordCounts(t *testing.T) {
	about := vex.Subject{Vulnerability: []string{"GO-1", "CVE-1"}, Image: []string{image}, Package: module}
	analysed := statement("GO-1", vex.Affected)
	analysed.StatusNotes = "Found by call analysis of the programs"
	for _, tt := range []struct {
		name string
		add  func(s *vex.Set)
		want string
	}{
		{"nobody's", func(*vex.Set) {}, ""},
		{"of another vulnerability", func(s *vex.Set) { s.Add(document(t, at, statement("GO-2", vex.Fixed)), vex.ByHand, "x") }, ""},
		{"by an alias", func(s *vex.Set) { s.Add(document(t, at, statement("cve-1", vex.Fixed)), vex.ByHand, "x") }, "x fixed"},
		{"the newer one's", func(s *vex.Set) {
			s.Add(document(t, at.Add(time.Hour), statement("GO-1", vex.Fixed)), vex.Attached, "new")
			s.Add(document(t, at, statement("GO-1", vex.Affected)), vex.Attached, "old")
		}, "new fixed"},
		{"who asks, before what goes with the image", func(s *vex.Set) {
			s.Add(document(t, at, statement("GO-1", vex.NotAffected)), vex.ByHand, "mine")
			s.Add(document(t, at.Add(time.Hour), statement("GO-1", vex.Affected)), vex.Attached, "new")
		}, "mine not_affected"},
		{"people, before a newer analysis", func(s *vex.Set) {
			s.Add(document(t, at, statement("GO-1", vex.NotAffected)), vex.Attached, "people")
			s.Add(document(t, at.Add(time.Hour), analysed), vex.Attached, "analysis")
		}, "people not_affected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s vex.Set
			tt.add(&s)
			got := ""
			if f := s.Find(about); f != nil {
				got = f.From + " " + f.Status
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestWhatAStatementIsAbout(t *testing.T) {
	about := vex.Subject{Vulnerability: []string{"GO-1"}, Image: []string{"pkg:oci/etcd@sha256%3Aff", image}, Package: module}
	for _, tt := range []struct {
		product, part string
		want          bool
	}{
		{image, module, true},
		{image, "", true},
		{"pkg:oci/etcd", "", true},
		{"pkg:oci/etcd@sha256%3Aaa", "", true},
		{"pkg:oci/etcd@sha256:aa", "", true},
		{"pkg:oci/etcd@sha256%3Aff?repository_url=registry.example/etcd", "pkg:golang/golang.org/x/net", true},
		{"pkg:oci/etcd@sha256%3Aaa?arch=arm64", "", false},
		{"pkg:oci/etcd@sha256%3Abb", "", false},
		{"pkg:oci/other", "", false},
		{image, "pkg:golang/golang.org/x/net@v0.2.0", false},
		{image, "pkg:golang/golang.org/x/text@v0.1.0", false},
		{module, "", true},
		{"etcd", "", false},
		{"", "", false},
	} {
		s := statement("GO-1", vex.Fixed)
		s.Products[0] = vex.Product{Component: vex.Component{ID: tt.product}}
		if tt.part != "" {
			s.Products[0].Subcomponents = []vex.Component{{Identifiers: map[string]string{"purl": tt.part}}}
		}
		var set vex.Set
		set.Add(document(t, at, s), vex.ByHand, "x")
		if got := set.Find(about) != nil; got != tt.want {
			t.Errorf("%q, %q: %v", tt.product, tt.part, got)
		}
	}
}

func TestWhatIsNoOpenVEX(t *testing.T) {
	const head = `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"x","author":"a","timestamp":"2026-01-02T03:04:05Z","version":1,"statements":[`
	for in, want := range map[string]string{
		``:          "no OpenVEX document",
		`[]`:        "no OpenVEX document",
		`{}`:        `@context is ""`,
		head + `]}`: "it has no statement",
		head + `{"vulnerability":{"name":"X"},"status":"maybe"}]}`:                                  `statement 1: status is "maybe"`,
		head + `{"vulnerability":{"name":"X"},"status":"not_affected"}]}`:                           "not_affected without a justification",
		head + `{"vulnerability":{"name":"X"},"status":"not_affected","justification":"because"}]}`: `justification is "because"`,
		head + `{"vulnerability":{"name":"X"},"status":"affected"}]}`:                               "affected without an action_statement",
		head + `{"vulnerability":{},"status":"fixed"}]}`:                                            "names no vulnerability",
		head + `{"vulnerability":{"name":"X"},"status":"fixed"}]} and more`:                         "something follows it",
	} {
		if _, err := vex.Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}

// Documents go with images of strangers: nothing that they say may stop the
// program.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"@context":"https://openvex.dev/ns/v0.2.0","@id":"x","author":"a","timestamp":"2026-01-02T03:04:05Z","version":1,"statements":[{"vulnerability":"X","products":["pkg:oci/etcd"],"status":"fixed"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := vex.Parse(b)
		if err != nil {
			return
		}
		var s vex.Set
		s.Add(d, vex.Attached, "x")
		s.Find(vex.Subject{Vulnerability: []string{"X"}, Image: []string{image}, Package: module})
	})
}
