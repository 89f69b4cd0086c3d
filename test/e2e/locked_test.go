//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// gone is what etcdimg says of a package that is nowhere to be had.
const gone = "no source has it"

// locked fetches what the checkout's lock of a profile pins, and returns a copy
// of the profile with its lock, and the architectures for which everything is
// in the shared cache. Where neither the archive nor a snapshot has the pinned
// packages any more, the copy is locked afresh. An archive that lags behind its
// own index for an architecture is told as a test that was not run.
func (l *lab) locked(t *testing.T, name string) (profile string, archs []string) {
	t.Helper()
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
		l.lags(t, "rest", fmt.Sprintf("the archive has %s for %v only", name, archs))
	}
	return profile, archs
}

// served are those of some architectures for which the archive has the packages
// that its own signed index names. The others are told as tests not run.
func (l *lab) served(t *testing.T, archs ...string) []string {
	t.Helper()
	var have []string
	for _, arch := range archs {
		args := []string{"lock", writeProfile(t, include(l, "dev.yaml"), "archs: ["+arch+"]")}
		if slices.Contains(skipSuites, "trixie-security:"+debianName(arch)) {
			args = append(args, "--skip-suite", "trixie-security:"+debianName(arch))
		}
		_, said, err := l.command(args...).run(t.Context())
		switch {
		case err == nil:
			have = append(have, arch)
		case strings.Contains(said, gone):
			l.lags(t, arch, "the archive lacks packages that its index names")
		default:
			t.Fatal(err)
		}
	}
	return have
}

// lags leaves a part of a test out because an archive lags behind its own index.
// It is remembered as by cannotRun, but is no failure: nobody here can mend it.
func (l *lab) lags(t *testing.T, part, why string) {
	t.Helper()
	t.Run(part, func(t *testing.T) {
		l.mu.Lock()
		l.notRun = append(l.notRun, t.Name()+": "+why)
		l.mu.Unlock()
		t.Skip("NOT RUN: " + why)
	})
}
