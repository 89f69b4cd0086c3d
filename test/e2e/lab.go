//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// lab is what all tests of one run share: the command under test, one cache,
// one real build of the hardened image, and the list of what could not be run.
type lab struct {
	repo  string // the checkout
	root  string // scratch directory; other users may pass through it
	bin   string // the etcdimg command, compiled once
	cache string // ETCDIMG_CACHE of every build that asks for no other

	profiles string // a copy of the checkout's configs, without locks

	hardened func() (*result, error) // the four-architecture image, built once

	mu     sync.Mutex
	notRun []string
	undo   []func()
}

// newLab compiles the command under test and prepares the scratch directory.
func newLab(ctx context.Context) (*lab, error) {
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	l := &lab{repo: filepath.Dir(filepath.Dir(here))}
	// Tools that were built rather than installed.
	if err := os.Setenv("PATH", os.Getenv("PATH")+string(filepath.ListSeparator)+filepath.Join(l.repo, ".cache", "tools")); err != nil {
		return nil, err
	}
	if l.root, err = os.MkdirTemp("", "etcdimg-e2e-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(l.root, 0o755); err != nil {
		return nil, err
	}
	l.bin = filepath.Join(l.root, "etcdimg")
	l.cache = filepath.Join(l.root, "cache")
	l.profiles = filepath.Join(l.root, "configs")
	if err := copyConfigs(filepath.Join(l.repo, "configs"), l.profiles, false); err != nil {
		return nil, errors.Join(err, l.close())
	}
	compile := exec.CommandContext(ctx, "go", "build", "-o", l.bin, "./cmd/etcdimg")
	compile.Dir = l.repo
	if out, err := compile.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("compiling etcdimg: %w\n%s", err, out), l.close())
	}
	l.hardened = sync.OnceValues(func() (*result, error) {
		start := time.Now()
		r, err := l.command("build", l.profile("hardened.yaml"), "-o", filepath.Join(l.root, "hardened"), "--output", "json").build(ctx)
		fmt.Printf("built the hardened image for four architectures in %s\n", time.Since(start).Round(time.Second))
		return r, err
	})
	return l, nil
}

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

// copyFile copies a regular file with its mode. Directories are made as needed.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return nil
}

// close undoes what the tests did to the machine.
func (l *lab) close() error {
	for _, f := range slices.Backward(l.undo) {
		f()
	}
	return errors.Join(makeWritable(l.root), os.RemoveAll(l.root))
}

// atEnd has f run when all tests are done.
func (l *lab) atEnd(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undo = append(l.undo, f)
}

// cannotRun ends a test that this machine is not fit for, and remembers it.
// Nothing is left out without a word: the list is printed when all is done.
func (l *lab) cannotRun(t testing.TB, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	if os.Getenv("ETCDIMG_E2E_STRICT") != "" {
		t.Fatalf("can not be run here, and ETCDIMG_E2E_STRICT is set: %s", why)
	}
	l.mu.Lock()
	l.notRun = append(l.notRun, t.Name()+": "+why)
	l.mu.Unlock()
	t.Skip("NOT RUN: " + why)
}

// tool returns the path of a program that the test needs.
func (l *lab) tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		l.cannotRun(t, "%s is not installed; hack/test-tools does it for root on Debian", name)
	}
	return path
}

// profile returns the path of a profile, of which there is no lock: an archive
// does not keep for ever what the checkout's locks pin, so most tests build from
// what it offers now. Those about locks begin with locked.
func (l *lab) profile(name string) string { return filepath.Join(l.profiles, name) }

// image returns the one real build of the hardened image.
func (l *lab) image(t testing.TB) *result {
	t.Helper()
	r, err := l.hardened()
	if err != nil {
		t.Fatalf("building the hardened image: %v", err)
	}
	return r
}

// scratch makes a directory for one test, beneath one that every user may
// enter: unlike t.TempDir, which is private to the user who runs the tests.
func (l *lab) scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(l.root, "test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(makeWritable(dir), os.RemoveAll(dir)); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
	return dir
}

// makeWritable lets everything beneath dir be removed: module caches are
// read-only, and unpacked images have directories that are closed to others.
func makeWritable(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return nil
	})
}

// unique returns a name that no other run uses.
func unique(prefix string) string {
	var b [5]byte
	rand.Read(b[:])
	return prefix + "-" + hex.EncodeToString(b[:])
}

// run runs a program to its end and returns what it printed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := output(t.Context(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// output runs a program, with a limit of ten minutes, and returns its
// standard output. An error has the command line and the standard error.
func output(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// eventually calls f until it succeeds, and fails the test with its last error
// when that has not happened within limit.
func eventually(t testing.TB, limit time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
