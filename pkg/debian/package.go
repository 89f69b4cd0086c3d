package debian

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// unpackVersion rises when the same .deb comes to another record.
const unpackVersion = "unpack 1"

// packageRecord is what remains of a .deb: everything but the bytes of its
// files, which are one blob, the pack, back to back.
type packageRecord struct {
	Pack      string        `json:"pack,omitempty"` // digest; empty where there is no byte to keep
	Date      time.Time     `json:"date"`           // newest modification time in the data archive
	Control   string        `json:"control"`        // the control file, as it is
	Files     []recordFile  `json:"files"`          // of the control archive, control excepted
	Entries   []recordEntry `json:"entries"`        // of the data archive, in its order
	Conffiles []Conffile    `json:"conffiles,omitempty"`
}

type recordFile struct {
	Name      string `json:"name"`
	Mode      uint32 `json:"mode"`
	Generated bool   `json:"generated,omitempty"`
	recordContent
}

type recordEntry struct {
	Path string `json:"p"`
	Type string `json:"t"`
	Mode uint32 `json:"m"`
	UID  int    `json:"u,omitempty"`
	GID  int    `json:"g,omitempty"`
	Link string `json:"l,omitempty"`
	recordContent
}

// recordContent is a section of the pack.
type recordContent struct {
	SHA256 string `json:"d,omitempty"`
	Offset int64  `json:"o,omitempty"`
	Size   int64  `json:"s,omitempty"`
}

// Package is an unpacked .deb. It must not be changed: it is shared.
type Package struct {
	Name, Version, Arch string // as its control file has them
	Control             Stanza
	ControlFile         []byte        // the control file, as it is
	Files               []ControlFile // the rest of the control archive, by name
	// Entries are the files that it ships, in the order of its data archive,
	// without the root. Origin is the package's name; Component is "certificates" for
	// ca-certificates and tzdata, and rootfs.BaseComponent for all others.
	Entries   []rootfs.Entry
	Conffiles []Conffile
	Date      time.Time // newest modification time of what it ships, UTC
}

// Component is the layer component of what the package ships.
func (p *Package) Component() string { return componentOf(p.Name) }

// ControlFile is a file of a package's control archive: a maintainer script,
// md5sums, triggers, …
type ControlFile struct {
	Name      string
	Mode      uint32
	Content   rootfs.Content
	Generated bool // not in the package: md5sums that dpkg, too, makes where they are missing
}

// File returns a file of the control archive.
func (p *Package) File(name string) (ControlFile, bool) {
	for _, f := range p.Files {
		if f.Name == name {
			return f, true
		}
	}
	return ControlFile{}, false
}

type memo struct {
	pack string
	pkg  *Package
}

func (r *Resolver) remember(key string, rec *packageRecord, p lock.Package) (*Package, error) {
	control, err := checkControl([]byte(rec.Control), p.Name, p.Version, p.Arch)
	if err != nil {
		return nil, err
	}
	pkg := &Package{
		Name: p.Name, Version: p.Version, Arch: p.Arch,
		Control: control, ControlFile: []byte(rec.Control), Conffiles: rec.Conffiles, Date: rec.Date,
		Entries: make([]rootfs.Entry, len(rec.Entries)),
	}
	for _, f := range rec.Files {
		pkg.Files = append(pkg.Files, ControlFile{f.Name, f.Mode, r.section(rec.Pack, f.recordContent), f.Generated})
	}
	component := componentOf(p.Name)
	for i, e := range rec.Entries {
		if e.Type == "" {
			return nil, fmt.Errorf("record of %s: %s has no type", p.Name, e.Path)
		}
		entry := rootfs.Entry{
			Path: e.Path, Type: rootfs.Type(e.Type[0]), Mode: e.Mode, UID: e.UID, GID: e.GID, Link: e.Link,
			Component: component, Origin: p.Name,
		}
		if entry.Type == rootfs.File {
			entry.Content = r.section(rec.Pack, e.recordContent)
		}
		pkg.Entries[i] = entry
	}
	r.unpacked.Store(key, &memo{rec.Pack, pkg})
	return pkg, nil
}

// CertificatesComponent is the layer component of trust and zone data, which
// change at their own pace.
const CertificatesComponent = "certificates"

func componentOf(pkg string) string {
	if pkg == "ca-certificates" || pkg == "tzdata" {
		return CertificatesComponent
	}
	return rootfs.BaseComponent
}

// section is content that is part of a pack.
type section struct {
	store Store
	pack  string
	recordContent
}

func (r *Resolver) section(pack string, c recordContent) rootfs.Content {
	return &section{r.opts.Store, pack, c}
}

func (s *section) Digest() string { return "sha256:" + s.SHA256 }
func (s *section) Size() int64    { return s.recordContent.Size }

func (s *section) Open() (io.ReadCloser, error) {
	if s.recordContent.Size == 0 {
		return io.NopCloser(strings.NewReader("")), nil
	}
	f, err := s.store.Open(s.pack)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, s.Offset, s.recordContent.Size), f}, nil
}
