package image

import (
	"bytes"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Statement is something said about an image or an index, by its digest: an
// SBOM, a provenance. What it says is nothing to this package.
type Statement struct {
	Subject       v1.Descriptor // media type, digest and size of the image or index; nothing else of it counts
	Name          string        // as a file: sbom-amd64.spdx.json
	ArtifactType  string        // media type of Content: application/spdx+json
	PredicateType string        // what an in-toto statement that has Content as its predicate says it is; a URI
	Content       []byte
}

// ArtifactInToto is the artifact type of a statement that is an in-toto
// statement itself (in-toto attestation framework, Statement layer).
const ArtifactInToto = "application/vnd.in-toto+json"

// AnnotationPredicateType names a statement's predicate type on its manifest,
// as BuildKit and cosign do.
const AnnotationPredicateType = "in-toto.io/predicate-type"

// Predicate is what an in-toto statement about the subject has as its
// predicate: the content, or where that is an in-toto statement, its predicate.
func (s Statement) Predicate() (json.RawMessage, error) {
	if s.ArtifactType != ArtifactInToto {
		return s.Content, nil
	}
	var wrapped struct {
		Predicate json.RawMessage `json:"predicate"`
	}
	if err := json.Unmarshal(s.Content, &wrapped); err != nil {
		return nil, fmt.Errorf("reading the statement %s: %w", s.Name, err)
	}
	return wrapped.Predicate, nil
}

// Manifest is the image manifest by which a registry or a layout holds the
// statement as a referrer of its subject: no configuration, one layer (OCI
// image-spec v1.1, Guidelines for Artifact Usage).
func (s Statement) Manifest() ([]byte, error) {
	content, err := describeBytes(types.MediaType(s.ArtifactType), s.Content)
	if err != nil {
		return nil, err
	}
	content.Annotations = map[string]string{ocispec.AnnotationTitle: s.Name}
	m := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  s.ArtifactType,
		Config:        emptyConfig(),
		Layers:        []v1.Descriptor{content},
		Subject:       &v1.Descriptor{MediaType: s.Subject.MediaType, Digest: s.Subject.Digest, Size: s.Subject.Size},
	}
	if s.PredicateType != "" {
		m.Annotations = map[string]string{AnnotationPredicateType: s.PredicateType}
	}
	return json.Marshal(m)
}

// emptyConfig is the descriptor of "{}" (OCI image-spec v1.1, Guidance for an
// Empty Descriptor).
func emptyConfig() v1.Descriptor {
	d := ocispec.DescriptorEmptyJSON
	return v1.Descriptor{
		MediaType: types.MediaType(d.MediaType), Size: d.Size, Data: d.Data,
		Digest: v1.Hash{Algorithm: d.Digest.Algorithm().String(), Hex: d.Digest.Encoded()},
	}
}

func describeBytes(mediaType types.MediaType, b []byte) (v1.Descriptor, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(b))
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}, err
}

// referrersTag is the tag under which a digest's referrers are listed where
// there is no API for them (OCI distribution-spec v1.1, Referrers Tag Schema).
func referrersTag(subject v1.Hash) string { return subject.Algorithm + "-" + subject.Hex }

// referrers are the blobs that hold statements, and for every subject, in the
// order of the statements, the descriptor of the list of its referrers.
func referrers(statements []Statement) (blobs []blob, lists []v1.Descriptor, err error) {
	add := func(mediaType types.MediaType, b []byte) (v1.Descriptor, error) {
		d, err := describeBytes(mediaType, b)
		blobs = append(blobs, blob{digest: d.Digest, size: d.Size, bytes: b})
		return d, err
	}
	bySubject := map[v1.Hash]*v1.IndexManifest{}
	var subjects []v1.Hash
	for _, s := range statements {
		raw, err := s.Manifest()
		if err != nil {
			return nil, nil, fmt.Errorf("making the manifest of %s: %w", s.Name, err)
		}
		for _, b := range [][]byte{emptyConfig().Data, s.Content} {
			if _, err := add("", b); err != nil {
				return nil, nil, err
			}
		}
		d, err := add(types.OCIManifestSchema1, raw)
		if err != nil {
			return nil, nil, err
		}
		d.ArtifactType = s.ArtifactType
		if s.PredicateType != "" {
			d.Annotations = map[string]string{AnnotationPredicateType: s.PredicateType}
		}
		list, ok := bySubject[s.Subject.Digest]
		if !ok {
			list = &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
			bySubject[s.Subject.Digest] = list
			subjects = append(subjects, s.Subject.Digest)
		}
		list.Manifests = append(list.Manifests, d)
	}
	for _, subject := range subjects {
		raw, err := json.Marshal(bySubject[subject])
		if err != nil {
			return nil, nil, err
		}
		d, err := add(types.OCIImageIndex, raw)
		if err != nil {
			return nil, nil, err
		}
		d.Annotations = map[string]string{ocispec.AnnotationRefName: referrersTag(subject)}
		lists = append(lists, d)
	}
	return blobs, lists, nil
}
