//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copyConfigs copies a folder of profiles, with their locks or without.
func copyConfigs(from, to string, locks bool) error {
	files, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !locks && strings.HasSuffix(f.Name(), ".lock.json") {
			continue
		}
		if err := copyFile(filepath.Join(from, f.Name()), filepath.Join(to, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// locked fetches what the checkout's lock of a profile pins, and returns a copy
// of the profile with its lock, and the architectures for which everything is
// in the shared cache. Where neither the archive nor a snapshot has the pinned
// packages any more, the copy is locked afresh. An archive that lags behind its
// own index for an architecture is told as a test that was not run.
func (l *lab) locked(t *testing.T, name string) (profile string, archs []string) {
	t.Helper()
	const gone = "no source has it"
	dir := filepath.Join(l.scratch(t), "configs")
	if err := copyConfigs(filepath.Join(l.repo, "configs"), dir, true); err != nil {
		t.Fatal(err)
	}
	profile = filepath.Join(dir, name)
	fetch := func() (complete bool) {
		archs, complete = nil, true
		for _, arch := range debianArchitectures {
			_, said, err := l.command("fetch", profile, "--locked", "--arch", arch).run(t.Context())
			switch {
			case err == nil:
				archs = append(archs, arch)
			case strings.Contains(said, gone):
				complete = false
			default:
				t.Fatal(err)
			}
		}
		return complete
	}
	if fetch() {
		return profile, archs
	}
	t.Logf("some of what configs/%s pins is not to be had: locking a copy afresh", name)
	args := options([]string{"lock", profile, "--update", "debian", "--allow-missing"}, skipSuites)
	if _, _, err := l.command(args...).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !fetch() {
		l.left(t, "the archive has %s for %v only", name, archs)
	}
	return profile, archs
}

// left remembers a part of a test for which this machine, or what it reaches,
// is not fit, as cannotRun does, and lets the rest of the test run.
func (l *lab) left(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Run("rest", func(t *testing.T) { l.cannotRun(t, format, args...) })
}
