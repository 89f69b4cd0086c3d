// Package provenance says how an image was made: a SLSA provenance v1 as an
// in-toto statement about its digest. It names every input by digest, and
// carries what etcdimg needs to make the image again from the statement alone.
//
// The same inputs give the same statement: nothing in it tells when or where
// the build ran. docs/provenance.md describes the build type. The package must
// not know how statements are signed or stored.
package provenance

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// What the statements say they are.
const (
	StatementType = "https://in-toto.io/Statement/v1"                                          // in-toto attestation framework v1, Statement
	PredicateType = "https://slsa.dev/provenance/v1"                                           // SLSA v1, Provenance
	BuildType     = "https://github.com/etcdimg/etcdimg/blob/main/docs/provenance.md#build-v1" // how the parameters are to be read
	BuilderID     = "https://github.com/etcdimg/etcdimg"                                       // etcdimg on whichever machine: it vouches for no more than its digests do
)

// Statement is an in-toto statement whose predicate is a provenance.
type Statement struct {
	Type          string       `json:"_type"`
	Subject       []Descriptor `json:"subject"`
	PredicateType string       `json:"predicateType"`
	Predicate     Predicate    `json:"predicate"`
}

// Descriptor is in-toto's ResourceDescriptor.
type Descriptor struct {
	Name             string            `json:"name,omitempty"`
	URI              string            `json:"uri,omitempty"`
	Digest           map[string]string `json:"digest,omitempty"` // algorithm (in-toto DigestSet) → lower-case hex
	DownloadLocation string            `json:"downloadLocation,omitempty"`
	MediaType        string            `json:"mediaType,omitempty"`
	Annotations      map[string]any    `json:"annotations,omitempty"`
}

// Predicate is SLSA's Provenance.
type Predicate struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition is what determines the image.
type BuildDefinition struct {
	BuildType            string       `json:"buildType"`
	ExternalParameters   External     `json:"externalParameters"`
	InternalParameters   Internal     `json:"internalParameters"`
	ResolvedDependencies []Descriptor `json:"resolvedDependencies"`
}

// External is what the user asked for.
type External struct {
	Profile         json.RawMessage `json:"profile"` // as resolved: no includes, defaults filled in
	Architectures   []string        `json:"architectures"`
	SourceDateEpoch *int64          `json:"sourceDateEpoch,omitempty"` // where SOURCE_DATE_EPOCH was set, in seconds since 1970
}

// Internal is what etcdimg made of it.
type Internal struct {
	// Lock pins every input, of the architectures that were built. Its config
	// is left out, being the profile.
	Lock *lock.Lock `json:"lock"`
	// Files are the local files that the profile names, as it names them, but
	// those above 1 MiB: of these the lock has the digest.
	Files map[string][]byte `json:"files,omitempty"`
}

// RunDetails is who built. SLSA's metadata is left out: it is the time and the
// run, which do not determine the image.
type RunDetails struct {
	Builder    Builder      `json:"builder"`
	Byproducts []Descriptor `json:"byproducts,omitempty"` // of an index: its images
}

// Builder is who built.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

// JSON is the statement's form in attestations.
func (s *Statement) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return nil, fmt.Errorf("writing a provenance: %w", err)
	}
	return b.Bytes(), nil
}
