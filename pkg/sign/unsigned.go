package sign

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/etcdimg/etcdimg/pkg/image"
)

// Unsigned reads the statements that lie beside a digest as etcdimg puts them
// there, unsigned: referrers that name their predicate type.
func Unsigned(ctx context.Context, p Place, subject v1.Descriptor) ([]Statement, error) {
	all, err := p.Referrers(ctx, subject.Digest)
	if err != nil {
		return nil, err
	}
	var found []Statement
	for _, d := range all {
		m, err := readManifest(ctx, p, d)
		if err != nil {
			return nil, err
		}
		predicateType := m.Annotations[image.AnnotationPredicateType]
		if predicateType == "" || m.ArtifactType == artifactBundle || m.Subject == nil || m.Subject.Digest != subject.Digest || len(m.Layers) != 1 || m.Layers[0].MediaType == mediaEnvelope {
			continue
		}
		b, err := read(ctx, p, m.Layers[0], maxAttestation)
		if err != nil {
			return nil, err
		}
		s := Statement{PredicateType: predicateType, Predicate: b}
		if m.ArtifactType == image.ArtifactInToto {
			s.Whole = b
		}
		found = append(found, s)
	}
	return found, nil
}
