//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The profiles debian-slim and dev, in the container engine and against
// mmdebstrap.

var debianArchitectures = []string{"amd64", "arm64", "ppc64le", "s390x"}

// skipSuites are the omissions that mirrors of some architectures only force on
// a build. Those that serve everything have the suites left out all the same.
var skipSuites = []string{"--skip-suite", "trixie-security:ppc64el", "--skip-suite", "trixie-security:s390x"}

// buildDebian builds a profile by its path for one architecture and loads it
// into the engine. Every step but the first one of a run is a look-up.
func buildDebian(t testing.TB, e *engine, profile, arch string) string {
	t.Helper()
	archive := filepath.Join(shared.scratch(t), arch+".tar")
	tag := unique("etcdimg-e2e") + ":" + arch
	args := options([]string{"build", profile, "--arch", arch, "--tag", tag, "-o", archive, "--output", "json"}, skipSuites)
	shared.command(args...).mustBuild(t)
	return e.load(t, archive, tag)
}

// mirror returns the base URL at which this machine has a named archive: what
// ETCDIMG_DEBIAN_MIRROR says, or one that the host's apt uses.
func (l *lab) mirror(t testing.TB, archive string) string {
	t.Helper()
	if base := strings.TrimRight(os.Getenv("ETCDIMG_DEBIAN_MIRROR"), "/"); base != "" {
		return strings.TrimSuffix(base, "/debian") + "/" + archive
	}
	out, err := output(t.Context(), "apt-get", "update", "--print-uris")
	for uri := range strings.FieldsSeq(strings.ReplaceAll(out, "'", " ")) {
		if base, _, ok := strings.Cut(uri, "/dists/"); ok && path.Base(base) == archive {
			return base
		}
	}
	l.cannotRun(t, "no mirror of %s is known: set ETCDIMG_DEBIAN_MIRROR (%v)", archive, err)
	return ""
}

// patiently runs a program that may take long under emulation, and may hang
// there. Its output is for the error only.
func patiently(t testing.TB, limit time.Duration, environ []string, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), environ...)
	cmd.WaitDelay = 10 * time.Second
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s, after %s: %v\n%s", filepath.Base(name), time.Since(start).Round(time.Second), err, tail(string(out), 30))
	}
	t.Logf("%s: %s", filepath.Base(name), time.Since(start).Round(10*time.Millisecond))
}

// shell runs a script in a new container of an image and returns what it
// printed.
func (e *engine) shell(t testing.TB, options []string, image, script string) string {
	t.Helper()
	line := append([]string{"run", "--rm", "--env", "DEBIAN_FRONTEND=noninteractive"}, options...)
	return e.do(t, append(line, image, "bash", "-euo", "pipefail", "-c", script)...)
}

// has checks that a text has every one of the parts.
func has(t testing.TB, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s lacks %q:\n%s", what, p, tail(text, 40))
		}
	}
}

// writeProfile writes a profile of the test's own.
func writeProfile(t testing.TB, lines ...string) string {
	t.Helper()
	name := filepath.Join(shared.scratch(t), "profile.yaml")
	if err := os.WriteFile(name, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func debianName(goarch string) string {
	if goarch == "ppc64le" {
		return "ppc64el"
	}
	return goarch
}

func include(l *lab, name string) string { return fmt.Sprintf("include: %s", l.profile(name)) }
