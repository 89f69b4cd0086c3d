//go:build e2e

package ci

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
	"github.com/etcdimg/etcdimg/pkg/registry/registrytest"
)

// lab is a checkout with one profile, and everything around it that a CI system
// has.
type lab struct {
	*testing.T
	repo     string // the checkout under test
	dir      string
	checkout string // the one in which lines run
	registry *registrytest.Registry
	environ  map[string]string
}

// archs are those of the profile.
var archs = []string{"amd64", "arm64"}

func newLab(t *testing.T) *lab {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l := &lab{T: t, repo: filepath.Join(here, "..", "..", ".."), dir: dir, checkout: filepath.Join(dir, "checkout"), registry: registrytest.New(t)}
	for _, name := range []string{"bin", "home", "docker", "temp", "artifacts"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	proxy := filepath.Join(dir, "go")
	environ, err := etcdtest.Proxy(proxy, "3.6.99", "3.6.98")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { etcdtest.RemoveAll(proxy) })
	mirror := debiantest.NewMirror(time.Now())
	mirror.AddHardened()
	mirror.Write(t, filepath.Join(dir, "mirror"))
	l.environ = map[string]string{
		"PATH": filepath.Join(dir, "bin") + ":" + os.Getenv("PATH"), "HOME": filepath.Join(dir, "home"), "DOCKER_CONFIG": filepath.Join(dir, "docker"),
		"ETCDIMG_DEBIAN_MIRROR": "file://" + filepath.Join(dir, "mirror"), "ETCDIMG_DEBIAN_SNAPSHOT": "none",
		"COSIGN_PASSWORD": "secret", "RUNNER_TEMP": filepath.Join(dir, "temp"), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
		"LAB": dir, "ETCDIMG_CACHE": filepath.Join(dir, "cache"),
	}
	for _, kv := range environ {
		key, value, _ := strings.Cut(kv, "=")
		l.environ[key] = value
	}
	l.compile("etcdimg", "./cmd/etcdimg")
	l.copyCheckout()
	l.write("checkout/configs/archive.key", string(mirror.Key.Public()))
	l.write("checkout/configs/hardened.yaml", strings.Replace(l.read("checkout/configs/hardened.yaml"), "versions: [3.6.16]", "versions: [3.6.99]\n  toolchain: "+etcdtest.Toolchain(), 1)+
		"\nmigrate: false\narchs: ["+strings.Join(archs, ", ")+"]\n")
	l.write("checkout/configs/hardened.yaml", strings.Replace(l.read("checkout/configs/hardened.yaml"), "contents:\n", "contents:\n  keyring: [archive.key]\n", 1))
	l.stubs()
	l.sh("git init -q -b main . && git add -A && git -c user.name=t -c user.email=t@example.org commit -qm first && git init -q --bare ../origin && git remote add origin ../origin && git push -q origin main && etcdimg keygen", nil)
	return l
}

// compile compiles a program of the checkout under test. The linker is all that
// works when it was compiled before.
func (l *lab) compile(name, pkg string) {
	l.Helper()
	build := exec.Command("go", "build", "-ldflags=-w", "-o", filepath.Join(l.dir, name), pkg)
	build.Dir = l.repo
	if out, err := build.CombinedOutput(); err != nil {
		l.Fatalf("compiling %s: %v\n%s", pkg, err, out)
	}
}

// copyCheckout copies what lines need of the checkout under test, as it is on
// the disk, with one profile.
func (l *lab) copyCheckout() {
	l.Helper()
	list := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "hack", ".github", "action.yml", "Makefile", "go.mod", "configs/base.yaml", "configs/hardened.yaml", "configs/nsswitch.conf", "docs/ci")
	list.Dir = l.repo
	out, err := list.Output()
	if err != nil {
		l.Fatal(err)
	}
	for _, name := range strings.Fields(string(out)) {
		b, err := os.ReadFile(filepath.Join(l.repo, name))
		if err != nil {
			l.Fatal(err)
		}
		l.write("checkout/"+name, string(b))
		if st, err := os.Stat(filepath.Join(l.repo, name)); err == nil && st.Mode()&0o111 != 0 {
			if err := os.Chmod(filepath.Join(l.checkout, name), 0o755); err != nil {
				l.Fatal(err)
			}
		}
	}
}

func (l *lab) write(name, content string) {
	l.Helper()
	file := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		l.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) read(name string) string {
	l.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, name))
	if err != nil {
		l.Fatal(err)
	}
	return string(b)
}

// program puts a program on the PATH of lines.
func (l *lab) program(name, script string) {
	l.Helper()
	l.write("bin/"+name, script)
	if err := os.Chmod(filepath.Join(l.dir, "bin", name), 0o755); err != nil {
		l.Fatal(err)
	}
}

// wrapper is etcdimg, or the program that makes releases, where nobody gives out
// certificates: what would sign or trust by identity does so by key, and the
// registry, which is on this machine, may speak plain HTTP.
const wrapper = `#!/usr/bin/env bash
set -euo pipefail
echo "%[1]s $*" >> "$LAB/said"
args=()
while [ $# -gt 0 ]; do
  case $1 in
  --fulcio-url) args+=(--key "$LAB/checkout/cosign.key"); shift 2 ;;
  --certificate-identity-regexp) args+=(--key "$LAB/checkout/cosign.pub"); shift 2 ;;
  --identity-token | --trusted-root) test -s "$2"; shift 2 ;;
  --rekor-url | --timestamp-url | --certificate-oidc-issuer) test -n "$2"; shift 2 ;;
  *) args+=("$1"); shift ;;
  esac
done
case ${args[0]} in
publish | index | verify | rebuild | inspect | sign) args+=(--insecure) ;;
esac
exec "$LAB/%[1]s" "${args[@]}"
`

// stubs are the programs that stand in for others.
func (l *lab) stubs() {
	l.Helper()
	l.program("etcdimg", fmt.Sprintf(wrapper, "etcdimg"))
	// make compiles, lints and releases in the checkout under test, in tests of
	// their own; here the target has to be there, and etcdimg is the wrapper.
	l.program("make", `#!/usr/bin/env bash
set -euo pipefail
echo "make $*" >> "$LAB/said"
PATH=${PATH#"$LAB/bin:"} make --dry-run "$@" > /dev/null
if [ "$1" = etcdimg ]; then mkdir -p bin && cp "$LAB/bin/etcdimg" bin/etcdimg; fi
`)
	l.program("sudo", "#!/bin/sh\necho \"sudo $*\" >> \"$LAB/said\"\n")
	l.program("gh", `#!/usr/bin/env bash
set -euo pipefail
echo "gh $*" >> "$LAB/said"
case "$1 $2" in
"attestation trusted-root") printf '%s\n' '{"certificateAuthorities":[{"uri":"https://fulcio.githubapp.com"}]}' '{"certificateAuthorities":[{"uri":"https://fulcio.sigstore.dev"}]}' ;;
"pr list") cat "$LAB/open" 2>/dev/null || true ;;
"pr create" | "pr edit") test -s "${@: -1}" ;;
"release create") test -e "${@: -1}" ;;
*) exit 1 ;;
esac
`)
	// The image that is tried is a real one, elsewhere: here, an archive is.
	l.write("checkout/hack/smoke", "#!/bin/sh\nset -eu\necho \"smoke $*\" >> \"$LAB/said\"\ntar -tf \"$1\" manifest.json > /dev/null\ntest -n \"$2\"\n")
	if exec.Command("docker", "info").Run() != nil {
		l.program("docker", "#!/bin/sh\nset -eu\ntest \"$1\" = login\nshift\nexec podman login --tls-verify=false \"$@\"\n")
	}
}

// said is what the stand-ins were told, a line each.
func (l *lab) said() string { return l.read("said") }

// sh runs a line as GitHub's runner does, in the checkout, with more variables.
func (l *lab) sh(line string, env map[string]string) string {
	l.Helper()
	out, err := l.try(line, env)
	if err != nil {
		l.Fatalf("%s\n%v\n%s", line, err, out)
	}
	return out
}

func (l *lab) try(line string, env map[string]string) (string, error) {
	ctx, cancel := context.WithTimeout(l.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", line)
	cmd.Dir = l.checkout
	for _, from := range []map[string]string{l.environ, env} {
		for key, value := range from {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	return out.String(), err
}
