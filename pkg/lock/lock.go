// Package lock holds every input of an image, pinned by digest: what a profile
// resolves to. It is the one value between resolving, which needs the network
// and has a date, and building, which has neither.
//
// It must not know how inputs are fetched or what is made of them. It names no
// mirror, no machine and no clock.
package lock

import "time"

// FormatVersion numbers everything in etcdimg that decides an image's bytes
// beside the lock itself: rules for packages, order and form of layers,
// compression. It rises when any of it changes.
const FormatVersion = 1

// SchemaVersion is the version of the lock's own form.
const SchemaVersion = 1

// Lock pins the inputs of one profile for all of its architectures.
type Lock struct {
	SchemaVersion int    `json:"schemaVersion"`
	FormatVersion int    `json:"formatVersion"`
	Profile       string `json:"profile"` // "sha256:…" of the profile as resolved

	Etcd   []Etcd   `json:"etcd,omitempty"`   // in the profile's order
	Suites []Suite  `json:"suites,omitempty"` // in the profile's order, then by architecture
	Debian []Debian `json:"debian,omitempty"` // by architecture
}

// Etcd pins one etcd version: the wrapper module that compiles it, complete,
// and the toolchain. Together with an architecture it determines the binaries.
type Etcd struct {
	Version       string            `json:"version"`       // 3.6.16
	ModuleVersion string            `json:"moduleVersion"` // v3.6.16, or a pseudo-version
	Line          string            `json:"line"`          // 3.6
	Date          time.Time         `json:"date"`          // of the version, UTC, from the module proxy
	Toolchain     string            `json:"toolchain"`     // go1.27.4
	Packages      map[string]string `json:"packages"`      // binary name → main package import path
	Variables     map[string]string `json:"variables"`     // -X name → value
	GoMod         string            `json:"goMod"`         // the wrapper's go.mod, complete
	GoSum         string            `json:"goSum"`         // the wrapper's go.sum, complete
	Settings      map[string]string `json:"settings"`      // GOFIPS140, GOAMD64, … where the profile sets one
}

// Suite is one signed index that packages were chosen from.
type Suite struct {
	Archive    string    `json:"archive"`           // debian, debian-security, or a URL that the profile names
	Suite      string    `json:"suite"`             // trixie
	Components []string  `json:"components"`        // main
	Arch       string    `json:"arch"`              // Debian's name
	Date       time.Time `json:"date"`              // the Release file's Date, UTC
	SHA256     string    `json:"sha256"`            // of InRelease, hex
	SignedBy   []string  `json:"signedBy"`          // fingerprints of the keys whose signatures were good, upper-case hex
	Skipped    string    `json:"skipped,omitempty"` // why this suite was left out for this architecture, where it was allowed
}

// Debian is the package set of one architecture.
type Debian struct {
	Arch     string    `json:"arch"`              // GOARCH
	Packages []Package `json:"packages"`          // by name
	Omitted  []string  `json:"omitted,omitempty"` // names that the profile leaves out although something depends on them
}

// Package pins one .deb.
type Package struct {
	Name     string `json:"name"`
	Version  string `json:"version"` // deb-version(7)
	Arch     string `json:"arch"`    // Debian's name, or all
	Source   string `json:"source"`  // source package, with its version in parentheses where it differs
	Archive  string `json:"archive"` // as Suite.Archive
	Suite    string `json:"suite"`
	Snapshot string `json:"snapshot"` // timestamp YYYYMMDDTHHMMSSZ under which snapshot.debian.org has it
	Path     string `json:"path"`     // pool path relative to the archive's root
	Size     int64  `json:"size"`     // bytes
	SHA256   string `json:"sha256"`   // hex
}
