// Package policy says what an image must be like to be accepted: signed by
// whom, with which attestations, how old, under which licences, on which base.
// It reads a policy from YAML, and holds what was found about an image against
// it. Nothing here opens a connection.
//
// It must not know how signatures are made or where images are.
package policy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/etcdimg/etcdimg/pkg/sign"
)

// Policy is what a policy file says. What it does not mention it does not ask
// for, except that somebody's signature must count.
type Policy struct {
	// Keys are files with public keys (PEM), relative to the policy.
	Keys []string `json:"keys,omitempty"`
	// Identities are for signatures under certificates.
	Identities []sign.Identity `json:"identities,omitempty"`
	// Trust is who vouches for identities, as files relative to the policy.
	Trust Trust `json:"trust,omitempty"`
	// Attestations are the kinds that must be there, for the index and every
	// image: spdxjson, cyclonedx, slsaprovenance1, openvex, or a URI.
	Attestations []string `json:"attestations,omitempty"`
	// MaxAge is how old the newest input of an image may be: 720h, 30d.
	MaxAge string `json:"max-age,omitempty"`
	// Licences are for everything that the SBOM names.
	Licences *Licences `json:"licences,omitempty"`
	// Bases are the suites that packages may come from: debian trixie. Needs
	// etcdimg's provenance.
	Bases []string `json:"bases,omitempty"`

	// What follows is for audits, which look into the image.

	Vulnerabilities *Vulnerabilities `json:"vulnerabilities,omitempty"`
	Packages        *Packages        `json:"packages,omitempty"`
	Files           *Files           `json:"files,omitempty"`
	// NoRoot wants the image to start as another user than root.
	NoRoot bool `json:"no-root,omitempty"`
	// SBOM are the fields that every package must have: version, licence,
	// supplier, origin, digest.
	SBOM   []string `json:"sbom,omitempty"`
	Inputs *Inputs  `json:"inputs,omitempty"`
	// Exceptions let pass, until a day, what rules of an audit are against.
	Exceptions []Exception `json:"exceptions,omitempty"`

	lines map[string]int // of the file's keys
}

// Trust names files.
type Trust struct {
	Root         string `json:"root,omitempty"`         // sigstore's trusted root, JSON
	Certificates string `json:"certificates,omitempty"` // the certificate authority's chain, PEM
	Timestamps   string `json:"timestamps,omitempty"`   // the timestamp authority's chain, PEM
	LogKeys      string `json:"log-keys,omitempty"`     // public keys of transparency logs, PEM
	CTKeys       string `json:"ct-keys,omitempty"`      // public keys of certificate transparency logs, PEM
}

// Licences are SPDX identifiers, with their exception where there is one:
// Apache-2.0, GPL-2.0-only WITH Classpath-exception-2.0.
type Licences struct {
	Allow   []string `json:"allow,omitempty"`   // nothing else is; empty for all
	Deny    []string `json:"deny,omitempty"`    // these are not
	Unknown bool     `json:"unknown,omitempty"` // packages without a known licence are accepted
}

// maxFile bounds a policy and the files that it names.
const maxFile = 1 << 20

// Load reads a policy file. Unknown keys are errors.
func Load(path string) (*Policy, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the policy: %w", err)
	}
	var p Policy
	if err := yaml.UnmarshalStrict(b, &p); err != nil {
		return nil, fmt.Errorf("reading the policy %s: %w", path, located(err, b))
	}
	p.lines = linesOf(b)
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("policy %s: %w", path, err)
	}
	dir := filepath.Dir(path)
	for i, k := range p.Keys {
		p.Keys[i] = beside(dir, k)
	}
	for _, f := range []*string{&p.Trust.Root, &p.Trust.Certificates, &p.Trust.Timestamps, &p.Trust.LogKeys, &p.Trust.CTKeys} {
		*f = beside(dir, *f)
	}
	return &p, nil
}

func beside(dir, name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

func (p *Policy) check() error {
	var errs []error
	if p.MaxAge != "" {
		if _, err := age(p.MaxAge); err != nil {
			errs = append(errs, p.at("max-age", err))
		}
	}
	for i, a := range p.Attestations {
		if _, err := PredicateType(a); err != nil {
			errs = append(errs, p.at(fmt.Sprintf("attestations[%d]", i), err))
		}
	}
	return errors.Join(append(errs, p.checkAudit()...)...)
}

// SignaturesBy reads whose signatures count from the files that the policy
// names.
func (p *Policy) SignaturesBy() (sign.Trust, error) {
	t := sign.Trust{Identities: p.Identities}
	for _, path := range p.Keys {
		b, err := readFile(path)
		if err != nil {
			return t, fmt.Errorf("reading a public key: %w", err)
		}
		k, err := sign.LoadPublicKey(filepath.Base(path), b)
		if err != nil {
			return t, err
		}
		t.Keys = append(t.Keys, k)
	}
	for _, f := range []struct {
		path string
		into *[]byte
	}{
		{p.Trust.Root, &t.Authorities.TrustedRoot},
		{p.Trust.Certificates, &t.Authorities.Certificates},
		{p.Trust.Timestamps, &t.Authorities.Timestamps},
		{p.Trust.LogKeys, &t.Authorities.LogKeys},
		{p.Trust.CTKeys, &t.Authorities.CTKeys},
	} {
		if f.path == "" {
			continue
		}
		b, err := readFile(f.path)
		if err != nil {
			return t, fmt.Errorf("reading who vouches for identities: %w", err)
		}
		*f.into = b
	}
	return t, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}

// age reads a duration, in days too.
func age(s string) (time.Duration, error) {
	var days int
	var rest string
	if n, _ := fmt.Sscanf(s, "%d%s", &days, &rest); n == 2 && rest == "d" && days > 0 {
		return time.Duration(days) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no duration: want 720h or 30d", s)
	}
	return d, nil
}
