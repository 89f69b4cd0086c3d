//go:build e2e

package release

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const version = "v0.0.1-test"

// bench is a folder with a key and a program that makes releases.
type bench struct {
	*testing.T
	repo, dir string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t, filepath.Join(here, "..", "..", ".."), t.TempDir()}
	t.Setenv("PATH", filepath.Join(b.repo, ".cache", "tools")+":"+os.Getenv("PATH"))
	b.run(b.repo, nil, "go", "build", "-ldflags=-w", "-o", filepath.Join(b.dir, "release"), "./hack/release")
	b.run(b.repo, nil, "go", "build", "-ldflags=-w", "-o", filepath.Join(b.dir, "etcdimg"), "./cmd/etcdimg")
	b.run(b.dir, map[string]string{"COSIGN_PASSWORD": "secret"}, filepath.Join(b.dir, "etcdimg"), "keygen")
	return b
}

func (b *bench) run(dir string, env map[string]string, argv ...string) string {
	b.Helper()
	out, err := b.try(dir, env, argv...)
	if err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

func (b *bench) try(dir string, env map[string]string, argv ...string) (string, error) {
	cmd := exec.CommandContext(b.Context(), argv[0], argv[1:]...)
	cmd.Dir = dir
	for _, kv := range os.Environ() {
		if key, _, _ := strings.Cut(kv, "="); env[key] == "" {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	for key, value := range env {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Two releases of one commit, made in other folders, with another umask, time
// zone and module cache, are the same to the last byte; and what is said about
// them holds. ETCDIMG_ALL makes all platforms, the second time with an empty
// build cache.
func TestReleases(t *testing.T) {
	b := newBench(t)
	platforms := []string{"linux/" + runtime.GOARCH}
	other := map[string]string{"TZ": "Pacific/Chatham", "COSIGN_PASSWORD": "secret", "GOFLAGS": "-p=1", "GOAMD64": "v3", "LANG": "tr_TR.UTF-8"}
	if os.Getenv("ETCDIMG_ALL") != "" {
		platforms = []string{"linux/amd64", "linux/arm64", "linux/ppc64le", "linux/s390x", "darwin/amd64", "darwin/arm64"}
		other["GOCACHE"] = filepath.Join(b.dir, "gocache")
	}
	args := []string{"--version", version, "--platforms", strings.Join(platforms, ","), "--key", filepath.Join(b.dir, "cosign.key")}
	one, two := filepath.Join(b.dir, "one"), filepath.Join(b.dir, "elsewhere", "two")
	b.run(b.repo, map[string]string{"COSIGN_PASSWORD": "secret"}, append([]string{filepath.Join(b.dir, "release"), "--out", one}, args...)...)
	clone := filepath.Join(b.dir, "a clone")
	b.run(b.dir, nil, "git", "clone", "-q", "--no-hardlinks", b.repo, clone)
	b.run(clone, other, append([]string{"sh", "-c", `umask 077 && exec "$@"`, "sh", filepath.Join(b.dir, "release"), "--out", two}, args...)...)

	files := b.files(one)
	if got := b.files(two); !slices.Equal(slices.Sorted(maps.Keys(files)), slices.Sorted(maps.Keys(got))) {
		t.Fatalf("files are %v and %v", slices.Sorted(maps.Keys(files)), slices.Sorted(maps.Keys(got)))
	} else {
		for name, content := range files {
			// ECDSA signatures differ with every signing.
			if signature := strings.HasSuffix(name, ".sig") || strings.HasSuffix(name, ".sigstore.json"); !signature && content != got[name] {
				t.Errorf("%s differs from one making to the other", name)
			}
		}
	}
	for _, p := range platforms {
		b.binary(one, p)
	}
	if out := b.run(one, nil, "./etcdimg-linux-"+runtime.GOARCH, "version"); !strings.HasPrefix(out, "etcdimg "+version+" ") {
		t.Errorf("it says that it is %s", out)
	}
	b.documented(one, "etcdimg-linux-"+runtime.GOARCH)
}

func (b *bench) files(dir string) map[string]string {
	b.Helper()
	found, err := os.ReadDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range found {
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			b.Fatal(err)
		}
		files[f.Name()] = string(content)
	}
	return files
}

// binary holds an SBOM against the modules that the binary says it has.
func (b *bench) binary(dir, platform string) {
	b.Helper()
	name := "etcdimg-" + strings.ReplaceAll(platform, "/", "-")
	info, err := buildinfo.ReadFile(filepath.Join(dir, name))
	if err != nil {
		b.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, name+".spdx.json"))
	if err != nil {
		b.Fatal(err)
	}
	var document struct {
		Packages []struct {
			Name            string `json:"name"`
			VersionInfo     string `json:"versionInfo"`
			LicenseDeclared string `json:"licenseDeclared"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(content, &document); err != nil {
		b.Fatal(err)
	}
	licences := map[string]string{}
	for _, p := range document.Packages {
		licences[p.Name+"@"+p.VersionInfo] = p.LicenseDeclared
	}
	unknown := 0
	for _, m := range info.Deps {
		licence, ok := licences[m.Path+"@"+m.Version]
		if !ok {
			b.Errorf("%s: the SBOM lacks %s %s", name, m.Path, m.Version)
		}
		if licence == "" || licence == "NOASSERTION" {
			unknown++
			b.Logf("%s: the licence of %s %s is not known", name, m.Path, m.Version)
		}
	}
	if len(info.Deps) < 100 || unknown*20 > len(info.Deps) {
		b.Errorf("%s: of %d modules, %d are without a licence", name, len(info.Deps), unknown)
	}
}

// documented runs the lines of docs/release.md that verify, in the release.
func (b *bench) documented(dir, binary string) {
	b.Helper()
	page, err := os.ReadFile(filepath.Join(b.repo, "docs", "release.md"))
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cosign.pub"), []byte(b.key()), 0o644); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "trusted_root.json"), []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`), 0o644); err != nil {
		b.Fatal(err)
	}
	ran := 0
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		program, _, _ := strings.Cut(line, " ")
		if program != "cosign" && program != "sha256sum" {
			continue
		}
		if program == "cosign" {
			if _, err := exec.LookPath("cosign"); err != nil {
				if os.Getenv("ETCDIMG_E2E_STRICT") != "" {
					b.Fatal("cosign is not installed; hack/test-tools does it")
				}
				fmt.Printf("*** NOT RUN: %s: cosign is not installed; hack/test-tools does it\n", b.Name())
				continue
			}
		}
		ran++
		argv := strings.Fields(strings.ReplaceAll(line, "etcdimg-linux-amd64", binary))
		if i := slices.Index(argv, "--new-bundle-format"); i > 0 {
			// Without one, cosign asks sigstore's servers.
			argv = slices.Insert(argv, i, "--trusted-root", "trusted_root.json")
		}
		b.run(dir, nil, argv...)
		if program == "cosign" {
			// Of another file it does not hold.
			last := argv[len(argv)-1]
			argv[len(argv)-1] = "cosign.pub"
			if out, err := b.try(dir, nil, argv...); err == nil {
				b.Errorf("%s holds for another file than %s: %s", line, last, out)
			}
		}
	}
	if ran == 0 {
		b.Error("docs/release.md has no line that verifies")
	}
}

func (b *bench) key() string {
	b.Helper()
	key, err := os.ReadFile(filepath.Join(b.dir, "cosign.pub"))
	if err != nil {
		b.Fatal(err)
	}
	return string(key)
}
