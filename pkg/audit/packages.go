package audit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	packageurl "github.com/anchore/packageurl-go"
)

// spdxDocument is what is read of an SBOM (SPDX 2.3, JSON).
type spdxDocument struct {
	SPDXVersion string `json:"spdxVersion"`
	Packages    []struct {
		ID               string `json:"SPDXID"`
		Name             string `json:"name"`
		Version          string `json:"versionInfo"`
		Supplier         string `json:"supplier"`
		DownloadLocation string `json:"downloadLocation"`
		LicenseConcluded string `json:"licenseConcluded"`
		LicenseDeclared  string `json:"licenseDeclared"`
		Purpose          string `json:"primaryPackagePurpose"`
		Checksums        []struct {
			Algorithm string `json:"algorithm"`
			Value     string `json:"checksumValue"`
		} `json:"checksums"`
		ExternalRefs []struct {
			Type    string `json:"referenceType"`
			Locator string `json:"referenceLocator"`
		} `json:"externalRefs"`
	} `json:"packages"`
	Files []struct {
		ID   string `json:"SPDXID"`
		Name string `json:"fileName"`
	} `json:"files"`
	Relationships []struct {
		From string `json:"spdxElementId"`
		Type string `json:"relationshipType"`
		To   string `json:"relatedSpdxElement"`
	} `json:"relationships"`
}

// contents are the packages of one image, and which of them brought which
// path.
type contents struct {
	packages []Package
	brought  map[string]int // path → index in packages
	purl     string         // of the image, as the SBOM has it
}

func known(s string) string {
	if s == "NOASSERTION" || s == "NONE" {
		return ""
	}
	return s
}

// readSBOM reads the packages of an image.
func readSBOM(b []byte, arch string) (*contents, error) {
	var d spdxDocument
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("no SPDX document: %w", err)
	}
	if !strings.HasPrefix(d.SPDXVersion, "SPDX-2.") {
		return nil, fmt.Errorf("spdxVersion is %q, want SPDX-2.3", d.SPDXVersion)
	}
	paths := map[string]string{}
	for _, f := range d.Files {
		paths[f.ID] = "/" + strings.TrimPrefix(strings.TrimPrefix(f.Name, "."), "/")
	}
	in, has, tool := map[string][]string{}, map[string][]string{}, map[string]bool{}
	for _, r := range d.Relationships {
		switch {
		case r.Type == "STATIC_LINK" && paths[r.From] != "":
			in[r.To] = append(in[r.To], paths[r.From])
		case r.Type == "CONTAINS" && paths[r.To] != "":
			has[r.From] = append(has[r.From], paths[r.To])
		case r.Type == "BUILD_TOOL_OF":
			tool[r.From] = true
		}
	}
	c := &contents{brought: map[string]int{}}
	for _, p := range d.Packages {
		one := Package{
			Kind: OtherKind, Name: p.Name, Version: p.Version, Archs: []string{arch},
			Licence: cmp.Or(known(p.LicenseConcluded), known(p.LicenseDeclared)),
			Origin:  known(p.DownloadLocation), In: in[p.ID],
		}
		_, one.Supplier, _ = strings.Cut(known(p.Supplier), ": ")
		for _, s := range p.Checksums {
			one.Digests = append(one.Digests, Digest{s.Algorithm, s.Value})
		}
		for _, r := range p.ExternalRefs {
			switch r.Type {
			case "purl":
				one.Purl = r.Locator
			case "go-module-h1":
				one.Digests = append(one.Digests, Digest{"h1", r.Locator})
			}
		}
		if p.Purpose == "CONTAINER" || strings.HasPrefix(one.Purl, "pkg:oci/") {
			c.purl = one.Purl
			continue
		}
		if tool[p.ID] || p.Purpose == "OPERATING-SYSTEM" {
			continue
		}
		one.identify()
		slices.Sort(one.In)
		for _, path := range has[p.ID] {
			c.brought[path] = len(c.packages)
		}
		c.packages = append(c.packages, one)
	}
	return c, nil
}

// identify tells from the package URL what a package is.
func (p *Package) identify() {
	u, err := packageurl.FromString(p.Purl)
	if err != nil {
		return
	}
	switch u.Type {
	case "golang":
		p.Kind = GoModule
		if p.Name == "stdlib" {
			p.Kind, p.Version = Toolchain, strings.TrimPrefix(p.Version, "go")
		}
	case "deb":
		p.Kind = Debian
		source, version, ok := strings.Cut(u.Qualifiers.Map()["upstream"], "@")
		if source == "" {
			source = p.Name
		}
		if !ok {
			version = p.Version
		}
		p.Source = source + " " + version
	}
}

// system is the distribution that a Debian package is of, as OSV names it:
// Debian:13. It is empty where the SBOM does not tell.
func (p *Package) system() string {
	u, err := packageurl.FromString(p.Purl)
	if err != nil {
		return ""
	}
	distro := u.Qualifiers.Map()["distro"]
	name, version, ok := strings.Cut(distro, "-")
	if !ok {
		name, version = cmp.Or(u.Namespace, "debian"), distro
	}
	if version == "" {
		return ""
	}
	if name != "debian" {
		return strings.ToUpper(name[:1]) + name[1:] + ":" + version
	}
	major, _, _ := strings.Cut(version, ".")
	return "Debian:" + major
}

// ecosystem is the kind of package that a package URL names.
func (p *Package) ecosystem() string {
	u, err := packageurl.FromString(p.Purl)
	if err != nil {
		return ""
	}
	return u.Type
}

// combine puts the packages of several images together, each once.
func combine(all []*contents) []Package {
	type key struct {
		kind                PackageKind
		name, version, purl string
	}
	at := map[key]int{}
	var out []Package
	for _, c := range all {
		for _, p := range c.packages {
			k := key{p.Kind, p.Name, p.Version, p.Purl}
			if p.Kind == Debian { // its URL has the architecture
				k.purl = ""
			}
			i, ok := at[k]
			if !ok {
				i = len(out)
				at[k] = i
				p.Archs, p.In, p.Digests = slices.Clone(p.Archs), slices.Clone(p.In), slices.Clone(p.Digests)
				out = append(out, p)
				continue
			}
			out[i].Archs = union(out[i].Archs, p.Archs)
			out[i].In = union(out[i].In, p.In)
			for _, d := range p.Digests {
				if !slices.Contains(out[i].Digests, d) {
					out[i].Digests = append(out[i].Digests, d)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Package) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Purl, b.Purl))
	})
	return out
}

// union are the strings of both, sorted.
func union(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}
