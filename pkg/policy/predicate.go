package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// kinds are the predicates that have a name here, cosign's, and a check.
var kinds = []struct {
	name, uri string
	check     func(json.RawMessage) error
}{
	{"spdxjson", "https://spdx.dev/Document", checkSPDX},
	{"cyclonedx", "https://cyclonedx.org/bom", checkCycloneDX},
	{"slsaprovenance1", "https://slsa.dev/provenance/v1", checkProvenance},
	{"openvex", "https://openvex.dev/ns", checkOpenVEX},
}

// PredicateType is the URI of a predicate's name: cosign's name for it, or the
// URI itself.
func PredicateType(name string) (string, error) {
	var names []string
	for _, k := range kinds {
		if k.name == name {
			return k.uri, nil
		}
		names = append(names, k.name)
	}
	if u, err := url.Parse(name); err == nil && u.IsAbs() && u.Host != "" {
		return name, nil
	}
	return "", fmt.Errorf("%q is no kind of attestation: want %s or a URI", name, strings.Join(names, ", "))
}

// Name is what people call a predicate type.
func Name(uri string) string {
	for _, k := range kinds {
		if k.uri == uri || strings.HasPrefix(uri, k.uri+"/v") {
			return k.name
		}
	}
	return uri
}

// CheckPredicate holds a predicate against the format that its type stands
// for. One that this package does not know is taken as it is, if it is JSON.
func CheckPredicate(uri string, predicate json.RawMessage) error {
	if !json.Valid(predicate) {
		return errors.New("no JSON")
	}
	for _, k := range kinds {
		if Name(uri) == k.name {
			return k.check(predicate)
		}
	}
	return nil
}

// required lists, in order, what is missing or wrong.
type required struct{ problems []string }

func (r *required) that(ok bool, what string) {
	if !ok {
		r.problems = append(r.problems, what)
	}
}

func (r *required) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	const most = 5
	if n := len(r.problems); n > most {
		r.problems = append(r.problems[:most], fmt.Sprintf("and %d more", n-most))
	}
	return errors.New(strings.Join(r.problems, "; "))
}

// spdx is what is needed of SPDX 2.3 (section 6, 7): what its schema requires,
// and what licences are read from.
type spdx struct {
	SPDXVersion       string `json:"spdxVersion"`
	DataLicense       string `json:"dataLicense"`
	SPDXID            string `json:"SPDXID"`
	Name              string `json:"name"`
	DocumentNamespace string `json:"documentNamespace"`
	CreationInfo      *struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	} `json:"creationInfo"`
	Packages []struct {
		Name             string `json:"name"`
		SPDXID           string `json:"SPDXID"`
		VersionInfo      string `json:"versionInfo"`
		DownloadLocation string `json:"downloadLocation"`
		LicenseConcluded string `json:"licenseConcluded"`
		LicenseDeclared  string `json:"licenseDeclared"`
		Purpose          string `json:"primaryPackagePurpose"`
	} `json:"packages"`
	Relationships []struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	} `json:"relationships"`
}

func checkSPDX(b json.RawMessage) error {
	var d spdx
	if err := json.Unmarshal(b, &d); err != nil {
		return fmt.Errorf("no SPDX document: %w", err)
	}
	var r required
	r.that(d.SPDXVersion == "SPDX-2.3" || d.SPDXVersion == "SPDX-2.2", fmt.Sprintf("spdxVersion is %q, want SPDX-2.3", d.SPDXVersion))
	r.that(d.DataLicense == "CC0-1.0", fmt.Sprintf("dataLicense is %q, want CC0-1.0", d.DataLicense))
	r.that(d.SPDXID == "SPDXRef-DOCUMENT", fmt.Sprintf("SPDXID is %q, want SPDXRef-DOCUMENT", d.SPDXID))
	r.that(d.Name != "", "name is missing")
	u, err := url.Parse(d.DocumentNamespace)
	r.that(err == nil && u.IsAbs() && u.Fragment == "", fmt.Sprintf("documentNamespace is %q, want a URI", d.DocumentNamespace))
	r.that(d.CreationInfo != nil && len(d.CreationInfo.Creators) > 0, "creationInfo names no creator")
	if d.CreationInfo != nil {
		_, err := time.Parse(time.RFC3339, d.CreationInfo.Created)
		r.that(err == nil, fmt.Sprintf("creationInfo.created is %q, want a time", d.CreationInfo.Created))
	}
	ids := map[string]bool{"SPDXRef-DOCUMENT": true}
	for _, p := range d.Packages {
		r.that(p.Name != "", "a package without a name")
		r.that(strings.HasPrefix(p.SPDXID, "SPDXRef-"), fmt.Sprintf("package %s has the SPDXID %q", p.Name, p.SPDXID))
		r.that(!ids[p.SPDXID], fmt.Sprintf("two elements have the SPDXID %s", p.SPDXID))
		r.that(p.DownloadLocation != "", fmt.Sprintf("package %s has no downloadLocation", p.Name))
		ids[p.SPDXID] = true
	}
	for _, x := range d.Relationships {
		r.that(x.Element != "" && x.Type != "" && x.Related != "", "a relationship that is not whole")
	}
	return r.err()
}

// cycloneDX is what is needed of CycloneDX 1.x.
type cycloneDX struct {
	BOMFormat   string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     json.Number `json:"version"`
	Components  []component `json:"components"`
}

type component struct {
	Type       string      `json:"type"`
	Name       string      `json:"name"`
	Components []component `json:"components"`
}

func checkCycloneDX(b json.RawMessage) error {
	var d cycloneDX
	if err := json.Unmarshal(b, &d); err != nil {
		return fmt.Errorf("no CycloneDX document: %w", err)
	}
	var r required
	r.that(d.BOMFormat == "CycloneDX", fmt.Sprintf("bomFormat is %q, want CycloneDX", d.BOMFormat))
	r.that(slices.Contains([]string{"1.4", "1.5", "1.6"}, d.SpecVersion), fmt.Sprintf("specVersion is %q, want 1.4 to 1.6", d.SpecVersion))
	var walk func([]component)
	walk = func(all []component) {
		for _, c := range all {
			r.that(c.Type != "" && c.Name != "", fmt.Sprintf("a component without type or name: %q", c.Name))
			walk(c.Components)
		}
	}
	walk(d.Components)
	return r.err()
}

// provenance is what is needed of SLSA v1's Provenance, and of etcdimg's
// external parameters.
type provenance struct {
	BuildDefinition *struct {
		BuildType          string `json:"buildType"`
		ExternalParameters *struct {
			Profile *struct {
				Contents struct {
					Repositories []string `json:"repositories"`
				} `json:"contents"`
			} `json:"profile"`
		} `json:"externalParameters"`
		ResolvedDependencies []struct {
			Name   string            `json:"name"`
			URI    string            `json:"uri"`
			Digest map[string]string `json:"digest"`
		} `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails *struct {
		Builder *struct {
			ID string `json:"id"`
		} `json:"builder"`
	} `json:"runDetails"`
}

func checkProvenance(b json.RawMessage) error {
	var d provenance
	if err := json.Unmarshal(b, &d); err != nil {
		return fmt.Errorf("no SLSA provenance v1: %w", err)
	}
	var r required
	r.that(d.BuildDefinition != nil, "buildDefinition is missing")
	if d.BuildDefinition != nil {
		u, err := url.Parse(d.BuildDefinition.BuildType)
		r.that(err == nil && u.IsAbs(), fmt.Sprintf("buildType is %q, want a URI", d.BuildDefinition.BuildType))
		r.that(d.BuildDefinition.ExternalParameters != nil, "externalParameters are missing")
		for _, x := range d.BuildDefinition.ResolvedDependencies {
			r.that(x.URI != "" || x.Name != "" || len(x.Digest) > 0, "a resolved dependency that names nothing")
		}
	}
	r.that(d.RunDetails != nil && d.RunDetails.Builder != nil && d.RunDetails.Builder.ID != "", "runDetails names no builder")
	return r.err()
}

func checkOpenVEX(b json.RawMessage) error {
	var d struct {
		Context    string      `json:"@context"`
		ID         string      `json:"@id"`
		Author     string      `json:"author"`
		Timestamp  string      `json:"timestamp"`
		Version    json.Number `json:"version"`
		Statements []struct {
			Status        string          `json:"status"`
			Vulnerability json.RawMessage `json:"vulnerability"`
			Justification string          `json:"justification"`
			Impact        string          `json:"impact_statement"`
		} `json:"statements"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return fmt.Errorf("no OpenVEX document: %w", err)
	}
	var r required
	r.that(strings.HasPrefix(d.Context, "https://openvex.dev/ns"), fmt.Sprintf("@context is %q, want https://openvex.dev/ns/v0.2.0", d.Context))
	r.that(d.ID != "", "@id is missing")
	r.that(d.Author != "", "author is missing")
	_, err := time.Parse(time.RFC3339, d.Timestamp)
	r.that(err == nil, fmt.Sprintf("timestamp is %q, want a time", d.Timestamp))
	for _, s := range d.Statements {
		r.that(slices.Contains([]string{"not_affected", "affected", "fixed", "under_investigation"}, s.Status), fmt.Sprintf("status is %q", s.Status))
		r.that(len(s.Vulnerability) > 0, "a statement about no vulnerability")
		r.that(s.Status != "not_affected" || s.Justification != "" || s.Impact != "", "not_affected without a justification")
	}
	return r.err()
}
