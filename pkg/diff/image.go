package diff

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Source gives the parts of images by their digests. Manifests are verified by
// it; layers and configurations are verified here.
type Source interface {
	Manifest(digest v1.Hash) ([]byte, error)
	Open(digest v1.Hash) (io.ReadCloser, error)
}

// Image is an image or an index, and where its parts are.
type Image struct {
	Source Source
	Digest v1.Hash
}

// platformImage is an image of one platform.
type platformImage struct {
	src      Source
	manifest v1.Manifest
	digest   v1.Hash
}

// Images tells how two images or indexes differ. store remembers what layers
// hold; nil for none.
func Images(old, new Image, store Store) ([]Change, error) {
	if old.Digest == new.Digest {
		return nil, nil
	}
	a, aNotes, err := platforms(old)
	if err != nil {
		return nil, err
	}
	b, bNotes, err := platforms(new)
	if err != nil {
		return nil, err
	}
	archs := maps.Clone(a)
	maps.Copy(archs, b)
	var out []Change
	for _, arch := range slices.Sorted(maps.Keys(archs)) {
		was, is := a[arch], b[arch]
		switch {
		case was == nil:
			out = append(out, Change{Kind: ImageKind, Name: arch, New: is.digest.String()})
		case is == nil:
			out = append(out, Change{Kind: ImageKind, Name: arch, Old: was.digest.String()})
		case was.digest != is.digest:
			found, err := compare(was, is, arch, store)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", arch, err)
			}
			out = append(out, found...)
		}
	}
	out = append(out, pairs(Config, "the index", aNotes, bNotes)...)
	return merge(out), nil
}

// platforms are the images of an index by architecture, or the one image, and
// the index's annotations.
func platforms(i Image) (map[string]*platformImage, map[string]string, error) {
	raw, err := i.Source.Manifest(i.Digest)
	if err != nil {
		return nil, nil, err
	}
	var top struct {
		Manifests   []v1.Descriptor   `json:"manifests"`
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, nil, fmt.Errorf("manifest %s: %w", i.Digest, err)
	}
	if top.Manifests == nil {
		one, err := platform(i.Source, i.Digest, raw)
		if err != nil {
			return nil, nil, err
		}
		_, arch, err := one.config()
		return map[string]*platformImage{arch: one}, nil, err
	}
	images := map[string]*platformImage{}
	for _, d := range top.Manifests {
		if d.Platform == nil || d.Platform.Architecture == "unknown" || d.ArtifactType != "" {
			continue // a statement about an image
		}
		raw, err := i.Source.Manifest(d.Digest)
		if err != nil {
			return nil, nil, err
		}
		one, err := platform(i.Source, d.Digest, raw)
		if err != nil {
			return nil, nil, err
		}
		images[strings.TrimPrefix(d.Platform.String(), "linux/")] = one
	}
	return images, annotations(top.Annotations), nil
}

func annotations(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out["annotations."+k] = v
	}
	return out
}

func platform(src Source, digest v1.Hash, raw []byte) (*platformImage, error) {
	p := &platformImage{src: src, digest: digest}
	if err := json.Unmarshal(raw, &p.manifest); err != nil {
		return nil, fmt.Errorf("manifest %s: %w", digest, err)
	}
	return p, nil
}

// config is the configuration as far as it says how to start the image, and
// its architecture.
func (p *platformImage) config() ([]byte, string, error) {
	r, err := p.src.Open(p.manifest.Config.Digest)
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, 8<<20))
	if err != nil {
		return nil, "", err
	}
	if got, _, err := v1.SHA256(strings.NewReader(string(b))); err != nil || got != p.manifest.Config.Digest {
		return nil, "", fmt.Errorf("configuration %s has the digest %s: it was changed or damaged", p.manifest.Config.Digest, got)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, "", fmt.Errorf("configuration %s: %w", p.manifest.Config.Digest, err)
	}
	var arch string
	if err := json.Unmarshal(all["architecture"], &arch); err != nil {
		arch = "unknown"
	}
	delete(all, "rootfs")  // the layers, which are compared by what they hold
	delete(all, "history") // how they came about
	b, err = json.Marshal(all)
	return b, arch, err
}

func (p *platformImage) size() int64 {
	var n int64
	for _, l := range p.manifest.Layers {
		n += l.Size
	}
	return n
}

// tree are the files of an image by path.
func (p *platformImage) tree(store Store) (map[string]file, error) {
	tree := map[string]file{}
	for _, l := range p.manifest.Layers {
		files, err := list(p.src, l, store)
		if err != nil {
			return nil, err
		}
		for _, f := range files { // what a layer hides is beneath it
			switch f.Type {
			case gone, opaque:
				for name := range tree {
					if strings.HasPrefix(name, strings.TrimSuffix(f.Path, "/")+"/") || name == f.Path && f.Type == gone {
						delete(tree, name)
					}
				}
			}
		}
		for _, f := range files {
			if f.Type != gone && f.Type != opaque {
				tree[f.Path] = f
			}
		}
	}
	return tree, nil
}

func compare(old, new *platformImage, arch string, store Store) ([]Change, error) {
	var out []Change
	add := func(changes []Change) {
		for _, c := range changes {
			c.Archs = []string{arch}
			out = append(out, c)
		}
	}
	a, _, err := old.config()
	if err != nil {
		return nil, err
	}
	b, _, err := new.config()
	if err != nil {
		return nil, err
	}
	config, err := Configs(a, b)
	if err != nil {
		return nil, err
	}
	add(config)
	add(pairs(Config, "the manifest", annotations(old.manifest.Annotations), annotations(new.manifest.Annotations)))
	if slices.EqualFunc(old.manifest.Layers, new.manifest.Layers, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest }) {
		return out, nil
	}
	was, err := old.tree(store)
	if err != nil {
		return nil, err
	}
	is, err := new.tree(store)
	if err != nil {
		return nil, err
	}
	add(pairs(Package, "", installed(was), installed(is)))
	paths := maps.Clone(was)
	maps.Copy(paths, is)
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		add(files(was[name], is[name]))
	}
	if a, b := old.size(), new.size(); a != b {
		add([]Change{{Kind: Size, Name: "layers", Old: amount(a), New: amount(b)}})
	}
	return out, nil
}

func amount(n int64) string { return fmt.Sprintf("%.2f MB (%d bytes)", float64(n)/1e6, n) }

func installed(tree map[string]file) map[string]string {
	all := map[string]string{}
	for name, f := range tree {
		if f.Packages != nil && (name == "/var/lib/dpkg/status" || path.Dir(name) == "/var/lib/dpkg/status.d") {
			maps.Copy(all, f.Packages)
		}
	}
	return all
}

// files compares what is at a path; a Go program by its modules, too.
func files(old, new file) []Change {
	name := old.Path + new.Path
	if old.Path == new.Path {
		name = old.Path
	}
	var out []Change
	if a, b := old.String(), new.String(); a != b {
		out = append(out, Change{Kind: File, Name: name, Old: a, New: b})
	}
	if old.Path != "" && new.Path != "" {
		if old.Go != new.Go {
			out = append(out, Change{Kind: Toolchain, Name: "go", Of: name, Old: old.Go, New: new.Go})
		}
		out = append(out, pairs(Module, name, old.Modules, new.Modules)...)
	}
	return out
}

// String is all of a file that is compared; "" for none.
func (f file) String() string {
	if f.Path == "" {
		return ""
	}
	kinds := map[byte]string{'0': "file", '1': "hard link", '2': "link", '3': "character device", '4': "block device", '5': "directory", '6': "pipe"}
	kind := kinds[f.Type]
	if kind == "" {
		kind = string(f.Type)
	}
	s := fmt.Sprintf("%s %04o %d:%d", kind, f.Mode, f.UID, f.GID)
	switch {
	case f.Link != "":
		s += " → " + f.Link
	case f.SHA256 != "":
		s += fmt.Sprintf(" %d bytes sha256:%.12s", f.Size, f.SHA256)
	}
	return s
}
