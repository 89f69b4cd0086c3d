package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/audit/content"
	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/sbom"
)

// looked is one image that was looked into.
type looked struct {
	Image
	hash     v1.Hash
	layers   []*content.Layer
	tree     content.Tree
	contents *contents
	claims   []claim
}

// look reads one image: its layers, and the SBOM about it.
func (a *auditor) look(ctx context.Context, img inspect.Image) (*looked, error) {
	hash, err := v1.NewHash(img.Digest)
	if err != nil {
		return nil, err
	}
	arch := strings.TrimPrefix(img.Platform, "linux/")
	l := &looked{hash: hash, Image: Image{
		Arch: arch, Platform: img.Platform, Digest: img.Digest, Created: img.Created, User: img.User,
		Entrypoint: img.Entrypoint, Cmd: img.Cmd, WorkDir: img.WorkDir, Volumes: img.Volumes, Ports: img.Ports, Size: img.Size(),
	}}
	for _, layer := range img.Layers {
		h, err := v1.NewHash(layer.Digest)
		if err != nil {
			return nil, err
		}
		read, err := content.Read(ctx, a.req.Source, h, a.req.Cache)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", img.Digest, err)
		}
		l.layers = append(l.layers, read)
	}
	l.tree = content.Merge(l.layers)
	if l.claims, err = a.claimsAbout(ctx, hash); err != nil {
		return nil, err
	}
	if err := a.inventory(ctx, l); err != nil {
		return nil, fmt.Errorf("image %s: %w", img.Digest, err)
	}
	l.describeLayers(img)
	l.Risks = l.risks()
	return l, nil
}

// inventory reads the SBOM that is about the image, or makes one of its files.
func (a *auditor) inventory(ctx context.Context, l *looked) error {
	for _, c := range l.claims {
		if c.kind != "spdxjson" || a.req.Scan {
			continue
		}
		read, err := readSBOM(c.predicate, l.Arch)
		if err != nil {
			return fmt.Errorf("its SBOM (%s): %w", c.from, err)
		}
		l.contents, l.SBOM = read, c.from
		return nil
	}
	document, err := a.scan(ctx, l)
	if err != nil {
		return err
	}
	l.SBOM = "scan"
	l.contents, err = readSBOM(document, l.Arch)
	return err
}

const scanKind = "audit-scan"

// scan looks at the files of an image with syft, once.
func (a *auditor) scan(ctx context.Context, l *looked) ([]byte, error) {
	var kept struct {
		Document json.RawMessage `json:"document"`
	}
	key := l.hash.Hex
	if a.req.Cache.ReadRecord(scanKind, key, &kept) == nil {
		return kept.Document, nil
	}
	var layers []io.Reader
	for _, layer := range l.layers {
		h, err := v1.NewHash(layer.Digest)
		if err != nil {
			return nil, err
		}
		r, err := a.req.Source.Layer(ctx, h)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		layers = append(layers, r)
	}
	tree, err := sbom.Unpack(ctx, a.req.Cache, layers...)
	if err != nil {
		return nil, err
	}
	facts := sbom.Facts{Name: baseName(a.req.Reference), Arch: l.Arch, Created: l.Created, Tree: tree}
	document, err := (&sbom.Maker{Store: a.req.Cache}).Document(ctx, sbom.SPDX, facts, l.Digest)
	if err != nil {
		return nil, err
	}
	kept.Document = bytes.TrimSpace(document)
	return document, a.req.Cache.WriteRecord(scanKind, key, kept)
}

// baseName is what a reference calls an image, without registry, tag and digest.
func baseName(reference string) string {
	base, _, _ := strings.Cut(path.Base(strings.ReplaceAll(reference, "\\", "/")), "@")
	base, _, _ = strings.Cut(base, ":")
	return strings.ToLower(strings.TrimSuffix(base, ".tar"))
}

func (l *looked) describeLayers(img inspect.Image) {
	for i, layer := range l.layers {
		told := Layer{Digest: layer.Digest, Size: img.Layers[i].Size, Contents: img.Layers[i].Contents}
		brings := map[string]bool{}
		for _, e := range layer.Entries {
			if e.Kind == content.Gone || e.Kind == content.Opaque {
				continue
			}
			told.Unpacked += e.Size
			if e.Kind != content.Dir {
				told.Files++
			}
			if n, ok := l.contents.brought[e.Path]; ok {
				p := l.contents.packages[n]
				brings[strings.TrimSpace(p.Name+" "+p.Version)] = true
			}
		}
		told.Packages = slices.Sorted(maps.Keys(brings))
		l.Layers = append(l.Layers, told)
	}
}

// shells are names of programs that are shells, or have one in them.
var shells = []string{"sh", "bash", "dash", "ash", "ksh", "ksh93", "mksh", "zsh", "csh", "tcsh", "fish", "rbash", "yash", "busybox", "toybox", "nu", "pwsh"}

const (
	setIDs        = 0o6000
	sticky        = 0o1000
	writeByOthers = 0o002
	executable    = 0o111
)

// risks are what policies have rules for, by path.
func (l *looked) risks() []Risk {
	var found []Risk
	for _, p := range slices.Sorted(maps.Keys(l.tree)) {
		e := l.tree[p]
		detail := fmt.Sprintf("mode %04o, owner %d:%d", e.Mode, e.UID, e.GID)
		if e.Kind == content.File && e.Mode&setIDs != 0 {
			found = append(found, Risk{Setuid, p, detail})
		}
		if e.Kind != content.Symlink && e.Mode&writeByOthers != 0 && (e.Kind != content.Dir || e.Mode&sticky == 0) {
			found = append(found, Risk{WorldWritable, p, detail})
		}
		if slices.Contains(shells, path.Base(p)) && (e.Kind == content.File && e.Mode&executable != 0 || e.Kind == content.Symlink && inBin(p)) {
			if e.Kind == content.Symlink {
				detail = "a link to " + e.Link
			}
			found = append(found, Risk{Shell, p, detail})
		}
	}
	if user, _, _ := strings.Cut(l.User, ":"); user == "" || user == "root" || strings.Trim(user, "0") == "" {
		shown := l.User
		if shown == "" {
			shown = "not said, which is root"
		}
		found = append(found, Risk{Kind: RootUser, Detail: "user " + shown})
	}
	return found
}

func inBin(p string) bool {
	base := path.Base(path.Dir(p))
	return base == "bin" || base == "sbin"
}
