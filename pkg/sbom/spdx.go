package sbom

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // SPDX 2.3 builds its verification code with it
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// namespace is where documents are named after what they say.
const namespace = "https://github.com/etcdimg/etcdimg/spdx/"

const noAssertion = "NOASSERTION"

// spdxImage writes the SBOM of an image as SPDX 2.3. subject is the image's
// digest, empty for the SBOM that is inside the image.
func spdxImage(inv *inventory, f Facts, subject string) ([]byte, error) {
	d := newSPDX(f.Name+"-"+f.Arch, f.Created)
	if subject == "" {
		d.DocumentComment = "This SBOM lies in the image that it describes. So it names neither itself nor the image's digest; the SBOM that is attached to the image names both."
	}
	w := &spdxWriter{doc: d, texts: map[string]string{}}
	image := w.item(inv.Image, nil)
	image.PrimaryPackagePurpose = "CONTAINER"
	image.PackageDownloadLocation = noAssertion
	image.PackageComment = "linux/" + f.Arch
	image.PackageLicenseDeclared = orElse(f.Licence, image.PackageLicenseDeclared)
	if f.Program != nil {
		image.PrimaryPackagePurpose, image.PackageComment = "APPLICATION", f.Program.Platform
	}
	image.PackageExternalReferences = append(image.PackageExternalReferences, purlRef(imagePURL(f, subject)))
	if subject != "" {
		image.PackageChecksums = checksums("", strings.TrimPrefix(subject, "sha256:"))
	}
	root := image.PackageSPDXIdentifier
	w.relate("DOCUMENT", "DESCRIBES", root, "")
	files := map[string]filed{}
	for _, f := range inv.Files {
		files[f.Path] = f
	}
	w.contains(image, inv.loose(), files)
	byName := map[string]common.ElementID{}
	for _, i := range inv.Items {
		p := w.item(i, files)
		byName[string(i.Kind)+" "+i.Name] = p.PackageSPDXIdentifier
		if i.Kind != kindBuilder {
			w.relate(root, "CONTAINS", p.PackageSPDXIdentifier, "")
		}
	}
	w.links(inv, files)
	for _, f := range inv.Files {
		w.file(f)
		if from, ok := byName["deb "+f.MadeFrom]; ok {
			w.relate(common.ElementID(f.id()), "GENERATED_FROM", from, "the certificates that the package ships, and those of the profile, in one file")
		}
	}
	return w.finish()
}

func newSPDX(name string, created time.Time) *spdx.Document {
	return &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT", DocumentName: name,
		CreationInfo: &spdx.CreationInfo{
			Created:  created.UTC().Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Organization", Creator: "etcdimg"}, {CreatorType: "Tool", Creator: "etcdimg"}, {CreatorType: "Tool", Creator: "syft-" + SyftVersion}},
		},
	}
}

type spdxWriter struct {
	doc   *spdx.Document
	texts map[string]string // of LicenseRef-…
}

// item adds a package with the files that it brought.
func (w *spdxWriter) item(i item, files map[string]filed) *spdx.Package {
	p := &spdx.Package{
		PackageName: i.Name, PackageVersion: i.Version, PackageSPDXIdentifier: common.ElementID(i.id()),
		PackageDownloadLocation: orElse(i.Download, noAssertion),
		PackageLicenseDeclared:  orElse(i.Licences.Expression, noAssertion),
		PackageLicenseConcluded: orElse(i.Licences.Expression, noAssertion),
		PackageCopyrightText:    orElse(i.Licences.Copyright, noAssertion),
		PackageSupplier:         &common.Supplier{Supplier: noAssertion},
		PackageChecksums:        checksums("", i.SHA256),
		PackageSourceInfo:       i.Source,
		PackageComment:          strings.TrimSpace(i.Comment + "\n" + i.Changed),
		PrimaryPackagePurpose:   "LIBRARY",
	}
	if i.Program {
		p.PrimaryPackagePurpose = "APPLICATION"
	}
	if i.Supplier != "" {
		p.PackageSupplier = &common.Supplier{SupplierType: "Organization", Supplier: i.Supplier}
	}
	if kind, name, ok := strings.Cut(i.Originator, ": "); ok {
		p.PackageOriginator = &common.Originator{OriginatorType: kind, Originator: name}
	}
	if i.PURL != "" {
		p.PackageExternalReferences = append(p.PackageExternalReferences, purlRef(i.PURL))
	}
	if i.CPE != "" {
		p.PackageExternalReferences = append(p.PackageExternalReferences, &spdx.PackageExternalReference{Category: "SECURITY", RefType: "cpe23Type", Locator: i.CPE})
	}
	if i.Sum != "" {
		p.PackageExternalReferences = append(p.PackageExternalReferences, &spdx.PackageExternalReference{
			Category: "OTHER", RefType: "go-module-h1", Locator: i.Sum,
			ExternalRefComment: "the module's checksum in go.sum: SHA-256, in base 64, over the list of its files and their SHA-256 sums; no digest of any file",
		})
	}
	for ref, text := range i.Licences.Texts {
		w.texts[ref] = text
	}
	w.doc.Packages = append(w.doc.Packages, p)
	w.contains(p, i.Files, files)
	return p
}

// contains tells that a package brought files.
func (w *spdxWriter) contains(p *spdx.Package, paths []string, files map[string]filed) {
	if len(paths) == 0 {
		return
	}
	var all []string
	for _, path := range paths {
		all = append(all, files[path].SHA1)
		w.relate(p.PackageSPDXIdentifier, "CONTAINS", common.ElementID(files[path].id()), "")
	}
	slices.Sort(all)
	sum := sha1.Sum([]byte(strings.Join(all, ""))) //nolint:gosec // SPDX 2.3, 7.9
	p.FilesAnalyzed, p.IsFilesAnalyzedTagPresent = true, true
	p.PackageVerificationCode = &common.PackageVerificationCode{Value: hex.EncodeToString(sum[:])}
}

// links tells which program is linked with which module, and what follows from
// it for those who brought the program.
func (w *spdxWriter) links(inv *inventory, files map[string]filed) {
	depends := map[[2]common.ElementID]bool{}
	for _, i := range inv.Items {
		id := common.ElementID(i.id())
		for _, program := range i.In {
			w.relate(common.ElementID(files[program].id()), "STATIC_LINK", id, "")
			from := common.ElementID(inv.owner(program).id())
			if from != id && !depends[[2]common.ElementID{from, id}] {
				depends[[2]common.ElementID{from, id}] = true
				w.relate(from, "DEPENDS_ON", id, "")
			}
		}
		for _, version := range i.For {
			for _, e := range inv.Items {
				if e.Kind == kindEtcd && e.Version == version {
					w.relate(id, "BUILD_TOOL_OF", common.ElementID(e.id()), "")
				}
			}
		}
	}
}

func (w *spdxWriter) file(f filed) {
	out := &spdx.File{
		FileName: f.Path, FileSPDXIdentifier: common.ElementID(f.id()), Checksums: checksums(f.SHA1, f.SHA256),
		LicenseConcluded: noAssertion, FileCopyrightText: noAssertion,
	}
	switch {
	case f.Link != "":
		out.FileTypes = []string{"OTHER"}
		out.FileComment = "A symbolic link to " + f.Link + "; the digests are those of these words."
	case f.Same != "":
		out.FileComment = "A hard link to " + f.Same + "."
	case f.Path == bundleFile && f.MadeFrom != "":
		out.FileComment = "The certificates that are trusted, in one file; made as update-ca-certificates makes it."
	}
	w.doc.Files = append(w.doc.Files, out)
}

func (w *spdxWriter) relate(from common.ElementID, how string, to common.ElementID, comment string) {
	w.doc.Relationships = append(w.doc.Relationships, &spdx.Relationship{
		RefA: common.DocElementID{ElementRefID: from}, RefB: common.DocElementID{ElementRefID: to}, Relationship: how, RelationshipComment: comment,
	})
}

// finish names the document after its content and writes it.
func (w *spdxWriter) finish() ([]byte, error) {
	for _, ref := range sortedKeys(w.texts) {
		w.doc.OtherLicenses = append(w.doc.OtherLicenses, &spdx.OtherLicense{LicenseIdentifier: ref, LicenseName: licenceName(ref), ExtractedText: w.texts[ref]})
	}
	b, err := encode(w.doc)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	w.doc.DocumentNamespace = namespace + w.doc.DocumentName + "-" + hex.EncodeToString(sum[:])
	return encode(w.doc)
}

// licenceName is the name in a LicenseRef-NAME-DIGEST.
func licenceName(ref string) string {
	name := strings.TrimPrefix(ref, "LicenseRef-")
	if i := strings.LastIndexByte(name, '-'); i > 0 {
		name = name[:i]
	}
	return name
}

// encode writes JSON on one line, as it is: without escapes for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

func checksums(sha1Hex, sha256Hex string) []common.Checksum {
	var all []common.Checksum
	if sha1Hex != "" {
		all = append(all, common.Checksum{Algorithm: common.SHA1, Value: sha1Hex})
	}
	if sha256Hex != "" {
		all = append(all, common.Checksum{Algorithm: common.SHA256, Value: sha256Hex})
	}
	return all
}

func purlRef(purl string) *spdx.PackageExternalReference {
	return &spdx.PackageExternalReference{Category: "PACKAGE-MANAGER", RefType: "purl", Locator: purl}
}

// imagePURL names an image (package-url, type oci), or the program that the
// facts are of.
func imagePURL(f Facts, subject string) string {
	if f.Program != nil {
		return f.Program.PURL
	}
	purl := "pkg:oci/" + strings.ToLower(f.Name)
	if subject != "" {
		purl += "@" + strings.Replace(subject, ":", "%3A", 1)
	}
	if f.Arch != "" {
		purl += "?arch=" + f.Arch
	}
	return purl
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
