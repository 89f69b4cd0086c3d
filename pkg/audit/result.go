package audit

import (
	"time"

	"github.com/etcdimg/etcdimg/pkg/diff"
)

// Result is everything that an audit found. It has no map whose order could
// show, and every list in it is sorted: the same image, database, statements and
// policy give the same bytes.
type Result struct {
	Tool      string `json:"tool"`            // and its version: etcdimg v1.2.3
	Reference string `json:"reference"`       // as it was asked for
	Digest    string `json:"digest"`          // "sha256:…" of the index or the image
	MediaType string `json:"mediaType"`       // of that digest
	Title     string `json:"title,omitempty"` // what the image calls itself, with its version: etcd 3.6.16
	// Purl is the product of VEX statements: pkg:oci/etcd@sha256:…
	Purl string `json:"purl"`

	Images   []Image   `json:"images"`   // one per platform, as the index has them
	Packages []Package `json:"packages"` // of all images, by kind, name, version
	Findings []Finding `json:"findings"` // worst first

	Databases []Database `json:"databases"`           // that findings are from; none where no --db was given
	NotJudged []Gap      `json:"notJudged,omitempty"` // what no database has a word about

	Policy     *Policy     `json:"policy,omitempty"`     // nil where none was given
	Signatures []Signature `json:"signatures,omitempty"` // by digest
	Statements []Statement `json:"statements,omitempty"` // SBOMs, provenances, VEX that go with the image
	Provenance *Provenance `json:"provenance,omitempty"` // as the image's own says
	Since      *Since      `json:"since,omitempty"`      // what changed since an image from before
}

// Image is one image of the index, or the only one.
type Image struct {
	Arch       string    `json:"arch"`     // GOARCH
	Platform   string    `json:"platform"` // linux/arm64
	Digest     string    `json:"digest"`
	Created    time.Time `json:"created"` // of its newest input
	User       string    `json:"user,omitempty"`
	Entrypoint []string  `json:"entrypoint,omitempty"`
	Cmd        []string  `json:"cmd,omitempty"`
	WorkDir    string    `json:"workDir,omitempty"`
	Volumes    []string  `json:"volumes,omitempty"`
	Ports      []string  `json:"ports,omitempty"`
	Size       int64     `json:"size"`   // of all layers, compressed, bytes
	Layers     []Layer   `json:"layers"` // lowest first
	SBOM       string    `json:"sbom"`   // where the packages are from: "referrer", "attestation" or "scan"
	Risks      []Risk    `json:"risks,omitempty"`
}

// Layer is one layer, and what it brings.
type Layer struct {
	Digest   string   `json:"digest"`
	Size     int64    `json:"size"`     // compressed, bytes
	Unpacked int64    `json:"unpacked"` // sum of the files' sizes, bytes
	Files    int      `json:"files"`
	Contents string   `json:"contents,omitempty"` // as the history says: etcd-3.6.16
	Packages []string `json:"packages,omitempty"` // that it brings: "tzdata 2026a-0+deb13u1"
}

// Risk is something about the files or the configuration of an image that
// policies have rules for.
type Risk struct {
	Kind   RiskKind `json:"kind"`
	Path   string   `json:"path,omitempty"`
	Detail string   `json:"detail,omitempty"` // "mode 4755, owner 0:0"
}

// RiskKind is a kind of risk.
type RiskKind string

// The kinds of risks.
const (
	Setuid        RiskKind = "setuid"         // a file with the setuid or setgid bit
	WorldWritable RiskKind = "world-writable" // a path that everybody may write to, without the sticky bit
	Shell         RiskKind = "shell"          // a program that is a shell
	RootUser      RiskKind = "root-user"      // the image starts as uid 0
)

// PackageKind says by which rules a package's versions are compared.
type PackageKind string

// The kinds of packages.
const (
	GoModule  PackageKind = "go"     // a Go module, in a binary
	Toolchain PackageKind = "stdlib" // Go itself: its standard library, in a binary
	Debian    PackageKind = "deb"    // a Debian package
	OtherKind PackageKind = "other"  // whatever else the SBOM names; no database here knows it
)

// Package is one version of something that is in the image.
type Package struct {
	Kind     PackageKind `json:"kind"`
	Name     string      `json:"name"`
	Version  string      `json:"version"`
	Purl     string      `json:"purl,omitempty"`
	Licence  string      `json:"licence,omitempty"`  // SPDX expression; empty where it is not known
	Supplier string      `json:"supplier,omitempty"` // Organization: Debian
	// Origin is where it can be had: a download location, or the repository.
	Origin string `json:"origin,omitempty"`
	// Source is the source package of a Debian package, with its version.
	Source  string   `json:"source,omitempty"`
	Digests []Digest `json:"digests,omitempty"`
	// In are the files that have it: a Go module's binaries. Empty for packages
	// that are files of their own.
	In    []string `json:"in,omitempty"`
	Archs []string `json:"archs"` // GOARCH of the images that have it
	// Findings are the identifiers of what is known about it.
	Findings []string `json:"findings,omitempty"`
}

// Digest is a sum of a package.
type Digest struct {
	Algorithm string `json:"algorithm"` // SHA256, or h1 for a module's sum as go.sum has it
	Value     string `json:"value"`     // lower-case hex; base64 behind "h1:" for h1
}

// Severity is how bad a vulnerability is, as its database or its CVSS vector
// says.
type Severity string

// The severities, worst first.
const (
	Critical   Severity = "critical"
	High       Severity = "high"
	Medium     Severity = "medium"
	Low        Severity = "low"
	Negligible Severity = "negligible" // Debian's unimportant
	Unknown    Severity = "unknown"    // nobody says; the Go database does not
)

// Reachability says how near the vulnerable code is to being run.
type Reachability string

// The reaches, nearest first.
const (
	// Called: a vulnerable function is in the binary, and so reachable as far
	// as the linker could tell.
	Called Reachability = "called"
	// Imported: the vulnerable package is in the binary, none of its vulnerable
	// functions is.
	Imported Reachability = "imported"
	// Required: the module is named by the binary, the vulnerable package is
	// not in it.
	Required Reachability = "required"
	// PackageLevel: the package is installed; whether its code runs was not
	// looked at. So it is with Debian packages.
	PackageLevel Reachability = "package"
)

// Finding is a vulnerability in a version of a package.
type Finding struct {
	ID       string   `json:"id"`                // GO-2023-1988, DEBIAN-CVE-2026-1
	Aliases  []string `json:"aliases,omitempty"` // CVE-…, GHSA-…
	Summary  string   `json:"summary,omitempty"`
	Details  string   `json:"details,omitempty"` // Markdown, by strangers
	URL      string   `json:"url,omitempty"`     // where people read about it
	Severity Severity `json:"severity"`
	Score    string   `json:"score,omitempty"` // CVSS vector, where there is one

	Kind      PackageKind `json:"kind"`
	Package   string      `json:"package"`
	Installed string      `json:"installed"`       // version
	Fixed     string      `json:"fixed,omitempty"` // first version that is right; empty for none
	Purl      string      `json:"purl,omitempty"`  // of the package

	Reachability Reachability `json:"reachability"`
	Symbols      []string     `json:"symbols,omitempty"` // vulnerable functions in the binary: golang.org/x/net/html.Parse
	Files        []string     `json:"files,omitempty"`   // of the image, that have the package
	Archs        []string     `json:"archs"`             // GOARCH of the images

	VEX       *VEX       `json:"vex,omitempty"`       // nil where nobody says anything
	Exception *Exception `json:"exception,omitempty"` // of the policy, that covers it

	// Open says that nothing settles it: no statement that it does not affect
	// the image or is fixed, and no exception.
	Open bool `json:"open"`
}

// VEX is what a statement says about a finding (OpenVEX v0.2.0).
type VEX struct {
	Status        string    `json:"status"`                  // not_affected, affected, fixed, under_investigation
	Justification string    `json:"justification,omitempty"` // vulnerable_code_not_in_execute_path, …
	Statement     string    `json:"statement,omitempty"`     // impact or action, in words
	Timestamp     time.Time `json:"timestamp"`
	From          string    `json:"from"`   // "analysis", the file's name, or "attestation by cosign.pub"
	Author        string    `json:"author"` // of the document
}

// Exception is a rule's exception, as the policy has it.
type Exception struct {
	Reason  string `json:"reason"`
	Expires string `json:"expires"` // 2026-12-31: the last day that it holds
	Expired bool   `json:"expired"` // then it covers nothing
	Line    int    `json:"line"`    // in the policy
}

// Database is a source of vulnerabilities.
type Database struct {
	Source string    `json:"source"` // as it was named
	Kind   string    `json:"kind"`   // folder, archive or address
	Date   time.Time `json:"date"`   // of its newest record
	// DateFrom is where the date is from: "index/db.json", "modified", "Last-Modified" or "file name".
	DateFrom   string      `json:"dateFrom"`
	Digest     string      `json:"digest"` // "sha256:…" of what was read
	Records    int         `json:"records"`
	Ecosystems []Ecosystem `json:"ecosystems"` // by name
}

// Ecosystem is what a database knows of one ecosystem.
type Ecosystem struct {
	Name    string `json:"name"` // Go, Debian:13
	Records int    `json:"records"`
}

// Gap is what was not judged, and why.
type Gap struct {
	What   string `json:"what"`   // "deb tzdata 2026a", or "24 Debian packages"
	Reason string `json:"reason"` // no database has records of Debian:13
}

// Policy is what a policy found.
type Policy struct {
	Source string   `json:"source"` // the file
	Rules  []string `json:"rules"`  // that it has, by name
	Breaks []Break  `json:"breaks"` // each rule that does not hold, excepted ones too
	Broken bool     `json:"broken"` // by a break without an exception that holds
}

// Break is a rule that does not hold.
type Break struct {
	Rule      string     `json:"rule"`   // severity, licences, packages, setuid, world-writable, user, sbom, age, signatures
	Digest    string     `json:"digest"` // of the image
	Archs     []string   `json:"archs,omitempty"`
	Subject   string     `json:"subject"` // package, path or vulnerability
	Expected  string     `json:"expected"`
	Found     string     `json:"found"`
	Line      int        `json:"line,omitempty"` // of the rule, in the policy
	Exception *Exception `json:"exception,omitempty"`
}

// Signature is a signature, or a signed statement, that was found.
type Signature struct {
	Subject       string `json:"subject"` // the digest that is signed
	Form          string `json:"form"`    // .sig, .att, referrer or bundle
	PredicateType string `json:"predicateType,omitempty"`
	By            string `json:"by,omitempty"` // the key's name or the identity, where it was verified or is told
	Verified      bool   `json:"verified"`     // against the keys that were given
}

// Statement is something that is said about a digest.
type Statement struct {
	Subject  string `json:"subject"`
	Digest   string `json:"digest"`             // of the statement's manifest
	Kind     string `json:"kind"`               // spdxjson, cyclonedx, slsaprovenance1, openvex, or a type
	Verified string `json:"verified,omitempty"` // by whom; empty where nobody's key was asked for
}

// Provenance is how the image was made, as its provenance says. It is read, and
// verified as far as the statement that it is from is.
type Provenance struct {
	Builder  string     `json:"builder"` // etcdimg v1.2.3
	Etcd     []Compiled `json:"etcd,omitempty"`
	Packages int        `json:"packages"`           // Debian packages
	Snapshot string     `json:"snapshot,omitempty"` // of Debian's archive: 20260801T000000Z
	Skipped  []string   `json:"skipped,omitempty"`  // suites that could not be verified
	Newest   time.Time  `json:"newest"`             // date of the newest input
}

// Compiled is one version of etcd.
type Compiled struct {
	Version   string   `json:"version"`
	Toolchain string   `json:"toolchain,omitempty"` // empty for a release's binaries
	Modules   int      `json:"modules,omitempty"`
	Edits     []string `json:"edits,omitempty"` // module@version: reason
}

// Since compares with an image from before.
type Since struct {
	Reference string        `json:"reference"`
	Digest    string        `json:"digest"`
	Changes   []diff.Change `json:"changes"`
	New       []string      `json:"new,omitempty"`  // findings that the one before did not have: "GO-1 golang.org/x/net"
	Gone      []string      `json:"gone,omitempty"` // findings that only the one before had
}
