//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The audit of the profiles' images by a snapshot of the Go vulnerability
// database, and of planted vulnerabilities.

// audited is what is looked at of an audit's result.
type audited struct {
	Findings []struct {
		ID, Package, Reachability string
		Files, Archs              []string
		Open                      bool
		VEX                       *struct{ Status, Justification string }
	}
	NotJudged []struct{ What, Reason string }
	Policy    *struct {
		Broken bool
		Breaks []struct{ Rule, Subject string }
	}
}

// lines are the findings as the tests name them: identifier, reach, package,
// files, "open" where nothing settles it.
func (a *audited) lines() []string {
	var all []string
	for _, f := range a.Findings {
		line := strings.Join([]string{f.ID, f.Reachability, f.Package, strings.Join(f.Files, " ")}, " ")
		if f.Open {
			line += " open"
		}
		all = append(all, strings.ReplaceAll(line, "  ", " "))
	}
	slices.Sort(all)
	return all
}

// databases are the snapshot, which lies beside the project, and one with a
// planted record about a Debian package.
func databases(t *testing.T, debian string) []string {
	t.Helper()
	snapshot := filepath.Join(shared.repo, "..", "shared", "data", "go-vulndb-2026-08-21.tar.xz")
	if _, err := os.Stat(snapshot); err != nil {
		shared.cannotRun(t, "the snapshot of the Go vulnerability database is not there: %v", err)
	}
	record := filepath.Join(shared.scratch(t), "DEBIAN-CVE-2099-0001.json")
	content := fmt.Sprintf(`{"id":"DEBIAN-CVE-2099-0001","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"ecosystem":"Debian:13","name":%q},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"99:1"}]}],"ecosystem_specific":{"urgency":"high"}}]}`, debian)
	if err := os.WriteFile(record, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return []string{"--db", snapshot, "--db", filepath.Dir(record)}
}

// audit runs the command; broken says whether the policy is to be.
func audit(t *testing.T, image string, broken bool, args ...string) *audited {
	t.Helper()
	c := shared.command(append([]string{"audit", image, "--output", "json"}, args...)...)
	out, _, err := c.run(t.Context())
	if (err != nil) != broken {
		t.Fatalf("the audit of %s: %v", image, err)
	}
	var a audited
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatal(err)
	}
	return &a
}

func wantLines(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// openpgp is the one thing that the snapshot knows of etcd 3.6.16: a package of
// golang.org/x/crypto that nobody should use, and etcd does not.
const openpgp = "GO-2026-5932 required golang.org/x/crypto "

// strict is what holds of hardened.
const strict = `
vulnerabilities: {fail-at: negligible, reach: [called, package]}
files: {no-shell: true, no-setuid: true, no-world-writable: true}
no-root: true
sbom: [version, licence, supplier, origin]
`

func writePolicy(t *testing.T) string {
	t.Helper()
	name := filepath.Join(shared.scratch(t), "policy.yaml")
	if err := os.WriteFile(name, []byte(strict), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAuditOfHardened(t *testing.T) {
	built := shared.image(t)
	args := append(databases(t, "not-in-the-image"), "--policy", writePolicy(t))
	a := audit(t, built.Output, false, args...)
	wantLines(t, a.lines(), []string{openpgp + "/usr/local/bin/etcd"})
	for _, f := range a.Findings {
		if len(f.Archs) != len(built.Images) || f.VEX == nil || f.VEX.Status != "not_affected" || f.VEX.Justification != "vulnerable_code_not_present" {
			t.Errorf("%+v", f)
		}
	}
	if len(a.NotJudged) > 0 || a.Policy == nil || len(a.Policy.Breaks) > 0 {
		t.Errorf("not judged: %v; policy: %+v", a.NotJudged, a.Policy)
	}
}

// The other profiles have what strict forbids, and a package that is planted to
// be vulnerable: a deb that is there is told from one that is not.
func TestAuditOfDebianProfiles(t *testing.T) {
	for profile, broken := range map[string][]string{
		"debian-slim": {"setuid", "shell", "vulnerabilities"},
		"dev":         {"setuid", "shell", "user", "vulnerabilities"},
	} {
		t.Run(profile, func(t *testing.T) {
			dir := filepath.Join(shared.scratch(t), profile)
			shared.command(options([]string{"build", shared.profile(profile + ".yaml"), "--arch", "amd64", "-o", dir, "--output", "json"}, skipSuites)...).mustBuild(t)
			a := audit(t, dir, true, append(databases(t, "bash"), "--policy", writePolicy(t))...)
			wantLines(t, a.lines(), []string{"DEBIAN-CVE-2099-0001 package bash open", openpgp + "/usr/local/bin/etcd /usr/local/bin/etcdutl"})
			var rules []string
			for _, b := range a.Policy.Breaks {
				if !slices.Contains(rules, b.Rule) {
					rules = append(rules, b.Rule)
				}
			}
			slices.Sort(rules)
			wantLines(t, rules, broken)
		})
	}
}

// The oldest lines have what nobody has mended: it is found in the programs of
// those lines, and not in those of the newest.
func TestAuditOfBusyboxMulti(t *testing.T) {
	dir := filepath.Join(shared.scratch(t), "busybox-multi")
	multi(t, "amd64", dir, multiVersions[:8]) // those of the profile
	a := audit(t, dir, true, append(databases(t, "busybox"), "--policy", writePolicy(t))...)
	if !slices.Contains(a.lines(), "DEBIAN-CVE-2099-0001 package busybox-static open") {
		t.Errorf("busybox-static is of the source package busybox, and was not found:\n%s", strings.Join(a.lines(), "\n"))
	}
	var ids, programs []string // of what is called, and in which programs
	for _, f := range a.Findings {
		if f.Reachability == "called" {
			ids, programs = append(ids, f.ID), append(programs, f.Files...)
		}
	}
	slices.Sort(ids)
	slices.Sort(programs)
	wantLines(t, slices.Compact(ids), strings.Fields(multiCalled))
	wantLines(t, slices.Compact(programs), strings.Fields(multiAffected))
}

// multiCalled is what the programs of the lines before 3.5 call, and
// multiAffected are those programs. The records about go.etcd.io/etcd are of
// 3.4 alone: its module has a version (v0.5.0-alpha.5.0.…) that comes before
// every one in which they were mended.
const (
	multiCalled = `GO-2020-0017 GO-2020-0036 GO-2021-0061 GO-2022-0322 GO-2022-0956 GO-2023-2102 GO-2023-2153
		GO-2024-2528 GO-2024-2529 GO-2024-2530 GO-2024-2687 GO-2025-3553 GO-2025-4188
		GO-2026-4762 GO-2026-4806 GO-2026-4808 GO-2026-4918 GO-2026-5026 GO-2026-6061`
	multiAffected = `/usr/local/bin/etcd-3.0.17 /usr/local/bin/etcd-3.1.20 /usr/local/bin/etcd-3.2.32 /usr/local/bin/etcd-3.3.27 /usr/local/bin/etcd-3.4.26
		/usr/local/bin/etcdctl-3.0.17 /usr/local/bin/etcdctl-3.1.20 /usr/local/bin/etcdctl-3.2.32 /usr/local/bin/etcdctl-3.3.27 /usr/local/bin/etcdctl-3.4.26`
)

// oldNet is a golang.org/x/net whose html.Parse is too slow for some input
// (GO-2024-3333), and what three programs do with it.
const oldNet = "v0.32.0"

var netPrograms = map[string]string{
	"called":   "import (\n\t\"strings\"\n\n\t\"golang.org/x/net/html\"\n)\n\nfunc main() { _, _ = html.Parse(strings.NewReader(\"<a>\")) }\n",
	"imported": "import \"golang.org/x/net/html\"\n\nfunc main() { println(html.EscapeString(\"<\")) }\n",
	"required": "import \"golang.org/x/net/bpf\"\n\nfunc main() { println(bpf.RetA{} == bpf.RetA{}) }\n",
}

func TestAuditTellsCalledFromRequired(t *testing.T) {
	dir := shared.scratch(t)
	files := []string{include(shared, "hardened.yaml"), "contents:", "  files:"}
	for _, name := range []string{"called", "imported", "required"} {
		module := filepath.Join(dir, name+"-module")
		if err := os.MkdirAll(module, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, content := range map[string]string{
			"go.mod":  "module example.com/" + name + "\n\ngo 1.23\n\nrequire golang.org/x/net " + oldNet + "\n",
			"main.go": "package main\n\n" + netPrograms[name],
		} {
			if err := os.WriteFile(filepath.Join(module, file), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, name), ".")
		cmd.Dir = module
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOWORK=off", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("compiling %s: %v\n%s", name, err, out)
		}
		files = append(files, fmt.Sprintf("    - {source: %s, path: /usr/local/bin/%s, permissions: 0o755}", filepath.Join(dir, name), name))
	}
	image := filepath.Join(dir, "image")
	shared.command("build", writeProfile(t, files...), "--arch", "amd64", "-o", image, "--output", "json").mustBuild(t)
	a := audit(t, image, false, databases(t, "not-in-the-image")...)
	var got []string
	for _, line := range a.lines() {
		if strings.HasPrefix(line, "GO-2024-3333 ") {
			got = append(got, line)
		}
	}
	wantLines(t, got, []string{
		"GO-2024-3333 called golang.org/x/net /usr/local/bin/called open",
		"GO-2024-3333 imported golang.org/x/net /usr/local/bin/imported",
		"GO-2024-3333 required golang.org/x/net /usr/local/bin/required",
	})
}
