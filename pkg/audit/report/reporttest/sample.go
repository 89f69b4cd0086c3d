// Package reporttest has results of audits to write reports of: an image as
// they usually are, one that is large, one whose every text is hostile.
package reporttest

import (
	"fmt"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/audit"
	"github.com/etcdimg/etcdimg/pkg/diff"
)

var archs = [...]string{"amd64", "arm64", "ppc64le", "s390x"}

// sum is a digest that nothing has.
func sum(parts ...any) string {
	const hex = "0123456789abcdef"
	h := uint64(14695981039346656037)
	for _, c := range fmt.Sprint(parts...) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	var b strings.Builder
	for range 64 {
		h = h*6364136223846793005 + 1442695040888963407
		b.WriteByte(hex[h>>60])
	}
	return b.String()
}

func day(month time.Month, d int) time.Time { return time.Date(2026, month, d, 10, 15, 0, 0, time.UTC) }

// Sample is an image of four architectures that is not allowed: two findings
// are open, and a policy's rules are broken, hold, and hold with an exception.
func Sample() *audit.Result {
	r := &audit.Result{
		Tool: "etcdimg v1.0.0", Reference: "registry.example/platform/etcd:3.6.16-0", Title: "etcd 3.6.16",
		Digest: "sha256:" + sum("index"), MediaType: "application/vnd.oci.image.index.v1+json",
	}
	r.Purl = "pkg:oci/etcd@" + r.Digest + "?repository_url=registry.example%2Fplatform%2Fetcd"
	base := map[string]int64{"amd64": 11_912_331, "arm64": 10_874_006, "ppc64le": 10_950_118, "s390x": 11_633_870}
	for _, arch := range archs {
		i := audit.Image{
			Arch: arch, Platform: "linux/" + arch, Digest: "sha256:" + sum("image", arch), Created: day(time.July, 28),
			User: "65532:65532", Cmd: []string{"/usr/local/bin/etcd"}, WorkDir: "/var/lib/etcd",
			Volumes: []string{"/var/lib/etcd"}, Ports: []string{"2379/tcp", "2380/tcp"}, SBOM: "attestation",
			Layers: []audit.Layer{
				{Contents: "accounts and directories", Size: 1_204, Unpacked: 1_850, Files: 9},
				{Contents: "ca-certificates", Size: 118_544, Unpacked: 230_113, Files: 2, Packages: []string{"ca-certificates 20250419"}},
				{Contents: "tzdata", Size: 389_120, Unpacked: 1_340_981, Files: 1_207, Packages: []string{"tzdata 2026a-0+deb13u1"}},
				{Contents: "etcd-3.6.16", Size: base[arch], Unpacked: base[arch] * 3, Files: 1, Packages: []string{"etcd 3.6.16"}},
				{Contents: "migrate", Size: base[arch] * 2 / 5, Unpacked: base[arch], Files: 1, Packages: []string{"migrate"}},
			},
			Risks: []audit.Risk{{Kind: audit.Shell, Path: "/usr/bin/dash", Detail: "mode 0755, owner 0:0"}},
		}
		if arch == "s390x" {
			i.Risks = append(i.Risks, audit.Risk{Kind: audit.Setuid, Path: "/usr/bin/newgrp", Detail: "mode 4755, owner 0:0"})
		}
		for n := range i.Layers {
			i.Layers[n].Digest = "sha256:" + sum("layer", arch, n)
			i.Size += i.Layers[n].Size
		}
		r.Images = append(r.Images, i)
	}
	etcd := []string{"/usr/local/bin/etcd"}
	both := []string{"/usr/local/bin/etcd", "/usr/local/bin/migrate"}
	module := func(name, version, licence string, in []string, findings ...string) {
		r.Packages = append(r.Packages, audit.Package{
			Kind: audit.GoModule, Name: name, Version: version, Licence: licence, In: in, Archs: archs[:], Findings: findings,
			Purl: "pkg:golang/" + name + "@" + version, Origin: "https://" + name,
			Digests: []audit.Digest{{Algorithm: "h1", Value: "h1:" + sum(name)[:43] + "="}},
		})
	}
	for _, arch := range archs {
		r.Packages = append(r.Packages, audit.Package{
			Kind: audit.Debian, Name: "ca-certificates", Version: "20250419", Licence: "GPL-2.0-or-later AND MPL-2.0", Supplier: "Organization: Debian",
			Source: "ca-certificates 20250419", Archs: []string{arch}, Origin: "https://archive.example/debian/20260801T000000Z/pool/main/c/ca-certificates/ca-certificates_20250419_all.deb",
			Digests: []audit.Digest{{Algorithm: "SHA256", Value: sum("ca")}},
		}, audit.Package{
			Kind: audit.Debian, Name: "libc6", Version: "2.41-12", Licence: "LGPL-2.1-or-later", Supplier: "Organization: Debian",
			Source: "glibc 2.41-12", Archs: []string{arch}, Origin: "https://archive.example/debian/20260801T000000Z/pool/main/g/glibc/libc6_2.41-12_" + arch + ".deb",
			Digests: []audit.Digest{{Algorithm: "SHA256", Value: sum("libc6", arch)}}, Findings: []string{"DEBIAN-CVE-2026-10442"},
		})
	}
	r.Packages = append(r.Packages, audit.Package{Kind: audit.Debian, Name: "tzdata", Version: "2026a-0+deb13u1", Licence: "", Supplier: "Organization: Debian", Source: "tzdata 2026a-0+deb13u1", Archs: archs[:], Digests: []audit.Digest{{Algorithm: "SHA256", Value: sum("tz")}}})
	module("go.etcd.io/etcd/server/v3", "v3.6.16", "Apache-2.0", etcd)
	module("go.etcd.io/bbolt", "v1.4.3", "MIT", both)
	module("go.uber.org/zap", "v1.27.0", "MIT", both)
	module("golang.org/x/crypto", "v0.31.0", "BSD-3-Clause", etcd, "GO-2025-3487")
	module("golang.org/x/net", "v0.33.0", "BSD-3-Clause", both, "GO-2025-3503", "GO-2025-3595")
	module("google.golang.org/grpc", "v1.71.1", "Apache-2.0", etcd)
	module("google.golang.org/protobuf", "v1.36.5", "BSD-3-Clause", both)
	r.Packages = append(r.Packages, audit.Package{Kind: audit.Toolchain, Name: "stdlib", Version: "go1.26.8", Licence: "BSD-3-Clause", In: both, Archs: archs[:], Origin: "https://go.dev"})

	r.Findings = []audit.Finding{
		{
			ID: "DEBIAN-CVE-2026-10442", Aliases: []string{"CVE-2026-10442"}, Severity: audit.High, Score: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H",
			Summary: "Stack exhaustion in the resolver", Details: "A crafted answer makes the resolver of the C library use the stack without bound.\n\nOnly programs that resolve names through it are affected.",
			URL: "https://security-tracker.debian.org/tracker/CVE-2026-10442", Kind: audit.Debian, Package: "libc6", Installed: "2.41-12", Fixed: "2.41-12+deb13u1",
			Reachability: audit.PackageLevel, Archs: archs[:], Open: true,
		},
		{
			ID: "GO-2025-3503", Aliases: []string{"CVE-2025-22870", "GHSA-qxp5-gwg8-xv66"}, Severity: audit.Medium, Summary: "HTTP proxy bypass using IPv6 zone IDs in golang.org/x/net",
			Details: "Matching of hosts against proxy patterns can improperly treat an IPv6 zone ID as a hostname component.", URL: "https://pkg.go.dev/vuln/GO-2025-3503",
			Kind: audit.GoModule, Package: "golang.org/x/net", Installed: "v0.33.0", Fixed: "v0.36.0", Reachability: audit.Called,
			Symbols: []string{"golang.org/x/net/http/httpproxy.config.useProxy", "golang.org/x/net/proxy.PerHost.Dial", "golang.org/x/net/proxy.PerHost.DialContext"},
			Files:   etcd, Archs: archs[:], Open: true,
			VEX: &audit.VEX{Status: "affected", Statement: "Raise golang.org/x/net to v0.36.0: etcd.bump in the profile.", Timestamp: day(time.August, 2), From: "analysis", Author: "etcdimg v1.0.0"},
		},
		{
			ID: "GO-2025-3487", Aliases: []string{"CVE-2025-22869"}, Severity: audit.High, Summary: "Potential denial of service in golang.org/x/crypto", URL: "https://pkg.go.dev/vuln/GO-2025-3487",
			Kind: audit.GoModule, Package: "golang.org/x/crypto", Installed: "v0.31.0", Fixed: "v0.35.0", Reachability: audit.Required, Files: etcd, Archs: archs[:],
			VEX: &audit.VEX{Status: "not_affected", Justification: "vulnerable_code_not_present", Timestamp: day(time.August, 2), From: "analysis", Author: "etcdimg v1.0.0"},
		},
		{
			ID: "GO-2025-3595", Aliases: []string{"CVE-2025-22872"}, Severity: audit.Unknown, Summary: "Incorrect neutralization of input during web page generation in x/net", URL: "https://pkg.go.dev/vuln/GO-2025-3595",
			Kind: audit.GoModule, Package: "golang.org/x/net", Installed: "v0.33.0", Fixed: "v0.38.0", Reachability: audit.Imported, Files: both, Archs: archs[1:2],
			Exception: &audit.Exception{Reason: "etcd writes no HTML; raised with 3.6.17", Expires: "2026-12-31", Line: 14},
		},
	}
	r.Databases = []audit.Database{
		{Source: "osv/go.zip", Kind: "archive", Date: day(time.August, 21), DateFrom: "index/db.json", Digest: "sha256:" + sum("go"), Records: 4291, Ecosystems: []audit.Ecosystem{{Name: "Go", Records: 4291}}},
		{Source: "osv/debian", Kind: "folder", Date: day(time.August, 20), DateFrom: "modified", Digest: "sha256:" + sum("deb"), Records: 51877, Ecosystems: []audit.Ecosystem{{Name: "Debian:13", Records: 51877}}},
	}
	r.NotJudged = []audit.Gap{{What: "migrate v1.0.0", Reason: "no database has records of it"}}
	r.Policy = &audit.Policy{
		Source: "policy.yaml", Rules: []string{"severity", "licences", "packages", "setuid", "world-writable", "user", "sbom", "age", "signatures"}, Broken: true,
		Breaks: []audit.Break{
			{Rule: "severity", Digest: r.Digest, Archs: archs[:], Subject: "DEBIAN-CVE-2026-10442 libc6", Expected: "at most medium", Found: "high", Line: 4},
			{Rule: "severity", Digest: r.Digest, Archs: archs[1:2], Subject: "GO-2025-3595 golang.org/x/net", Expected: "rated", Found: "not rated", Line: 4, Exception: &audit.Exception{Reason: "etcd writes no HTML; raised with 3.6.17", Expires: "2026-12-31", Line: 14}},
			{Rule: "setuid", Digest: r.Images[3].Digest, Archs: archs[3:], Subject: "/usr/bin/newgrp", Expected: "none", Found: "mode 4755, owner 0:0", Line: 7, Exception: &audit.Exception{Reason: "removed with the next base", Expires: "2026-06-30", Expired: true, Line: 18}},
			{Rule: "licences", Digest: r.Digest, Archs: archs[:], Subject: "tzdata 2026a-0+deb13u1", Expected: "a known licence", Found: "none", Line: 5, Exception: &audit.Exception{Reason: "public domain", Expires: "2027-01-31", Line: 22}},
		},
	}
	subjects := []string{r.Digest}
	for _, i := range r.Images {
		subjects = append(subjects, i.Digest)
	}
	for _, s := range subjects {
		r.Signatures = append(r.Signatures, audit.Signature{Subject: s, Form: ".sig", By: "cosign.pub", Verified: true})
		for _, kind := range []string{"spdxjson", "cyclonedx", "slsaprovenance1", "openvex"} {
			r.Statements = append(r.Statements, audit.Statement{Subject: s, Digest: "sha256:" + sum(kind, s), Kind: kind, Verified: "cosign.pub"})
		}
	}
	r.Signatures = append(r.Signatures, audit.Signature{Subject: r.Digest, Form: "bundle", By: "release@platform.example"})
	r.Provenance = &audit.Provenance{
		Builder: "etcdimg v1.0.0", Packages: 3, Snapshot: "20260801T000000Z", Newest: day(time.July, 28), Skipped: []string{"trixie-security for s390x: its index could not be verified"},
		Etcd: []audit.Compiled{{Version: "3.6.16", Toolchain: "go1.26.8", Modules: 71, Edits: []string{"github.com/soheilhy/cmux@v0.1.5: reads frames without limit"}}},
	}
	r.Since = &audit.Since{
		Reference: "registry.example/platform/etcd:3.6.15-0", Digest: "sha256:" + sum("before"),
		New: []string{"DEBIAN-CVE-2026-10442 libc6"}, Gone: []string{"GO-2025-3447 stdlib"},
		Changes: []diff.Change{
			{Kind: diff.Etcd, Name: "etcd", Old: "3.6.15", New: "3.6.16"},
			{Kind: diff.Toolchain, Name: "go", Of: "etcd 3.6.16", Old: "go1.26.7", New: "go1.26.8", Security: true},
			{Kind: diff.Module, Name: "google.golang.org/grpc", Of: "etcd 3.6.16", Old: "v1.71.0", New: "v1.71.1"},
			{Kind: diff.Module, Name: "github.com/xiang90/probing", Of: "etcd 3.6.16", Old: "v0.0.0-20221125231312-a49e3df8f510"},
			{Kind: diff.Package, Name: "tzdata", Old: "2025b-4+deb13u1", New: "2026a-0+deb13u1"},
			{Kind: diff.File, Name: "/usr/bin/newgrp", Archs: archs[3:], New: "mode 4755, 40,664 bytes"},
			{Kind: diff.Size, Name: "compressed", Archs: archs[:1], Old: "16.9 MB", New: "17.1 MB"},
		},
	}
	return r
}
