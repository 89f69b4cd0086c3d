//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// Whatever happens to a build or to its cache, no later build gives a wrong
// image. All tests here have caches of their own; the Go build cache is the
// shared one, so that compiling again is mostly linking.

// amd64 is a build of the hardened image for one architecture.
func amd64(cache, out string) *command {
	return shared.command("build", shared.profile("hardened.yaml"), "--arch", "amd64", "-o", out, "--output", "json", "-v").with("ETCDIMG_CACHE", cache)
}

// expected returns the digest of the amd64 image.
func expected(t *testing.T) string {
	t.Helper()
	image, ok := shared.image(t).image("amd64")
	if !ok {
		t.Fatal("the hardened image has no amd64")
	}
	return image.Digest
}

// check checks that a build gave the right image, and that all of it is there.
func check(t *testing.T, r *result) {
	t.Helper()
	if image, _ := r.image("amd64"); image.Digest != expected(t) {
		t.Errorf("image %s, want %s", image.Digest, expected(t))
	}
	index, _, err := openLayout(r.Output)
	if err == nil {
		err = validate.Index(index)
	}
	if err != nil {
		t.Errorf("%s: %v", r.Output, err)
	}
}

func TestConcurrentBuilds(t *testing.T) {
	expected(t)
	dir := shared.scratch(t)
	cache := filepath.Join(dir, "cache")
	const builders = 4
	results, failures := make([]*result, builders), make([]error, builders)
	var wg sync.WaitGroup
	for i := range builders {
		// Two and two write to the same place.
		out := filepath.Join(dir, fmt.Sprint("out", i/2))
		wg.Go(func() { results[i], failures[i] = amd64(cache, out).build(t.Context()) })
	}
	wg.Wait()
	for i, r := range results {
		if failures[i] != nil {
			t.Errorf("builder %d: %v", i, failures[i])
			continue
		}
		check(t, r)
	}
}

// A build is killed at one moment after another, from its first steps to its
// last; the one after that is whole.
func TestKilledBuild(t *testing.T) {
	expected(t)
	dir := shared.scratch(t)
	cache, out := filepath.Join(dir, "cache"), filepath.Join(dir, "out")
	killed := 0
	for after := 100 * time.Millisecond; ; after = after * 3 / 2 {
		var stdout, stderr bytes.Buffer
		c, err := amd64(cache, out).start(&stdout, &stderr)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		if err := c.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		// What it had started has nobody to answer to any more.
		if err := killSession(c.Process.Pid); err != nil {
			t.Fatal(err)
		}
		err = c.Wait()
		if err == nil {
			t.Logf("killed %d builds; the next was done within %s", killed, after)
			break
		}
		if exit, ok := unwrapExit(err); !ok || !exit.Sys().(syscall.WaitStatus).Signaled() {
			t.Fatalf("the build after %d killed ones: %v\n%s", killed, err, tail(stderr.String(), 40))
		}
		if killed++; killed > 40 {
			t.Fatal("no build comes to its end")
		}
		if _, _, err := openLayout(out); err == nil {
			// It was killed after its output was in place, which is then whole.
			index, _, _ := openLayout(out)
			if err := validate.Index(index); err != nil {
				t.Errorf("a killed build left an unfinished output: %v", err)
			}
		}
	}
	if killed == 0 {
		t.Fatal("no build was killed")
	}
	check(t, amd64(cache, out).mustBuild(t))
	leftovers(t, dir, "cache", "out")
}

// leftovers reports what is in dir beside what is expected there, such as a
// temporary directory that nobody removed.
func leftovers(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		known := false
		for _, w := range want {
			known = known || e.Name() == w
		}
		if !known {
			t.Errorf("%s was left behind", filepath.Join(dir, e.Name()))
		}
	}
}

// Every blob in the cache has one bit changed, one after another and then all
// at once. The outputs may be hard links to the cache: they are damaged along
// with it, and have to be whole again after the next build.
func TestDamagedCache(t *testing.T) {
	expected(t)
	dir := shared.scratch(t)
	cache, out := filepath.Join(dir, "cache"), filepath.Join(dir, "out")
	check(t, amd64(cache, out).mustBuild(t))
	names := blobs(t, filepath.Join(cache, "blobs"))
	if len(names) == 0 {
		t.Fatal("no blobs in the cache")
	}
	const tried = 64 << 10 // smaller ones come all at once
	for name, info := range names {
		if info.Size() < tried {
			continue
		}
		flip(t, filepath.Join(cache, "blobs", name), info.Size()/2)
		r, err := amd64(cache, out).build(t.Context())
		if err != nil {
			t.Fatalf("with damage to %s of %d bytes: %v", name, info.Size(), err)
		}
		check(t, r)
	}
	for name, info := range blobs(t, filepath.Join(cache, "blobs")) {
		flip(t, filepath.Join(cache, "blobs", name), info.Size()/2)
	}
	check(t, amd64(cache, out).mustBuild(t))
	// Records are JSON: cut short, or foreign.
	records := blobs(t, filepath.Join(cache, "records"))
	if len(records) == 0 {
		t.Fatal("no records in the cache")
	}
	for name := range records {
		if err := os.Truncate(filepath.Join(cache, "records", name), 7); err != nil {
			t.Fatal(err)
		}
	}
	check(t, amd64(cache, out).mustBuild(t))
}

// flip changes one bit of a file, in place.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return // dropped as damaged in an earlier round
		}
		t.Fatal(err)
	}
	if info.Size() == 0 {
		return
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// smallDisk mounts a file system of the given size.
func smallDisk(t *testing.T, dir string, megabytes int) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", megabytes)); err != nil {
		shared.cannotRun(t, "no small file system can be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
}

func TestFullDisk(t *testing.T) {
	expected(t)
	t.Run("under the cache", func(t *testing.T) {
		for _, megabytes := range []int{1, 10, 30, 36} {
			dir := shared.scratch(t)
			cache, out := filepath.Join(dir, "cache"), filepath.Join(dir, "out")
			smallDisk(t, cache, megabytes)
			if said := amd64(cache, out).mustFail(t); !strings.Contains(said, "no space left on device") {
				t.Errorf("%d MB: the error does not say why:\n%s", megabytes, tail(said, 10))
			}
			leftovers(t, dir, "cache")
		}
	})

	t.Run("under the output", func(t *testing.T) {
		for _, name := range []string{"layout", "archive.tar"} {
			disk := filepath.Join(shared.scratch(t), "disk")
			smallDisk(t, disk, 3)
			if said := amd64(shared.cache, filepath.Join(disk, name)).mustFail(t); !strings.Contains(said, "no space left on device") {
				t.Errorf("%s: the error does not say why:\n%s", name, tail(said, 10))
			}
			leftovers(t, disk)
		}
	})
}

// A failed build leaves the old output as it was.
func TestFailureKeepsTheOldOutput(t *testing.T) {
	expected(t)
	dir := shared.scratch(t)
	out := filepath.Join(dir, "out")
	check(t, amd64(shared.cache, out).mustBuild(t))
	broken := filepath.Join(dir, "broken.yaml")
	text := "include: " + shared.profile("hardened.yaml") + "\ncontents: {packages: [ca-certificates, tzdata, no-such-package-as-this]}\n"
	if err := os.WriteFile(broken, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if said := shared.command("build", broken, "-o", out).mustFail(t); !strings.Contains(said, "no-such-package-as-this") {
		t.Errorf("the error does not name the package:\n%s", said)
	}
	index, _, err := openLayout(out)
	if err == nil {
		err = validate.Index(index)
	}
	if err != nil {
		t.Errorf("the old output: %v", err)
	}
	leftovers(t, dir, "out", "broken.yaml")
}

// Ctrl-C while compilers run: they end, at once, the cache is whole, and the
// next build goes on.
func TestInterrupt(t *testing.T) {
	expected(t)
	dir := shared.scratch(t)
	cache, out := filepath.Join(dir, "cache"), filepath.Join(dir, "out")
	var stdout, stderr bytes.Buffer
	// A cold build cache, so that there is something to interrupt.
	c, err := amd64(cache, out).with("GOCACHE", filepath.Join(dir, "go-build")).start(&stdout, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := killSession(c.Process.Pid); err != nil {
			t.Error(err)
		}
	})
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	waitForCompiler(t, c, done)
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err = <-done:
	case <-time.After(time.Minute):
		t.Fatal("a minute after the interrupt it still runs")
	}
	if exit, ok := unwrapExit(err); !ok || exit.ExitCode() != 1 {
		t.Errorf("want exit status 1: %v\n%s", err, tail(stderr.String(), 20))
	}
	left, err := sessionProcesses(c.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
	if stdout.Len() > 0 {
		t.Errorf("an interrupted build printed a result: %s", stdout.String())
	}
	leftovers(t, dir, "cache", "go-build")
	check(t, amd64(cache, out).mustBuild(t))
}

// waitForCompiler returns when a compiler runs on behalf of the build.
func waitForCompiler(t *testing.T, c *exec.Cmd, done <-chan error) {
	t.Helper()
	eventually(t, 5*time.Minute, "compiler", func() error {
		select {
		case err := <-done:
			t.Fatalf("the build was done before a compiler was seen: %v", err)
		default:
		}
		running, err := sessionProcesses(c.Process.Pid)
		if err != nil {
			return err
		}
		for _, p := range running {
			if p.name == "compile" || p.name == "link" {
				return nil
			}
		}
		return fmt.Errorf("only %v run", running)
	})
}
