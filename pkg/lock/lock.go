// Package lock holds every input of an image, pinned by digest: what a profile
// resolves to. It is the one value between resolving, which needs the network
// and has a date, and building, which has neither.
//
// It must not know how inputs are fetched or what is made of them. It names no
// mirror, no machine and no clock.
package lock

import (
	"encoding/json"
	"time"
)

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

	// Config is the profile as resolved, a JSON object, so that a lock that no
	// longer matches its profile can tell why. Profile is the digest of its
	// form without blanks and with sorted keys.
	Config json.RawMessage `json:"config"`
	Files  []LocalFile     `json:"files,omitempty"` // what the profile names beside it, by path

	Etcd    []Etcd   `json:"etcd,omitempty"`    // in the profile's order
	Migrate *Migrate `json:"migrate,omitempty"` // nil for an image without it
	Suites  []Suite  `json:"suites,omitempty"`  // in the profile's order, then by architecture
	Debian  []Debian `json:"debian,omitempty"`  // by architecture
}

// Migrate pins the migrate operator. Its sources travel in etcdimg, so they are
// here by their digest alone. Together with an architecture it determines the
// binary.
type Migrate struct {
	Sources   string            `json:"sources"`   // "sha256:…" of the files that it is made from
	Toolchain string            `json:"toolchain"` // go1.27.4
	GoMod     string            `json:"goMod"`     // of the module of the sources, complete
	GoSum     string            `json:"goSum"`     // of the module of the sources, complete
	Settings  map[string]string `json:"settings"`  // as Etcd.Settings
}

// LocalFile pins a file that the profile takes from beside it.
type LocalFile struct {
	Path   string `json:"path"` // as the profile writes it
	SHA256 string `json:"sha256"`
}

// Etcd pins one etcd version: the wrapper module that compiles it, complete,
// with the toolchain; or, for the architectures that Release names, the
// archives of the official release. Together with an architecture it determines
// the binaries. Where every architecture is in Release, what is for compiling
// is empty.
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
	Edits         []Edit            `json:"edits,omitempty"`
	Release       *Release          `json:"release,omitempty"`
}

// Edit is a module that is not compiled as it was published. The wrapper's
// go.mod replaces it by the directory ./edited/MODULE, which whoever compiles
// makes: from the published module, whose checksum is in the wrapper's go.sum,
// or, where Own is set, from nothing but the files that are given here.
type Edit struct {
	Module  string     `json:"module"`  // path: github.com/ugorji/go
	Version string     `json:"version"` // as the wrapper's go.mod requires it
	Reason  string     `json:"reason"`  // why, in a line
	Own     bool       `json:"own,omitempty"`
	Files   []FileEdit `json:"files"` // by path
}

// FileEdit is what is done to one file of a module.
type FileEdit struct {
	Path    string   `json:"path"`             // relative to the module's root, with slashes
	Before  string   `json:"before,omitempty"` // SHA-256 of the published file, hex; empty where there is none
	After   string   `json:"after"`            // SHA-256 of what it becomes, hex
	Changes []Change `json:"changes"`          // in the order in which they are made
}

// Change puts one piece of text into the place of another.
type Change struct {
	Old        string `json:"old,omitempty"`        // empty for a file that is not there before
	Occurrence int    `json:"occurrence,omitempty"` // which one of Old's occurrences, from 1
	New        string `json:"new"`
}

// Release pins the archives of an official release. Paths are relative to a
// release page or a mirror of one, which the lock does not name.
type Release struct {
	Checksums File               `json:"checksums"` // the file that lists the archives' checksums
	Signature string             `json:"signature"` // of that file: "none" published, "unverified" for want of a key, or the fingerprint of the key that made it, upper-case hex
	Archives  map[string]Archive `json:"archives"`  // by GOARCH
}

// Archive is one archive of a release, and the programs in it.
type Archive struct {
	File
	Binaries map[string]string `json:"binaries"` // name → path within the archive
}

// File is a published file.
type File struct {
	Path   string `json:"path"`   // v3.6.16/SHA256SUMS
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // hex
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

	// Uncovered are maintainer scripts whose effects the image lacks, by
	// package.
	Uncovered []Scripts `json:"uncovered,omitempty"`

	// Unseen are names of packages that no source had when the lock was made,
	// as was allowed: what their maintainer scripts do is not known.
	Unseen []string `json:"unseen,omitempty"`
}

// Scripts are the maintainer scripts of a package that no rule of etcdimg
// stands for.
type Scripts struct {
	Package string   `json:"package"`
	Scripts []string `json:"scripts"` // preinst, postinst
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
