//go:build e2e

package e2e

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// A scanner finds every package of the base, with version and licence, and
// knows which distribution it looks at.
func TestSyftFindsEveryPackage(t *testing.T) {
	syft := shared.tool(t, "syft")
	for _, c := range []struct{ profile, distro, version, packages string }{
		{"debian-slim.yaml", "debian", "13.", "var/lib/dpkg/status"},
		{"hardened.yaml", "debian", "13", "var/lib/dpkg/status.d/"},
	} {
		t.Run(c.profile, func(t *testing.T) {
			layout := filepath.Join(shared.scratch(t), "layout")
			shared.command("build", shared.profile(c.profile), "--arch", "amd64", "-o", layout, "--output", "json").mustBuild(t)
			want := map[string]string{}
			for name, f := range tree(t, imagesOf(t, layout)["amd64"]) {
				name = strings.TrimPrefix(name, "/")
				if strings.HasPrefix(name, c.packages) && !strings.HasSuffix(name, ".md5sums") {
					packagesOf(want, string(f.content))
				}
			}
			if len(want) == 0 {
				t.Fatalf("the image has no packages at %s", c.packages)
			}
			out := run(t, "env", "SYFT_CHECK_FOR_APP_UPDATE=false", syft, "scan", "--quiet", "--platform", "linux/amd64", "--output", "json", "oci-dir:"+layout)
			var found struct {
				Distro    struct{ ID, VersionID string }
				Artifacts []struct {
					Name, Version, Type string
					Licenses            []struct{ Value string }
				}
			}
			if err := json.Unmarshal([]byte(out), &found); err != nil {
				t.Fatalf("%v: %s", err, tail(out, 5))
			}
			if found.Distro.ID != c.distro || !strings.HasPrefix(found.Distro.VersionID, c.version) {
				t.Errorf("syft takes the image for %s %s", found.Distro.ID, found.Distro.VersionID)
			}
			got := map[string]string{}
			for _, a := range found.Artifacts {
				if a.Type != "deb" {
					continue
				}
				got[a.Name] = a.Version
				if len(a.Licenses) == 0 {
					t.Errorf("syft finds no licence of %s", a.Name)
				}
			}
			for name, version := range want {
				if got[name] != version {
					t.Errorf("syft finds %s %q, the image has %s", name, got[name], version)
				}
			}
			if len(got) != len(want) {
				t.Errorf("syft finds %d packages, the image has %d", len(got), len(want))
			}
		})
	}
}

// packagesOf adds the names and versions of the stanzas of a dpkg status file.
func packagesOf(versions map[string]string, status string) {
	name := ""
	for line := range strings.Lines(status) {
		line = strings.TrimSuffix(line, "\n")
		if v, ok := strings.CutPrefix(line, "Package: "); ok {
			name = v
		} else if v, ok := strings.CutPrefix(line, "Version: "); ok {
			versions[name] = v
		}
	}
}
