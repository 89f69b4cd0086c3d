// Package diff tells how two locks, two profiles or two images differ, as
// values: what was added, removed and changed. Text, Markdown and JSON are
// forms of the same report.
//
// It must not know how any of them is made or where it was found.
package diff

import "fmt"

// Change is one thing that is another in the second of two.
type Change struct {
	Kind     Kind     `json:"kind"`
	Name     string   `json:"name"`               // of the package, the file, the key, …
	Of       string   `json:"of,omitempty"`       // what it is part of: etcd 3.6.16
	Archs    []string `json:"archs,omitempty"`    // GOARCH, where it is of some architectures only
	Old      string   `json:"old,omitempty"`      // empty where it is new
	New      string   `json:"new,omitempty"`      // empty where it is gone
	Security bool     `json:"security,omitempty"` // the new one is from an archive of security updates, or fixes something
	Fixes    []string `json:"fixes,omitempty"`    // vulnerabilities of the old one that the new one does not have, where somebody looked
	Brings   []string `json:"brings,omitempty"`   // and those that the old one did not have
}

// Kind is what a change is of.
type Kind string

// The kinds of changes, in the order in which reports have them.
const (
	Format    Kind = "format"    // of images, or of the lock
	Etcd      Kind = "etcd"      // a version, or its pin as a whole
	Toolchain Kind = "toolchain" // the Go release that compiles
	Module    Kind = "module"    // a Go module
	Package   Kind = "package"   // a Debian package
	Suite     Kind = "suite"     // a signed index
	ImageKind Kind = "image"     // the image of an architecture, as a whole
	Config    Kind = "config"    // a key of a profile, or of an image's configuration
	File      Kind = "file"      // a file of an image, or one beside a profile
	Size      Kind = "size"      // of an image, compressed
	Other     Kind = "other"     // whatever else a lock says
)

// kinds are all kinds, in order, with their headings.
func kinds() []struct {
	kind    Kind
	heading string
} {
	return []struct {
		kind    Kind
		heading string
	}{
		{Format, "Format"}, {Etcd, "etcd"}, {Toolchain, "Toolchain"}, {Module, "Go modules"}, {Package, "Debian packages"},
		{Suite, "Package indexes"}, {ImageKind, "Images"}, {Config, "Configuration"}, {File, "Files"}, {Size, "Compressed size"}, {Other, "Others"},
	}
}

// Heading is the kind in words, as reports have it above the changes.
func (k Kind) Heading() string {
	for _, known := range kinds() {
		if known.kind == k {
			return known.heading
		}
	}
	return string(k)
}

// String is the change on one line.
func (c Change) String() string {
	s := string(c.Kind) + " " + c.Name
	if c.Of != "" {
		s += " of " + c.Of
	}
	for i, a := range c.Archs {
		sep := ", "
		if i == 0 {
			sep = " for "
		}
		s += sep + a
	}
	return s + ": " + c.values() + c.marks()
}

func (c Change) values() string {
	switch {
	case c.Old == "":
		return "added " + c.New
	case c.New == "":
		return "removed " + c.Old
	}
	return fmt.Sprintf("%s → %s", c.Old, c.New)
}
