package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Report is what an image is.
type Report struct {
	Reference   string            `json:"reference"` // as it was asked for
	Digest      string            `json:"digest"`
	MediaType   string            `json:"mediaType"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Images      []Image           `json:"images"`
	Made        *Made             `json:"made,omitempty"`       // from the provenance, where there is one by etcdimg
	Statements  []Statement       `json:"statements,omitempty"` // about the whole, then about each image
	Signatures  []Signature       `json:"signatures,omitempty"` // found, not verified
}

// Image is one image: for one platform.
type Image struct {
	Platform   string    `json:"platform"` // linux/amd64
	Digest     string    `json:"digest"`
	Created    time.Time `json:"created"`
	User       string    `json:"user,omitempty"`
	Entrypoint []string  `json:"entrypoint,omitempty"`
	Cmd        []string  `json:"cmd,omitempty"`
	WorkDir    string    `json:"workDir,omitempty"`
	Volumes    []string  `json:"volumes,omitempty"`
	Ports      []string  `json:"ports,omitempty"`
	Layers     []Layer   `json:"layers"` // lowest first
}

// Size is the sum of the compressed layers, in bytes.
func (i Image) Size() int64 {
	var n int64
	for _, l := range i.Layers {
		n += l.Size
	}
	return n
}

// Layer is one layer.
type Layer struct {
	Digest    string `json:"digest"`
	Size      int64  `json:"size"` // compressed, bytes
	MediaType string `json:"mediaType"`
	Contents  string `json:"contents,omitempty"` // as the history says: "etcd-3.6.16"
}

// Statement is something that is said about a digest.
type Statement struct {
	Subject       string `json:"subject"`
	Digest        string `json:"digest"` // of the referrer
	ArtifactType  string `json:"artifactType"`
	PredicateType string `json:"predicateType,omitempty"`
}

// maxImages bounds an index.
const maxImages = 256

// Inspect looks at the image or index of a descriptor.
func Inspect(ctx context.Context, s Source, d v1.Descriptor) (*Report, error) {
	r := &Report{Digest: d.Digest.String(), MediaType: string(d.MediaType)}
	raw, err := s.Manifest(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	children := []v1.Descriptor{d}
	if d.MediaType.IsIndex() {
		var m v1.IndexManifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return nil, fmt.Errorf("index %s: %w", d.Digest, err)
		}
		r.Annotations = m.Annotations
		children = slices.DeleteFunc(m.Manifests, func(c v1.Descriptor) bool { return !c.MediaType.IsImage() || isAttestation(c) })
		if len(children) > maxImages {
			return nil, fmt.Errorf("index %s has %d images, more than %d", d.Digest, len(children), maxImages)
		}
	}
	for _, c := range children {
		img, annotations, err := inspectImage(ctx, s, c)
		if err != nil {
			return nil, err
		}
		r.Images = append(r.Images, img)
		if r.Annotations == nil {
			r.Annotations = annotations
		}
	}
	subjects := children
	if d.MediaType.IsIndex() {
		subjects = append([]v1.Descriptor{d}, children...)
	}
	for _, subject := range subjects {
		if err := r.about(ctx, s, subject.Digest); err != nil {
			return nil, err
		}
	}
	r.Made, err = made(ctx, s, d.Digest)
	return r, err
}

// isAttestation recognizes what BuildKit puts beside the images of an index.
func isAttestation(d v1.Descriptor) bool {
	return d.Annotations["vnd.docker.reference.type"] == "attestation-manifest"
}

func inspectImage(ctx context.Context, s Source, d v1.Descriptor) (Image, map[string]string, error) {
	fail := func(err error) (Image, map[string]string, error) {
		return Image{}, nil, fmt.Errorf("image %s: %w", d.Digest, err)
	}
	raw, err := s.Manifest(ctx, d.Digest)
	if err != nil {
		return fail(err)
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return fail(err)
	}
	if !m.Config.MediaType.IsConfig() {
		return fail(fmt.Errorf("it has the configuration %s, and so is no image", m.Config.MediaType))
	}
	raw, err = s.Blob(ctx, m.Config.Digest)
	if err != nil {
		return fail(err)
	}
	var config v1.ConfigFile
	if err := json.Unmarshal(raw, &config); err != nil {
		return fail(err)
	}
	img := Image{
		Platform:   "unknown",
		Digest:     d.Digest.String(),
		Created:    config.Created.UTC(),
		User:       config.Config.User,
		Entrypoint: config.Config.Entrypoint,
		Cmd:        config.Config.Cmd,
		WorkDir:    config.Config.WorkingDir,
		Volumes:    keys(config.Config.Volumes),
		Ports:      keys(config.Config.ExposedPorts),
	}
	if p := config.Platform(); p != nil {
		img.Platform = p.String()
	}
	var contents []string
	for _, h := range config.History {
		if !h.EmptyLayer {
			contents = append(contents, h.Comment)
		}
	}
	for i, l := range m.Layers {
		layer := Layer{Digest: l.Digest.String(), Size: l.Size, MediaType: string(l.MediaType)}
		if len(contents) == len(m.Layers) {
			layer.Contents = contents[i]
		}
		img.Layers = append(img.Layers, layer)
	}
	return img, m.Annotations, nil
}

func keys(set map[string]struct{}) []string {
	var all []string
	for k := range set {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// about adds what is said about a digest, and who signed it.
func (r *Report) about(ctx context.Context, s Source, subject v1.Hash) error {
	referrers, err := s.Referrers(ctx, subject)
	if err != nil {
		return err
	}
	for _, d := range referrers {
		if isSignature(d) {
			found, err := readSignatures(ctx, s, subject, d.Digest, formOf(d))
			if err != nil {
				return err
			}
			r.Signatures = append(r.Signatures, found...)
			continue
		}
		r.Statements = append(r.Statements, Statement{
			Subject: subject.String(), Digest: d.Digest.String(), ArtifactType: d.ArtifactType,
			PredicateType: d.Annotations[predicateAnnotation],
		})
	}
	companions, err := s.Companions(ctx, subject)
	if err != nil {
		return err
	}
	for _, ending := range []string{"sig", "att"} {
		digest, ok := companions[ending]
		if !ok {
			continue
		}
		found, err := readSignatures(ctx, s, subject, digest, "."+ending)
		if err != nil {
			return err
		}
		r.Signatures = append(r.Signatures, found...)
	}
	return nil
}

// Title is what the image is called, with its version.
func (r *Report) Title() string {
	title := r.Annotations[ocispec.AnnotationTitle]
	if version := r.Annotations[ocispec.AnnotationVersion]; title != "" && version != "" {
		title += " " + version
	}
	return title
}

// IsIndex says whether the report is of an index.
func (r *Report) IsIndex() bool { return types.MediaType(r.MediaType).IsIndex() }
