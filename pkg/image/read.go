package image

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrNotThere says that a layout lacks what was asked for.
var ErrNotThere = errors.New("not in the layout")

// maxBlob bounds what is read into memory: manifests, configurations and
// statements, but no layers.
const maxBlob = 64 << 20

// Layout is an OCI layout that is read, whoever wrote it. What it gives has
// the digest that it was asked for.
type Layout struct {
	files fs.FS
	top   v1.IndexManifest
	close func() error
}

// Close lets go of an archive's file. A layout in a directory needs none.
func (l *Layout) Close() error {
	if l.close == nil {
		return nil
	}
	return l.close()
}

// OpenLayout opens the OCI layout in a directory.
func OpenLayout(dir string) (*Layout, error) {
	l, err := readLayout(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("reading the OCI layout %s: %w", dir, err)
	}
	return l, nil
}

func readLayout(files fs.FS) (*Layout, error) {
	header, err := readBounded(files, ocispec.ImageLayoutFile)
	if err != nil {
		return nil, err
	}
	var version ocispec.ImageLayout
	if err := json.Unmarshal(header, &version); err != nil {
		return nil, fmt.Errorf("%s: %w", ocispec.ImageLayoutFile, err)
	}
	if version.Version != ocispec.ImageLayoutVersion {
		return nil, fmt.Errorf("%s: version %q: want %s", ocispec.ImageLayoutFile, version.Version, ocispec.ImageLayoutVersion)
	}
	raw, err := readBounded(files, ocispec.ImageIndexFile)
	if err != nil {
		return nil, err
	}
	l := &Layout{files: files}
	if err := json.Unmarshal(raw, &l.top); err != nil {
		return nil, fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)
	}
	return l, nil
}

// Tags are the names of the layout's images, in its order. Those under which
// referrers and signatures are kept are none.
func (l *Layout) Tags() []string {
	var tags []string
	for _, d := range l.top.Manifests {
		if tag := d.Annotations[ocispec.AnnotationRefName]; tag != "" && !isSideTag(tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

// Resolve finds the image or index of a tag, or of a digest, which an index may
// have within. Without either it is the only one of the layout.
func (l *Layout) Resolve(reference string) (v1.Descriptor, error) {
	var found []v1.Descriptor
	for _, d := range l.top.Manifests {
		tag := d.Annotations[ocispec.AnnotationRefName]
		switch {
		case reference != "" && (tag == reference || d.Digest.String() == reference):
			return d, nil
		case reference == "" && l.isImage(d) && !slices.ContainsFunc(found, func(f v1.Descriptor) bool { return f.Digest == d.Digest }):
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return v1.Descriptor{}, fmt.Errorf("the layout has %d images: name one of its tags: %s", len(found), strings.Join(l.Tags(), ", "))
	case reference == "":
		return v1.Descriptor{}, fmt.Errorf("the layout has no image: %w", ErrNotThere)
	}
	for _, d := range l.top.Manifests {
		if !d.MediaType.IsIndex() || !l.isImage(d) {
			continue
		}
		m, err := l.index(d)
		if err != nil {
			return v1.Descriptor{}, err
		}
		for _, child := range m.Manifests {
			if child.Digest.String() == reference {
				return child, nil
			}
		}
	}
	return v1.Descriptor{}, fmt.Errorf("%s: %w: its tags are %s", reference, ErrNotThere, strings.Join(l.Tags(), ", "))
}

// isImage tells images from what is said about them.
func (l *Layout) isImage(d v1.Descriptor) bool {
	// Some tools copy the configuration's media type into artifactType.
	if isSideTag(d.Annotations[ocispec.AnnotationRefName]) || d.ArtifactType != "" && !types.MediaType(d.ArtifactType).IsConfig() {
		return false
	}
	if _, ok := cosignKinds[d.Annotations[cosignKind]]; ok {
		return false
	}
	if d.MediaType.IsIndex() {
		return true
	}
	raw, err := l.Manifest(d)
	if err != nil {
		return true
	}
	var m v1.Manifest
	return json.Unmarshal(raw, &m) == nil && m.Subject == nil && m.ArtifactType == ""
}

// Cosign's annotation of what an entry of a layout is.
const (
	cosignKind         = "kind"
	cosignSignatures   = "dev.cosignproject.cosign/sigs"
	cosignAttestations = "dev.cosignproject.cosign/atts"
)

// cosignKinds are the values of it that are no images, and how the tag ends
// under which a registry has the same.
var cosignKinds = map[string]string{
	cosignSignatures:   "sig",
	cosignAttestations: "att",
}

// isSideTag recognizes the tags that are made of another manifest's digest:
// sha256-<hex> with the list of its referrers, and cosign's with .sig, .att or
// .sbom behind.
func isSideTag(tag string) bool {
	digest, ok := strings.CutPrefix(tag, "sha256-")
	digest, _, _ = strings.Cut(digest, ".")
	return ok && len(digest) == 64 && strings.Trim(digest, "0123456789abcdef") == ""
}

// Manifest reads the manifest, or the index, that a descriptor is of.
func (l *Layout) Manifest(d v1.Descriptor) ([]byte, error) { return l.Blob(d.Digest) }

// Blob reads a blob that is no layer: it is held in memory.
func (l *Layout) Blob(digest v1.Hash) ([]byte, error) {
	b, err := readBounded(l.files, blob{digest: digest}.path())
	if err != nil {
		return nil, err
	}
	got, _, err := v1.SHA256(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if got != digest {
		return nil, fmt.Errorf("the blob %s of the layout has the digest %s: it was changed or damaged", digest, got)
	}
	return b, nil
}

// Open opens a blob, unverified: whoever reads it has to.
func (l *Layout) Open(digest v1.Hash) (io.ReadCloser, error) {
	if err := wellFormed(digest); err != nil {
		return nil, err
	}
	f, err := l.files.Open(blob{digest: digest}.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("blob %s: %w", digest, ErrNotThere)
	}
	return f, err
}

// Companions are what cosign keeps beside a digest: by the tags that are made
// of the digest, sha256-<hex>.sig, .att and .sbom, and, in a layout that cosign
// wrote, by an entry's kind, which is about the one image of the layout. They
// are given by the tag's ending.
func (l *Layout) Companions(subject v1.Hash) map[string]v1.Descriptor {
	found := map[string]v1.Descriptor{}
	only, err := l.Resolve("")
	alone := err == nil && only.Digest == subject
	for _, d := range l.top.Manifests {
		if ending, ok := strings.CutPrefix(d.Annotations[ocispec.AnnotationRefName], referrersTag(subject)+"."); ok {
			found[ending] = d
		}
		if ending, ok := cosignKinds[d.Annotations[cosignKind]]; ok && alone {
			found[ending] = d
		}
	}
	return found
}

func wellFormed(digest v1.Hash) error {
	_, err := v1.NewHash(digest.String())
	return err
}

// Referrer is a manifest with a subject.
type Referrer struct {
	Descriptor v1.Descriptor // artifact type and annotations are the manifest's
	Manifest   v1.Manifest
}

// Referrers are the manifests of the layout whose subject has that digest, in
// the order in which the layout names them: in the list that has the tag of
// the subject, or in index.json itself, where other tools put them.
func (l *Layout) Referrers(subject v1.Hash) ([]Referrer, error) {
	var found []Referrer
	seen := map[v1.Hash]bool{}
	look := func(d v1.Descriptor) error {
		if seen[d.Digest] || !d.MediaType.IsImage() {
			return nil
		}
		seen[d.Digest] = true
		raw, err := l.Manifest(d)
		if err != nil {
			return err
		}
		r := Referrer{Descriptor: v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: int64(len(raw))}}
		if err := json.Unmarshal(raw, &r.Manifest); err != nil {
			return fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		if r.Manifest.Subject == nil || r.Manifest.Subject.Digest != subject {
			return nil
		}
		r.Descriptor.ArtifactType = cmp.Or(r.Manifest.ArtifactType, string(r.Manifest.Config.MediaType))
		r.Descriptor.Annotations = r.Manifest.Annotations
		found = append(found, r)
		return nil
	}
	for _, d := range l.top.Manifests {
		entries := []v1.Descriptor{d}
		if d.MediaType.IsIndex() {
			if d.Annotations[ocispec.AnnotationRefName] != referrersTag(subject) {
				continue
			}
			list, err := l.index(d)
			if err != nil {
				return nil, err
			}
			entries = list.Manifests
		}
		for _, e := range entries {
			if err := look(e); err != nil {
				return nil, fmt.Errorf("reading the referrers of %s: %w", subject, err)
			}
		}
	}
	return found, nil
}

func (l *Layout) index(d v1.Descriptor) (*v1.IndexManifest, error) {
	raw, err := l.Manifest(d)
	if err != nil {
		return nil, err
	}
	var m v1.IndexManifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("index %s: %w", d.Digest, err)
	}
	return &m, nil
}

// Statements are the referrers of a digest that are statements as Statement
// has them: one layer, no configuration.
func (l *Layout) Statements(subject v1.Hash) ([]Statement, error) {
	all, err := l.Referrers(subject)
	if err != nil {
		return nil, err
	}
	var found []Statement
	for _, r := range all {
		s, content, ok := r.statement()
		if !ok {
			continue
		}
		if s.Content, err = l.Blob(content.Digest); err != nil {
			return nil, fmt.Errorf("reading %s about %s: %w", s.ArtifactType, subject, err)
		}
		found = append(found, s)
	}
	return found, nil
}

// ParseStatement reads a manifest that Statement.Manifest may have made: all of
// the statement but its content, which has the descriptor. It is false for a
// manifest of another form.
func ParseStatement(manifest []byte) (s Statement, content v1.Descriptor, ok bool) {
	var r Referrer
	if json.Unmarshal(manifest, &r.Manifest) != nil || r.Manifest.Subject == nil {
		return Statement{}, v1.Descriptor{}, false
	}
	return r.statement()
}

func (r Referrer) statement() (Statement, v1.Descriptor, bool) {
	m := r.Manifest
	if m.Config.MediaType != types.MediaType(ocispec.MediaTypeEmptyJSON) || len(m.Layers) != 1 || string(m.Layers[0].MediaType) != m.ArtifactType {
		return Statement{}, v1.Descriptor{}, false
	}
	return Statement{
		Subject:       *m.Subject,
		Name:          m.Layers[0].Annotations[ocispec.AnnotationTitle],
		ArtifactType:  m.ArtifactType,
		PredicateType: m.Annotations[AnnotationPredicateType],
	}, m.Layers[0], true
}

func readBounded(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, ErrNotThere)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBlob+1))
	if err == nil && len(b) > maxBlob {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxBlob)
	}
	return b, err
}
