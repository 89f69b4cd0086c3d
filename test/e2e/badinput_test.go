//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What can go wrong around a build, as opposed to within a profile, and what
// the command says then.

func TestNoNetworkAndNothingCached(t *testing.T) {
	dir := shared.scratch(t)
	c := shared.command("build", shared.profile("hardened.yaml"), "-o", filepath.Join(dir, "out")).
		with("ETCDIMG_CACHE", filepath.Join(dir, "cache")).
		with("GOMODCACHE", filepath.Join(dir, "mod")).
		with("GOCACHE", filepath.Join(dir, "go-build"))
	offline(t, c)
	said := c.mustFail(t)
	if strings.TrimSpace(said) == "" {
		t.Error("it fails without a word")
	}
	t.Logf("said: %s", tail(said, 5))
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Error("there is an output")
	}
}

func TestVersionThatDoesNotExist(t *testing.T) {
	dir := shared.scratch(t)
	profile := filepath.Join(dir, "future.yaml")
	text := "include: " + shared.profile("hardened.yaml") + "\netcd: {versions: [3.6.9999]}\n"
	if err := os.WriteFile(profile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if said := shared.command("build", profile, "-o", filepath.Join(dir, "out")).mustFail(t); !strings.Contains(said, "3.6.9999") {
		t.Errorf("the error does not name the version:\n%s", said)
	}
	leftovers(t, dir, "future.yaml")
}

func TestOutputThatCanNotBeWritten(t *testing.T) {
	shared.image(t)
	dir := shared.scratch(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{filepath.Join(file, "out"), file, dir} {
		said := shared.command("build", shared.profile("hardened.yaml"), "-o", out).mustFail(t)
		if !strings.Contains(said, out) {
			t.Errorf("the error does not name %s:\n%s", out, said)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("a file that was in the way now has %q (%v)", b, err)
	}
	leftovers(t, dir, "file")
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{"build"},
		{"build", "--no-such-flag", shared.profile("hardened.yaml")},
		{"build", shared.profile("hardened.yaml"), "--arch", "pdp11"},
		{"build", shared.profile("hardened.yaml"), "--output", "xml"},
		{"no-such-command"},
	} {
		stdout, stderr, err := shared.command(args...).run(t.Context())
		if exit, ok := unwrapExit(err); !ok || exit.ExitCode() != 2 {
			t.Errorf("%v: want exit status 2: %v", args, err)
		}
		if stdout != "" || stderr == "" {
			t.Errorf("%v: printed %q, and to standard error %q", args, stdout, stderr)
		}
	}
}
