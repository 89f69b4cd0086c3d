package sbom

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// cyclonedxImage writes the SBOM of an image as CycloneDX 1.6.
func cyclonedxImage(inv *inventory, f Facts, subject string) ([]byte, error) {
	w := &cyclonedxWriter{files: map[string]filed{}, depends: map[string][]string{}}
	for _, f := range inv.Files {
		w.files[f.Path] = f
	}
	root := w.item(inv.Image)
	root.Type, root.PackageURL, root.Components = cdx.ComponentTypeContainer, imagePURL(f, subject), nil
	if f.Program != nil {
		root.Type = cdx.ComponentTypeApplication
	}
	root.BOMRef = orElse(subject, root.BOMRef)
	if f.Licence != "" {
		root.Licenses = cyclonedxLicences(licences{Expression: f.Licence})
	}
	if subject != "" {
		root.Hashes = hashes("", strings.TrimPrefix(subject, "sha256:"))
	}
	w.depends[root.BOMRef] = nil
	bom := newCycloneDX(f.Created, root)
	var components, tools []cdx.Component
	for _, i := range inv.Items {
		component := w.item(i)
		if i.Kind == kindBuilder {
			tools = append(tools, component)
			continue
		}
		components = append(components, component)
		if len(i.In) == 0 || i.Program {
			w.depend(root.BOMRef, component.BOMRef)
		}
	}
	for _, path := range inv.loose() {
		components = append(components, w.file(w.files[path]))
		w.depend(root.BOMRef, w.files[path].id())
	}
	bom.Components = &components
	if len(tools) > 0 {
		bom.Formulation = &[]cdx.Formula{{Components: &tools}}
	}
	w.links(inv)
	bom.Dependencies = w.dependencies()
	bom.Compositions = &[]cdx.Composition{{Aggregate: cdx.CompositionAggregateComplete, Assemblies: &[]cdx.BOMReference{cdx.BOMReference(root.BOMRef)}}}
	if f.Scanned {
		bom.Compositions = nil
	}
	return finishCycloneDX(bom)
}

func newCycloneDX(created time.Time, root cdx.Component) *cdx.BOM {
	bom := cdx.NewBOM()
	bom.SpecVersion = cdx.SpecVersion1_6
	bom.JSONSchema = "http://cyclonedx.org/schema/bom-1.6.schema.json"
	bom.Metadata = &cdx.Metadata{
		Timestamp: created.UTC().Format(time.RFC3339),
		Component: &root,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{
			{Type: cdx.ComponentTypeApplication, Name: "etcdimg"},
			{Type: cdx.ComponentTypeApplication, Name: "syft", Version: SyftVersion},
		}},
	}
	return bom
}

// finishCycloneDX names the document after its content and writes it.
func finishCycloneDX(bom *cdx.BOM) ([]byte, error) {
	b, err := encode(bom)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of one's own making (RFC 9562, version 8)
	bom.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	return encode(bom)
}

type cyclonedxWriter struct {
	files   map[string]filed
	depends map[string][]string
}

func (w *cyclonedxWriter) item(i item) cdx.Component {
	c := cdx.Component{
		BOMRef: i.id(), Type: cdx.ComponentTypeLibrary, Name: i.Name, Version: i.Version, PackageURL: i.PURL, CPE: i.CPE,
		Copyright: i.Licences.Copyright, Licenses: cyclonedxLicences(i.Licences), Hashes: hashes("", i.SHA256), Description: i.Comment,
	}
	if i.Program {
		c.Type = cdx.ComponentTypeApplication
	}
	if i.Supplier != "" {
		c.Supplier = &cdx.OrganizationalEntity{Name: i.Supplier}
	}
	if _, name, ok := strings.Cut(i.Originator, ": "); ok {
		c.Publisher = name
	}
	if i.Download != "" {
		// What is a repository's address and a revision in one is no URL.
		reference := cdx.ExternalReference{Type: cdx.ERTypeDistribution, URL: i.Download}
		if address, ok := strings.CutPrefix(i.Download, "git+"); ok {
			address, revision, _ := strings.Cut(address, "@")
			reference = cdx.ExternalReference{Type: cdx.ERTypeVCS, URL: address, Comment: revision}
		}
		c.ExternalReferences = &[]cdx.ExternalReference{reference}
	}
	var properties []cdx.Property
	add := func(name, value string) {
		if value != "" {
			properties = append(properties, cdx.Property{Name: "etcdimg:" + name, Value: value})
		}
	}
	add("go:h1", i.Sum)
	add("source", i.Source)
	for _, p := range i.In {
		add("linked-into", p)
	}
	for _, v := range i.For {
		add("compiled", "etcd "+v)
	}
	for _, ref := range sortedKeys(i.Licences.Texts) {
		add("licence-text:"+ref, i.Licences.Texts[ref])
	}
	if len(properties) > 0 {
		c.Properties = &properties
	}
	if i.Changed != "" {
		c.Modified = ptr(true)
		c.Pedigree = &cdx.Pedigree{Notes: i.Changed}
	}
	var files []cdx.Component
	for _, p := range i.Files {
		files = append(files, w.file(w.files[p]))
	}
	if len(files) > 0 {
		c.Components = &files
	}
	w.depends[c.BOMRef] = nil
	return c
}

func (w *cyclonedxWriter) file(f filed) cdx.Component {
	c := cdx.Component{BOMRef: f.id(), Type: cdx.ComponentTypeFile, Name: f.Path, Hashes: hashes(f.SHA1, f.SHA256)}
	switch {
	case f.Link != "":
		c.Properties = &[]cdx.Property{{Name: "etcdimg:symbolic-link", Value: f.Link}}
	case f.Same != "":
		c.Properties = &[]cdx.Property{{Name: "etcdimg:hard-link", Value: f.Same}}
	case f.MadeFrom != "":
		c.Properties = &[]cdx.Property{{Name: "etcdimg:made-from", Value: f.MadeFrom}}
	}
	return c
}

// links tells what the programs, and those who brought them, are linked with.
func (w *cyclonedxWriter) links(inv *inventory) {
	for _, i := range inv.Items {
		for _, program := range i.In {
			w.depend(w.files[program].id(), i.id())
			if from := inv.owner(program); from.Kind != kindImage && from.id() != i.id() {
				w.depend(from.id(), i.id())
			}
		}
	}
	for _, f := range inv.Files {
		for _, i := range inv.Items {
			if f.MadeFrom != "" && i.Kind == kindDebian && i.Name == f.MadeFrom {
				w.depend(f.id(), i.id())
			}
		}
	}
}

func (w *cyclonedxWriter) depend(from, on string) {
	if !slices.Contains(w.depends[from], on) {
		w.depends[from] = append(w.depends[from], on)
	}
}

func (w *cyclonedxWriter) dependencies() *[]cdx.Dependency {
	var all []cdx.Dependency
	for _, from := range sortedKeys(w.depends) {
		d := cdx.Dependency{Ref: from}
		if on := w.depends[from]; len(on) > 0 {
			slices.Sort(on)
			d.Dependencies = &on
		}
		all = append(all, d)
	}
	return &all
}

func cyclonedxLicences(l licences) *cdx.Licenses {
	if l.Expression == "" {
		return nil
	}
	if _, ok := spdxID(l.Expression); ok {
		return &cdx.Licenses{{License: &cdx.License{ID: l.Expression, Acknowledgement: cdx.LicenseAcknowledgementDeclared}}}
	}
	return &cdx.Licenses{{Expression: l.Expression, Acknowledgement: ptr(cdx.LicenseAcknowledgementDeclared)}}
}

func hashes(sha1Hex, sha256Hex string) *[]cdx.Hash {
	var all []cdx.Hash
	if sha1Hex != "" {
		all = append(all, cdx.Hash{Algorithm: cdx.HashAlgoSHA1, Value: sha1Hex})
	}
	if sha256Hex != "" {
		all = append(all, cdx.Hash{Algorithm: cdx.HashAlgoSHA256, Value: sha256Hex})
	}
	if len(all) == 0 {
		return nil
	}
	return &all
}

func ptr[T any](v T) *T { return &v }

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
