package cache_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/cache"
)

func TestManyProcessesPutTheSame(t *testing.T) {
	dir := t.TempDir()
	var running []*exec.Cmd
	for range 4 {
		cmd := childCommand(t, "put", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Errorf("process %d: %v", cmd.Process.Pid, err)
		}
	}
	if files := filesBelow(t, filepath.Join(dir, "blobs")); len(files) != 5 {
		t.Errorf("%d files for five blobs: %v", len(files), files)
	}
}

func TestAKilledProcessLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	hanging := startChild(t, "hang", dir)
	alive := startChild(t, "hang", dir)
	if got := len(temporaries(t, dir)); got != 2 {
		t.Fatalf("%d temporary directories, want one of each process", got)
	}
	kill(t, hanging)
	openCache(t, dir)
	if got := len(temporaries(t, dir)); got != 1 {
		t.Errorf("%d temporary directories after the next opening, want the living process's", got)
	}
	if files := filesBelow(t, filepath.Join(dir, "blobs")); len(files) != 0 {
		t.Errorf("half a blob: %v", files)
	}
	kill(t, alive)
	openCache(t, dir)
	if left := temporaries(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func temporaries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestALockHoldsBetweenProcessesUntilItsHolderDies(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, dir)
	holder := startChild(t, "lock", dir)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Lock(ctx, "work", key); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("locking what another process holds: %v", err)
	}
	unlock, err := c.Lock(t.Context(), "work", otherKey)
	if err != nil {
		t.Fatalf("another key is locked too: %v", err)
	}
	unlock()
	kill(t, holder)
	unlock, err = c.Lock(t.Context(), "work", key)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestALockHoldsBetweenGoroutines(t *testing.T) {
	c := openCache(t, t.TempDir())
	var inside, most int
	var mu sync.Mutex
	count := func(by int) {
		mu.Lock()
		defer mu.Unlock()
		inside += by
		most = max(most, inside)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			unlock, err := c.Lock(context.Background(), "work", key)
			if err != nil {
				t.Error(err)
				return
			}
			count(1)
			time.Sleep(time.Millisecond)
			count(-1)
			unlock()
		})
	}
	wg.Wait()
	if most != 1 {
		t.Errorf("%d goroutines held the lock at once", most)
	}
}

func TestAFullDiskStoresNothingAndSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	out, err := childCommand(t, "full", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"writing to the cache " + dir, "$ETCDIMG_CACHE"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the error %q does not tell %q", out, want)
		}
	}
	openCache(t, dir)
	if files := filesBelow(t, filepath.Join(dir, "blobs")); len(files) != 0 {
		t.Errorf("half a blob: %v", files)
	}
	if left := temporaries(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestACacheThatCanOnlyBeReadIsReadAndNamesTheVariable(t *testing.T) {
	dir := t.TempDir()
	// Other users may pass.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	digest := put(t, c, "hello")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	setModes(t, dir, 0o555)
	t.Cleanup(func() { setModes(t, dir, 0o755) })
	out, err := childCommand(t, "nobody", dir, digest).Output()
	if err != nil {
		t.Fatalf("reading failed: %v", err)
	}
	if !strings.Contains(string(out), "set $ETCDIMG_CACHE to a directory that can be written") {
		t.Errorf("the error of writing is %q", out)
	}
}

func setModes(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, mode)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestACacheThatCanNotBeMadeNamesTheVariable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := cache.Open(filepath.Join(file, "cache"))
	if err == nil || !strings.Contains(err.Error(), "$ETCDIMG_CACHE") || !strings.Contains(err.Error(), file) {
		t.Errorf("Open: %v", err)
	}
}
