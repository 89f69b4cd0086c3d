// Package vex reads, merges and writes statements about whether vulnerabilities
// affect a product: OpenVEX v0.2.0.
//
// What it writes follows from its input alone: a document's identifier from its
// content, its time from what it was made of. The package must not know how
// anything was found out.
package vex

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Context is what documents say that they are.
const Context = "https://openvex.dev/ns/v0.2.0"

// namespace is where documents are named after what they say.
const namespace = "https://github.com/etcdimg/etcdimg/vex/"

// The statuses (OpenVEX, Status Labels).
const (
	NotAffected        = "not_affected"
	Affected           = "affected"
	Fixed              = "fixed"
	UnderInvestigation = "under_investigation"
)

// The justifications that call analysis has (OpenVEX, Status Justifications).
const (
	NotPresent = "vulnerable_code_not_present"
	NotCalled  = "vulnerable_code_not_in_execute_path"
)

var justifications = []string{
	"component_not_present", NotPresent, NotCalled,
	"vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist",
}

// Document is an OpenVEX document.
type Document struct {
	Context     string      `json:"@context"`
	ID          string      `json:"@id"`
	Author      string      `json:"author"`
	Role        string      `json:"role,omitempty"`
	Timestamp   time.Time   `json:"timestamp"`
	LastUpdated *time.Time  `json:"last_updated,omitempty"`
	Version     int         `json:"version"`
	Tooling     string      `json:"tooling,omitempty"`
	Statements  []Statement `json:"statements"`
}

// Statement is what is said of one vulnerability in some products.
type Statement struct {
	ID              string        `json:"@id,omitempty"`
	Vulnerability   Vulnerability `json:"vulnerability"`
	Timestamp       *time.Time    `json:"timestamp,omitempty"` // the document's where it is not there
	LastUpdated     *time.Time    `json:"last_updated,omitempty"`
	Products        []Product     `json:"products,omitempty"`
	Status          string        `json:"status"`
	StatusNotes     string        `json:"status_notes,omitempty"`
	Justification   string        `json:"justification,omitempty"`
	ImpactStatement string        `json:"impact_statement,omitempty"`
	ActionStatement string        `json:"action_statement,omitempty"`
}

// Vulnerability is named by any of its identifiers.
type Vulnerability struct {
	ID          string   `json:"@id,omitempty"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Aliases     []string `json:"aliases,omitempty"`
}

// Product is an image, with the parts of it that a statement is about; none for
// all of it.
type Product struct {
	Component
	Subcomponents []Component `json:"subcomponents,omitempty"`
}

// Component is named by an IRI, usually a package URL.
type Component struct {
	ID          string            `json:"@id,omitempty"`
	Identifiers map[string]string `json:"identifiers,omitempty"` // purl, cpe22, cpe23
	Hashes      map[string]string `json:"hashes,omitempty"`
}

// UnmarshalJSON takes a product that is a string too, as documents of v0.0.1
// had them.
func (p *Product) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &p.ID)
	}
	type plain Product
	return json.Unmarshal(b, (*plain)(p))
}

// UnmarshalJSON takes a vulnerability that is a string too, as documents of
// v0.0.1 had them.
func (v *Vulnerability) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &v.Name)
	}
	type plain Vulnerability
	return json.Unmarshal(b, (*plain)(v))
}

// Parse reads a document, and holds it against what OpenVEX requires.
func Parse(b []byte) (*Document, error) {
	var d Document
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("no OpenVEX document: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("no OpenVEX document: something follows it")
	}
	return &d, d.check()
}

func (d *Document) check() error {
	var wrong []string
	that := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	that(strings.HasPrefix(d.Context, "https://openvex.dev/ns"), "@context is %q, want %s", d.Context, Context)
	that(d.ID != "", "@id is missing")
	that(d.Author != "", "author is missing")
	that(!d.Timestamp.IsZero(), "timestamp is missing")
	that(len(d.Statements) > 0, "it has no statement")
	for i, s := range d.Statements {
		n := i + 1
		that(s.Vulnerability.Name != "" || s.Vulnerability.ID != "", "statement %d names no vulnerability", n)
		that(slices.Contains([]string{NotAffected, Affected, Fixed, UnderInvestigation}, s.Status), "statement %d: status is %q, want %s, %s, %s or %s", n, s.Status, NotAffected, Affected, Fixed, UnderInvestigation)
		that(s.Justification == "" || slices.Contains(justifications, s.Justification), "statement %d: justification is %q, want one of %s", n, s.Justification, strings.Join(justifications, ", "))
		that(s.Status != NotAffected || s.Justification != "" || s.ImpactStatement != "", "statement %d: not_affected without a justification", n)
		that(s.Status != Affected || s.ActionStatement != "", "statement %d: affected without an action_statement", n)
	}
	if len(wrong) == 0 {
		return nil
	}
	const most = 5
	if n := len(wrong); n > most {
		wrong = append(wrong[:most], fmt.Sprintf("and %d more", n-most))
	}
	return errors.New(strings.Join(wrong, "; "))
}

// New makes a document of statements, in the order of their vulnerabilities,
// named after its content.
func New(author, tooling string, at time.Time, statements []Statement) (*Document, error) {
	d := &Document{Context: Context, Author: author, Tooling: tooling, Timestamp: at.UTC(), Version: 1, Statements: slices.Clone(statements)}
	if d.Statements == nil {
		d.Statements = []Statement{}
	}
	slices.SortStableFunc(d.Statements, func(a, b Statement) int {
		return strings.Compare(sortKey(a), sortKey(b))
	})
	b, err := d.JSON()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	d.ID = namespace + hex.EncodeToString(sum[:])
	return d, nil
}

func sortKey(s Statement) string {
	b, err := json.Marshal(s)
	if err != nil {
		return s.Vulnerability.Name
	}
	return s.Vulnerability.Name + "\x00" + string(b)
}

// JSON is the document's form in files and attestations.
func (d *Document) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(d)
	return b.Bytes(), err
}
