//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/github/go-spdx/v2/spdxexp"

	"github.com/etcdimg/etcdimg/pkg/sbom/sbomtest"
)

// spdxDocument is what the tests read of SPDX 2.3.
type spdxDocument struct {
	Packages []struct {
		ID        string `json:"SPDXID"`
		Name      string `json:"name"`
		Version   string `json:"versionInfo"`
		Supplier  string `json:"supplier"`
		Declared  string `json:"licenseDeclared"`
		Concluded string `json:"licenseConcluded"`
		Download  string `json:"downloadLocation"`
		Source    string `json:"sourceInfo"`
		Comment   string `json:"comment"`
		Checksums []struct {
			Algorithm string `json:"algorithm"`
			Value     string `json:"checksumValue"`
		} `json:"checksums"`
		References []struct {
			Type    string `json:"referenceType"`
			Locator string `json:"referenceLocator"`
		} `json:"externalRefs"`
	} `json:"packages"`
	Files []struct {
		ID        string `json:"SPDXID"`
		Name      string `json:"fileName"`
		Checksums []struct {
			Algorithm string `json:"algorithm"`
			Value     string `json:"checksumValue"`
		} `json:"checksums"`
	} `json:"files"`
	Relationships []struct {
		From string `json:"spdxElementId"`
		Type string `json:"relationshipType"`
		To   string `json:"relatedSpdxElement"`
	} `json:"relationships"`
}

// The SBOMs of the real images name what is in them and nothing else: file by
// file, module by module of every program, package by package of the image's
// own database.
func TestSBOMsAreComplete(t *testing.T) {
	schemas := sbomtest.New(t)
	for _, c := range []struct {
		profile, packages string
		archs             []string
	}{
		{"hardened.yaml", "/var/lib/dpkg/status.d/", []string{"amd64", "arm64", "ppc64le", "s390x"}},
		{"debian-slim.yaml", "/var/lib/dpkg/status", []string{"amd64"}},
		{"dev.yaml", "/var/lib/dpkg/status", []string{"amd64"}},
		{"busybox-multi.yaml", "/var/lib/dpkg/status.d/", []string{"amd64"}},
	} {
		t.Run(c.profile, func(t *testing.T) {
			dir := shared.scratch(t)
			layout, said := filepath.Join(dir, "layout"), filepath.Join(dir, "said")
			build := shared.command(options([]string{"build", shared.profile(c.profile), "--arch", strings.Join(c.archs, ","), "-o", layout, "--sbom-dir", said, "--output", "json"}, skipSuites)...)
			if store := os.Getenv("ETCDIMG_TEST_STORE"); store != "" && c.profile == "busybox-multi.yaml" {
				build.with("ETCDIMG_CACHE", store)
			}
			built := build.mustBuild(t)
			images := imagesOf(t, layout)
			for _, arch := range c.archs {
				files := tree(t, images[arch])
				bom := readSPDX(t, schemas, filepath.Join(said, "sbom-"+arch+".spdx.json"))
				checkFiles(t, bom, files)
				checkModules(t, bom, files)
				checkDebs(t, bom, files, c.packages)
				checkShares(t, bom)
				image, _ := built.image(arch)
				checkComponents(t, schemas, filepath.Join(said, "sbom-"+arch+".cdx.json"), image.Digest, files)
				checkInside(t, schemas, bom, files)
			}
			index := readSPDX(t, schemas, filepath.Join(said, "sbom-index.spdx.json"))
			checkIndex(t, index, built)
			schemas.CheckCycloneDX(t, readAll(t, filepath.Join(said, "sbom-index.cdx.json")))
		})
	}
}

func readAll(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readSPDX(t *testing.T, s sbomtest.Schemas, path string) spdxDocument {
	t.Helper()
	return parseSPDX(t, s, readAll(t, path))
}

func parseSPDX(t *testing.T, s sbomtest.Schemas, b []byte) spdxDocument {
	t.Helper()
	s.CheckSPDX(t, b)
	var d spdxDocument
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// sameSet compares two lists without their order, and says what only one has.
func sameSet(t *testing.T, what string, got, want []string) {
	t.Helper()
	counts := map[string]int{}
	for _, s := range got {
		counts[s]++
	}
	for _, s := range want {
		counts[s]--
	}
	for _, s := range slices.Sorted(maps.Keys(counts)) {
		switch n := counts[s]; {
		case n > 0:
			t.Errorf("%s: %q is in the SBOM, %d times too often", what, s, n)
		case n < 0:
			t.Errorf("%s: %q is not in the SBOM", what, s)
		}
	}
	if len(want) == 0 {
		t.Errorf("%s: there are none, the test shows nothing", what)
	}
}

// fileLine is a file or link with its digest, as SBOMs have it: that of a
// symbolic link is of its words, that of a hard link its target's.
func fileLine(path string, files map[string]file) string {
	f := files[path]
	content := f.content
	switch f.Typeflag {
	case tar.TypeSymlink:
		content = []byte(f.Linkname)
	case tar.TypeLink:
		content = files[filepath.Join("/", f.Linkname)].content
	}
	sum := sha256.Sum256(content)
	return path + " " + hex.EncodeToString(sum[:])
}

func fileLines(files map[string]file) []string {
	var lines []string
	for path, f := range files {
		if f.Typeflag != tar.TypeDir {
			lines = append(lines, fileLine(path, files))
		}
	}
	return lines
}

func checkFiles(t *testing.T, bom spdxDocument, files map[string]file) {
	t.Helper()
	var got []string
	for _, f := range bom.Files {
		for _, c := range f.Checksums {
			if c.Algorithm == "SHA256" {
				got = append(got, f.Name+" "+c.Value)
			}
		}
	}
	sameSet(t, "files", got, fileLines(files))
}

// checkModules compares what go version -m says of every program with what the
// SBOM says that it is linked with.
func checkModules(t *testing.T, bom spdxDocument, files map[string]file) {
	t.Helper()
	var want []string
	unsummed := map[string]bool{}
	add := func(path, module, version, sum string) {
		line := path + ": " + module + " " + version
		if sum == "" {
			unsummed[line] = true
		} else {
			line += " " + sum
		}
		want = append(want, line)
	}
	for path, f := range files {
		if f.Typeflag != tar.TypeReg || !bytes.HasPrefix(f.content, []byte("\x7fELF")) {
			continue
		}
		info, err := buildinfo.Read(bytes.NewReader(f.content))
		if err != nil {
			continue // no Go program: a package's, which checkDebs counts
		}
		add(path, "stdlib", strings.TrimPrefix(info.GoVersion, "go"), "")
		main := info.Main.Version
		if main == "(devel)" {
			main = "devel"
		}
		add(path, info.Main.Path, main, info.Main.Sum)
		for _, d := range info.Deps {
			switch {
			case d.Replace == nil:
				add(path, d.Path, d.Version, d.Sum)
			case strings.HasPrefix(d.Replace.Path, "."):
				// A directory has no sum: the module was edited. The SBOM has the
				// sum of what was published, and says that it was edited.
				add(path, d.Path, d.Version, "")
			default:
				add(path, d.Replace.Path, d.Replace.Version, d.Replace.Sum)
			}
		}
	}
	type module struct{ name, sum, comment string }
	modules := map[string]module{}
	for _, p := range bom.Packages {
		if !strings.HasPrefix(p.ID, "SPDXRef-Package-stdlib-") && !strings.HasPrefix(p.ID, "SPDXRef-Package-go-") {
			continue
		}
		m := module{name: p.Name + " " + p.Version, comment: p.Comment}
		for _, r := range p.References {
			if r.Type == "go-module-h1" {
				m.sum = " " + r.Locator
			}
		}
		modules[p.ID] = m
	}
	paths := map[string]string{}
	for _, f := range bom.Files {
		paths[f.ID] = f.Name
	}
	var got []string
	linked := map[string]bool{}
	for _, r := range bom.Relationships {
		if r.Type != "STATIC_LINK" {
			continue
		}
		m := modules[r.To]
		linked[r.To] = true
		line := paths[r.From] + ": " + m.name
		if !unsummed[line] {
			line += m.sum
		} else if m.sum != "" && !strings.Contains(m.comment, "not compiled as it was published") {
			t.Errorf("%s has no sum in the program, but one in the SBOM, which does not say that it was edited", line)
		}
		got = append(got, line)
	}
	sameSet(t, "modules", got, want)
	once := map[module]bool{}
	for id, m := range modules {
		if !linked[id] {
			t.Errorf("no program is linked with %s", m.name)
		}
		if once[m] {
			t.Errorf("%s stands there twice", m.name)
		}
		once[m] = true
	}
}

func checkDebs(t *testing.T, bom spdxDocument, files map[string]file, database string) {
	t.Helper()
	installed := map[string]string{}
	for name, f := range files {
		if f.Typeflag == tar.TypeReg && (name == database || strings.HasSuffix(database, "/") && strings.HasPrefix(name, database)) && !strings.HasSuffix(name, ".md5sums") {
			packagesOf(installed, string(f.content))
		}
	}
	var got, want []string
	for name, version := range installed {
		want = append(want, name+" "+version)
	}
	for _, p := range bom.Packages {
		if !strings.HasPrefix(p.ID, "SPDXRef-Package-deb-") {
			continue
		}
		got = append(got, p.Name+" "+p.Version)
		if len(p.Checksums) != 1 || p.Checksums[0].Algorithm != "SHA256" || len(p.Checksums[0].Value) != 64 {
			t.Errorf("%s: checksums %v, want one SHA-256", p.Name, p.Checksums)
		}
		if !strings.HasPrefix(p.Download, "https://snapshot.debian.org/archive/debian") || !strings.HasSuffix(p.Download, ".deb") {
			t.Errorf("%s: download location %s", p.Name, p.Download)
		}
		if !strings.HasPrefix(p.Source, "the Debian source package ") {
			t.Errorf("%s: made from %q", p.Name, p.Source)
		}
	}
	sameSet(t, "Debian packages", got, want)
}

// checkShares holds that all packages, not most, have a licence that is an SPDX
// expression, and a supplier.
func checkShares(t *testing.T, bom spdxDocument) {
	t.Helper()
	licensed, supplied := 0, 0
	for _, p := range bom.Packages {
		declared, _ := spdxexp.ValidateLicenses([]string{p.Declared})
		concluded, _ := spdxexp.ValidateLicenses([]string{p.Concluded})
		if declared && concluded {
			licensed++
		} else {
			t.Errorf("%s %s: licence %q declared, %q concluded", p.Name, p.Version, p.Declared, p.Concluded)
		}
		if strings.HasPrefix(p.Supplier, "Organization: ") || strings.HasPrefix(p.Supplier, "Person: ") {
			supplied++
		} else {
			t.Errorf("%s %s: supplier %q", p.Name, p.Version, p.Supplier)
		}
	}
	t.Logf("figures: %d packages, %d with a licence, %d with a supplier, %d files", len(bom.Packages), licensed, supplied, len(bom.Files))
}

// cyclonedxDocument is what the tests read of CycloneDX 1.6.
type cyclonedxDocument struct {
	Metadata struct {
		Component cyclonedxComponent `json:"component"`
	} `json:"metadata"`
	Components []cyclonedxComponent `json:"components"`
}

type cyclonedxComponent struct {
	Ref      string `json:"bom-ref"`
	Type     string `json:"type"`
	Name     string `json:"name"`
	Version  string `json:"version"`
	Supplier *struct {
		Name string `json:"name"`
	} `json:"supplier"`
	Licences []json.RawMessage `json:"licenses"`
	Hashes   []struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	} `json:"hashes"`
	Components []cyclonedxComponent `json:"components"`
}

func checkComponents(t *testing.T, s sbomtest.Schemas, path, digest string, files map[string]file) {
	t.Helper()
	b := readAll(t, path)
	s.CheckCycloneDX(t, b)
	var d cyclonedxDocument
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	if d.Metadata.Component.Ref != digest {
		t.Errorf("%s is about %s, not %s", filepath.Base(path), d.Metadata.Component.Ref, digest)
	}
	var got []string
	var walk func([]cyclonedxComponent)
	walk = func(all []cyclonedxComponent) {
		for _, c := range all {
			walk(c.Components)
			if c.Type != "file" {
				if len(c.Licences) == 0 || c.Supplier == nil || c.Supplier.Name == "" {
					t.Errorf("CycloneDX: %s %s has no licence or no supplier", c.Name, c.Version)
				}
				continue
			}
			for _, h := range c.Hashes {
				if h.Algorithm == "SHA-256" {
					got = append(got, c.Name+" "+h.Content)
				}
			}
		}
	}
	walk(d.Components)
	sameSet(t, "files in CycloneDX", got, fileLines(files))
}

// checkInside compares the SBOM that is in the image with the one beside it.
func checkInside(t *testing.T, s sbomtest.Schemas, beside spdxDocument, files map[string]file) {
	t.Helper()
	path := ""
	for name := range files {
		if strings.HasPrefix(name, "/var/lib/db/sbom/") && strings.HasSuffix(name, ".spdx.json") {
			path = name
		}
	}
	inside := parseSPDX(t, s, files[path].content)
	list := func(d spdxDocument) (lines []string) {
		for _, p := range d.Packages {
			lines = append(lines, p.ID)
		}
		for _, f := range d.Files {
			if f.Name != path {
				lines = append(lines, f.ID)
			}
		}
		return lines
	}
	sameSet(t, "the SBOM inside", list(inside), list(beside))
}

// checkIndex holds that the index's SBOM names the index, and each image of it.
func checkIndex(t *testing.T, bom spdxDocument, built *result) {
	t.Helper()
	ids, got := map[string]string{}, []string{}
	for _, p := range bom.Packages {
		for _, c := range p.Checksums {
			ids[p.ID] = "sha256:" + c.Value
			got = append(got, ids[p.ID])
		}
	}
	want, variants := []string{built.Digest}, []string{}
	for _, i := range built.Images {
		want = append(want, i.Digest)
		variants = append(variants, i.Digest+" VARIANT_OF "+built.Digest)
	}
	sameSet(t, "digests in the index's SBOM", got, want)
	var related []string
	for _, r := range bom.Relationships {
		if r.Type == "VARIANT_OF" {
			related = append(related, ids[r.From]+" VARIANT_OF "+ids[r.To])
		}
	}
	sameSet(t, "variants", related, variants)
}
