package sbom

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"time"

	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// SyftVersion is the version of syft that looks at the files.
const SyftVersion = "v1.54.1"

// form rises when the same facts come to other documents.
const form = "sbom 1"

// Facts are what is known of one image.
type Facts struct {
	Name    string    // the profile's: etcd
	Version string    // of the image: 3.6.16; empty for none
	Arch    string    // GOARCH
	Created time.Time // the image's date
	Licence string    // SPDX expression for the image as a whole; empty for what its parts have together

	Tree *rootfs.Tree // everything that is in the image

	// What the build knows. Where Scanned is set it is nothing: what syft finds
	// is all that is told.
	Scanned bool
	Etcd    []lock.Etcd    // the versions in the image
	Debian  []lock.Package // the packages in it

	Program *Program `json:",omitempty"` // nil for an image
}

// Program is what facts are of that is no image but one program in a file. Its
// SBOM tells the program's modules as an image's does.
type Program struct {
	Platform string // GOOS/GOARCH: darwin/arm64
	PURL     string // its package URL
}

// Module is a published version of a Go module.
type Module struct {
	Path, Version string
	Sum           string // "h1:…", as go.sum has it
}

// Modules gives the files of published modules.
type Modules interface {
	// RootFiles returns those files at the root of each module whose names are
	// wanted, by name. What it returns has been checked against the module's
	// sum. The modules come in no order.
	RootFiles(ctx context.Context, modules []Module, wanted func(name string) bool) (map[Module]map[string]string, error)
}

// key identifies everything that the inventory of an image follows from:
// neither directories, which no inventory lists, nor the SBOM in the image,
// which follows from the inventory.
func (f Facts) key() (string, error) {
	h := sha256.New()
	add(h, form, SyftVersion)
	if err := f.addInputs(h); err != nil {
		return "", err
	}
	err := f.Tree.Walk(func(e *rootfs.Entry) error {
		if e.Path == f.InsidePath() || e.Type == rootfs.Dir {
			return nil
		}
		digest := ""
		if e.Content != nil {
			digest = e.Content.Digest()
		}
		add(h, e.Path, string(e.Type), fmt.Sprint(e.Mode), e.Link, e.Origin, digest)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

func (f Facts) addInputs(h hash.Hash) error {
	f.Tree, f.Created = nil, f.Created.UTC()
	inputs, err := json.Marshal(f)
	add(h, string(inputs))
	return err
}

// add hashes strings, each with its length.
func add(h hash.Hash, parts ...string) {
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
}

// InsidePath is where the image has its own SBOM: where apko and the images of
// Wolfi have theirs, and syft's cataloger of SBOMs looks.
func (f Facts) InsidePath() string { return "/var/lib/db/sbom/" + f.Name + ".spdx.json" }
