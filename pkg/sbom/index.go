package sbom

import (
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// IndexFacts are what is known of an index of images.
type IndexFacts struct {
	Name    string
	Version string
	Created time.Time
	Licence string // SPDX expression; empty for none
	Digest  string // "sha256:…" of the index
	Images  []Child
}

// Child is one image of an index.
type Child struct {
	Arch   string // GOARCH
	Digest string // "sha256:…" of the manifest
	SBOM   []byte // about the image, in the same format; nil for none
}

// Index writes the SBOM of an index: it names the images, which have SBOMs of
// their own.
func Index(format Format, f IndexFacts) ([]byte, error) {
	if format == CycloneDX {
		return cyclonedxIndex(f)
	}
	return spdxIndex(f)
}

func (f IndexFacts) item() item {
	return item{Kind: kindImage, Name: f.Name, Version: f.Version, Supplier: "etcdimg", Program: true, Licences: licences{Expression: f.Licence}}
}

func (f IndexFacts) child(c Child) item {
	i := f.item()
	i.Name += "-" + c.Arch
	return i
}

// spdxIndex is the SBOM of an index. Every image is its own package, which is
// in the index and is a variant of what the index offers as one.
func spdxIndex(f IndexFacts) ([]byte, error) {
	w := &spdxWriter{doc: newSPDX(f.Name+"-index", f.Created), texts: map[string]string{}}
	index := w.item(f.item(), nil)
	index.PrimaryPackagePurpose = "CONTAINER"
	index.PackageChecksums = checksums("", strings.TrimPrefix(f.Digest, "sha256:"))
	index.PackageExternalReferences = []*spdx.PackageExternalReference{purlRef(imagePURL(Facts{Name: f.Name}, f.Digest))}
	index.PackageComment = "An OCI image index: the same image for several architectures. What is in each is in the SBOM that is attached to it."
	root := index.PackageSPDXIdentifier
	w.relate("DOCUMENT", "DESCRIBES", root, "")
	for _, c := range f.Images {
		image := w.item(f.child(c), nil)
		image.PrimaryPackagePurpose = "CONTAINER"
		image.PackageChecksums = checksums("", strings.TrimPrefix(c.Digest, "sha256:"))
		image.PackageExternalReferences = []*spdx.PackageExternalReference{purlRef(imagePURL(Facts{Name: f.Name, Arch: c.Arch}, c.Digest))}
		image.PackageComment = "linux/" + c.Arch
		w.relate(root, "CONTAINS", image.PackageSPDXIdentifier, "")
		w.relate(image.PackageSPDXIdentifier, "VARIANT_OF", root, "")
		if err := w.refer(c, image.PackageSPDXIdentifier); err != nil {
			return nil, err
		}
	}
	return w.finish()
}

// refer names the SBOM of a child, by namespace and digest.
func (w *spdxWriter) refer(c Child, image common.ElementID) error {
	if c.SBOM == nil {
		return nil
	}
	space, err := namespaceOf(c.SBOM)
	if err != nil {
		return err
	}
	sum, _ := sums(string(c.SBOM))
	id := common.DocumentID("linux-" + idString(c.Arch))
	w.doc.ExternalDocumentReferences = append(w.doc.ExternalDocumentReferences, spdx.ExternalDocumentRef{
		DocumentRefID: id, URI: space, Checksum: common.Checksum{Algorithm: common.SHA1, Value: sum},
	})
	w.doc.Relationships = append(w.doc.Relationships, &spdx.Relationship{
		RefA: common.DocElementID{ElementRefID: image}, Relationship: "DESCRIBED_BY", RefB: common.DocElementID{DocumentRefID: id, ElementRefID: "DOCUMENT"},
	})
	return nil
}

func cyclonedxIndex(f IndexFacts) ([]byte, error) {
	w := &cyclonedxWriter{depends: map[string][]string{}}
	root := w.item(f.item())
	delete(w.depends, root.BOMRef)
	root.BOMRef, root.Type, root.PackageURL = f.Digest, cdx.ComponentTypeContainer, imagePURL(Facts{Name: f.Name}, f.Digest)
	root.Hashes = hashes("", strings.TrimPrefix(f.Digest, "sha256:"))
	root.Description = "An OCI image index: the same image for several architectures. What is in each is in the SBOM that is attached to it."
	var images []cdx.Component
	for _, c := range f.Images {
		image := w.item(f.child(c))
		delete(w.depends, image.BOMRef)
		image.BOMRef, image.Type, image.PackageURL = c.Digest, cdx.ComponentTypeContainer, imagePURL(Facts{Name: f.Name, Arch: c.Arch}, c.Digest)
		image.Hashes = hashes("", strings.TrimPrefix(c.Digest, "sha256:"))
		image.Description = "linux/" + c.Arch
		// In CycloneDX a variant is told by the pedigree of what there is one of.
		image.Pedigree = &cdx.Pedigree{Notes: "a variant of the index " + f.Digest + ", for linux/" + c.Arch}
		if c.SBOM != nil {
			serial, err := serialOf(c.SBOM)
			if err != nil {
				return nil, err
			}
			image.ExternalReferences = &[]cdx.ExternalReference{{Type: cdx.ERTypeBOM, URL: "urn:cdx:" + strings.TrimPrefix(serial, "urn:uuid:") + "/1", Hashes: hashes("", hexSum(c.SBOM))}}
		}
		images = append(images, image)
		w.depend(f.Digest, c.Digest)
		w.depends[c.Digest] = nil
	}
	bom := newCycloneDX(f.Created, root)
	bom.Components = &images
	bom.Dependencies = w.dependencies()
	bom.Compositions = &[]cdx.Composition{{Aggregate: cdx.CompositionAggregateComplete, Assemblies: &[]cdx.BOMReference{cdx.BOMReference(f.Digest)}}}
	return finishCycloneDX(bom)
}
