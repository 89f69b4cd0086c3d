package reporttest

import (
	"fmt"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/audit"
	"github.com/etcdimg/etcdimg/pkg/diff"
)

// Large is an index of four architectures with hundreds of packages, each
// listed once per architecture, as many findings, and thousands of changed
// files.
func Large() *audit.Result {
	r := Sample()
	r.Title, r.Packages, r.Findings = "etcd, every line", nil, nil
	licences := []string{"Apache-2.0", "MIT", "BSD-3-Clause", "", "GPL-2.0-or-later WITH Bison-exception-2.2 AND LGPL-2.1-or-later"}
	for n := range 400 {
		name := fmt.Sprintf("example.org/team-%02d/module-%03d", n%17, n)
		for _, arch := range archs {
			p := audit.Package{Kind: audit.GoModule, Name: name, Version: fmt.Sprintf("v1.%d.0", n), Licence: licences[n%len(licences)], Archs: []string{arch}, Origin: "https://" + name}
			for line := range 10 {
				p.In = append(p.In, fmt.Sprintf("/usr/local/bin/etcd-3.%d.1", line))
			}
			if n%4 == 0 {
				p.Kind, p.Name = audit.Debian, fmt.Sprintf("lib-example-%03d", n)
				p.Digests = []audit.Digest{{Algorithm: "SHA256", Value: sum(name, arch)}}
				p.In = nil
			}
			r.Packages = append(r.Packages, p)
		}
		if n%3 == 0 {
			r.Findings = append(r.Findings, audit.Finding{
				ID: fmt.Sprintf("GO-2026-%04d", n), Severity: []audit.Severity{audit.Critical, audit.Medium, audit.Low, audit.Negligible, audit.Unknown}[n%5], Summary: "Something of the kind that happens",
				Kind: audit.GoModule, Package: name, Installed: fmt.Sprintf("v1.%d.0", n), Reachability: audit.Called, Symbols: []string{name + "/deep/inside.VeryLongFunctionNameThatGoesOnAndOn"}, Archs: archs[:], Open: n%2 == 0,
			})
		}
	}
	for i := range r.Images {
		image := &r.Images[i]
		for n := range 20 {
			l := audit.Layer{Digest: "sha256:" + sum("line", n, image.Arch), Size: int64(500_000 * (n + 1)), Unpacked: int64(1_500_000 * (n + 1)), Files: 3, Contents: fmt.Sprintf("etcd-3.%d.%d", n%10, n)}
			image.Layers = append(image.Layers, l)
			image.Size += l.Size
		}
	}
	for n := range 2000 {
		r.Since.Changes = append(r.Since.Changes, diff.Change{Kind: diff.File, Name: fmt.Sprintf("/usr/share/zoneinfo/Area/Place_%04d", n), Old: "sha256:0123456789ab", New: "sha256:ba9876543210"})
	}
	return r
}

// Hostile is a result in which every text is markup, a script, or without an
// end.
func Hostile() *audit.Result {
	bad := `</style></title><script>document.title="owned"</script><img src=x onerror=alert(1)>"'` + "`${1}`&lt;\u202e\x00"
	endless := strings.Repeat("A", 1500)
	e := &audit.Exception{Reason: bad, Expires: bad}
	return &audit.Result{
		Tool: bad, Reference: bad, Digest: bad, MediaType: bad, Title: bad, Purl: bad,
		Images: []audit.Image{{
			Arch: bad, Platform: bad, Digest: bad, User: bad, Entrypoint: []string{bad, endless}, Cmd: []string{bad}, WorkDir: bad, Volumes: []string{bad}, Ports: []string{bad}, Size: 1, SBOM: bad,
			Layers: []audit.Layer{{Digest: bad, Size: 1, Contents: bad, Packages: []string{bad}}},
			Risks:  []audit.Risk{{Kind: audit.RiskKind(bad), Path: bad, Detail: bad}},
		}},
		Packages: []audit.Package{
			{Kind: audit.PackageKind(bad), Name: bad, Version: bad, Purl: bad, Licence: bad, Supplier: bad, Origin: bad, Source: bad, Digests: []audit.Digest{{Algorithm: bad, Value: bad}}, In: []string{bad}, Archs: []string{bad}, Findings: []string{bad}},
			{Kind: audit.GoModule, Name: endless, Version: endless, Licence: endless, Archs: []string{endless}},
		},
		Findings: []audit.Finding{{
			ID: bad, Aliases: []string{bad}, Summary: bad, Details: bad + "\n" + endless, URL: "javascript:alert(1)", Severity: audit.Severity(bad), Score: bad, Kind: audit.PackageKind(bad), Package: bad, Installed: bad, Fixed: bad,
			Reachability: audit.Reachability(bad), Symbols: []string{bad}, Files: []string{bad}, Archs: []string{bad},
			VEX: &audit.VEX{Status: bad, Justification: bad, Statement: bad, From: bad, Author: bad}, Exception: e, Open: true,
		}},
		Databases:  []audit.Database{{Source: bad, Kind: bad, DateFrom: bad, Digest: bad, Ecosystems: []audit.Ecosystem{{Name: bad}}}},
		NotJudged:  []audit.Gap{{What: bad, Reason: bad}},
		Policy:     &audit.Policy{Source: bad, Rules: []string{bad}, Breaks: []audit.Break{{Rule: bad, Digest: bad, Archs: []string{bad}, Subject: bad, Expected: bad, Found: bad, Exception: e}}},
		Signatures: []audit.Signature{{Subject: bad, Form: bad, PredicateType: bad, By: bad}},
		Statements: []audit.Statement{{Subject: bad, Digest: bad, Kind: bad, Verified: bad}},
		Provenance: &audit.Provenance{Builder: bad, Etcd: []audit.Compiled{{Version: bad, Toolchain: bad, Edits: []string{bad}}}, Snapshot: bad, Skipped: []string{bad}, Newest: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
		Since:      &audit.Since{Reference: bad, Digest: bad, New: []string{bad}, Gone: []string{bad}, Changes: []diff.Change{{Kind: diff.Kind(bad), Name: bad, Of: bad, Archs: []string{bad}, Old: bad, New: bad}}},
	}
}

// Bare is a result of an image of which nothing is known, held against nothing.
func Bare() *audit.Result {
	return &audit.Result{
		Tool: "etcdimg v1.0.0", Reference: "layout", Digest: "sha256:" + sum("bare"), MediaType: "application/vnd.oci.image.manifest.v1+json",
		Images: []audit.Image{{Arch: "amd64", Platform: "linux/amd64", Digest: "sha256:" + sum("bare"), SBOM: "scan"}},
	}
}
