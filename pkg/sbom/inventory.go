package sbom

import (
	"cmp"
	"context"
	"crypto/sha1" //nolint:gosec // SPDX 2.3 wants it of every file
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// kind is what an item is.
type kind string

const (
	kindImage   kind = "image"
	kindEtcd    kind = "etcd"   // one version of etcd, as a whole
	kindModule  kind = "go"     // a Go module
	kindStdlib  kind = "stdlib" // Go's standard library and runtime
	kindDebian  kind = "deb"
	kindAlpine  kind = "apk"
	kindBuilder kind = "toolchain" // what compiled; it is not in the image
)

// item is one package of an SBOM.
type item struct {
	Kind       kind     `json:"kind"`
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	PURL       string   `json:"purl,omitempty"`
	CPE        string   `json:"cpe,omitempty"`
	Licences   licences `json:"licences"`
	Supplier   string   `json:"supplier,omitempty"`   // an organization
	Originator string   `json:"originator,omitempty"` // Person: … or Organization: …
	Download   string   `json:"download,omitempty"`
	SHA256     string   `json:"sha256,omitempty"` // of what Download leads to, hex
	Sum        string   `json:"sum,omitempty"`    // h1:…, of a Go module
	Source     string   `json:"source,omitempty"` // what it was made from, in words
	Comment    string   `json:"comment,omitempty"`
	Changed    string   `json:"changed,omitempty"` // how it is not what was published, in words
	Program    bool     `json:"program,omitempty"` // something to run, not a library

	Files []string `json:"files,omitempty"` // paths of what it brought
	In    []string `json:"in,omitempty"`    // paths of the programs that it is linked into
	For   []string `json:"for,omitempty"`   // of a toolchain: the versions of etcd that it compiled
}

func (i item) id() string {
	sum := sha256.Sum256([]byte(string(i.Kind) + "\x00" + i.Name + "\x00" + i.Version + "\x00" + i.Changed))
	return "Package-" + string(i.Kind) + "-" + idString(i.Name+"-"+i.Version) + "-" + hex.EncodeToString(sum[:4])
}

// filed is one file of the image. A link has the digests of its target's name.
type filed struct {
	Path     string `json:"path"`
	SHA1     string `json:"sha1"`
	SHA256   string `json:"sha256"`
	Link     string `json:"link,omitempty"`     // what a symbolic link says
	Same     string `json:"same,omitempty"`     // what a hard link repeats
	Program  bool   `json:"program,omitempty"`  // executable
	MadeFrom string `json:"madeFrom,omitempty"` // the package whose data it was made of
}

func (f filed) id() string {
	sum := sha256.Sum256([]byte(f.Path))
	return "File-" + idString(f.Path) + "-" + hex.EncodeToString(sum[:4])
}

// inventory is everything that an SBOM of an image tells, in no format.
type inventory struct {
	Image item    `json:"image"`
	Items []item  `json:"items"` // by kind, name, version
	Files []filed `json:"files"` // by path
}

// loose are the files that no item brought: the image as a whole did.
func (inv *inventory) loose() []string {
	owned := map[string]bool{}
	for _, i := range inv.Items {
		for _, p := range i.Files {
			owned[p] = true
		}
	}
	var loose []string
	for _, f := range inv.Files {
		if !owned[f.Path] {
			loose = append(loose, f.Path)
		}
	}
	return loose
}

// owner is the item that brought a file.
func (inv *inventory) owner(path string) *item {
	for n := range inv.Items {
		if slices.Contains(inv.Items[n].Files, path) {
			return &inv.Items[n]
		}
	}
	return &inv.Image
}

func (inv *inventory) sort() {
	for n := range inv.Items {
		i := &inv.Items[n]
		slices.Sort(i.Files)
		slices.Sort(i.In)
		i.In = slices.Compact(i.In)
	}
	slices.SortFunc(inv.Items, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Changed, b.Changed))
	})
	slices.SortFunc(inv.Files, func(a, b filed) int { return cmp.Compare(a.Path, b.Path) })
}

// bundleFile holds the certificates of all authorities that programs trust.
const bundleFile = "/etc/ssl/certs/ca-certificates.crt"

// listFiles lists what is in a tree, directories and one file excepted.
func listFiles(ctx context.Context, t *rootfs.Tree, but string) ([]filed, error) {
	var files []filed
	at := map[string]filed{}
	var links []*rootfs.Entry
	err := t.Walk(func(e *rootfs.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case e.Path == but:
		case e.Type == rootfs.File:
			f, err := listFile(e)
			at[e.Path] = f
			files = append(files, f)
			return err
		case e.Type == rootfs.Symlink:
			f := filed{Path: e.Path, Link: e.Link}
			f.SHA1, f.SHA256 = sums(e.Link)
			files = append(files, f)
		case e.Type == rootfs.Hardlink:
			links = append(links, e)
		}
		return nil
	})
	for _, e := range links {
		f := at[e.Link]
		f.Path, f.Same = e.Path, e.Link
		files = append(files, f)
	}
	return files, err
}

func listFile(e *rootfs.Entry) (filed, error) {
	f := filed{Path: e.Path, SHA256: strings.TrimPrefix(e.Content.Digest(), "sha256:"), Program: e.Mode&0o111 != 0}
	if e.Path == bundleFile {
		f.MadeFrom = "ca-certificates"
	}
	r, err := e.Content.Open()
	if err != nil {
		return f, fmt.Errorf("reading %s: %w", e.Path, err)
	}
	defer r.Close()
	h := sha1.New() //nolint:gosec // as above
	if _, err := io.Copy(h, r); err != nil {
		return f, fmt.Errorf("reading %s: %w", e.Path, err)
	}
	f.SHA1 = hex.EncodeToString(h.Sum(nil))
	return f, nil
}

func sums(s string) (sha1Hex, sha256Hex string) {
	a, b := sha1.Sum([]byte(s)), sha256.Sum256([]byte(s)) //nolint:gosec // as above
	return hex.EncodeToString(a[:]), hex.EncodeToString(b[:])
}
