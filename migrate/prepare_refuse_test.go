package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
)

// copyDir copies a stopped member's directory.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(from))
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, "member"), 0o700); err != nil {
		t.Fatal(err)
	}
	return to
}

// edit changes a member's database as no etcd does.
func edit(t testing.TB, dir string, f func(tx *bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "member", "snap", "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(f); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOnlyOneDatabaseOfOneClusterIsTaken is about what prepare and apply refuse,
// and that they change nothing then.
func TestOnlyOneDatabaseOfOneClusterIsTaken(t *testing.T) {
	t.Parallel()
	from, to := version(t, "3.5"), version(t, "3.4")
	c := newTrio(t).new(from)
	c.members[0].Seed(20)
	running := filepath.Join(t.TempDir(), "running.db")
	if code, log := c.prepare(to, running, c.dirs); code != 1 || !strings.Contains(log, "a running etcd holds") {
		t.Errorf("of a running cluster: exit %d\n%s", code, log)
	}
	c.stop(2) // lags from here on
	c.members[0].Put("/registry/late", "it", "")
	c.members[0].Put("/registry/late", "again", "")
	want := c.members[0].Read(etcdtest.Content{})
	c.stop(0)
	c.stop(1)

	other := filepath.Join(t.TempDir(), "other")
	mustOperate(t, other, from)
	etcdtest.Start(t, from, other).Ready().Stop()

	changed := copyDir(t, c.dirs[1])
	edit(t, changed, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("key"))
		k, v := b.Cursor().Last()
		return b.Put(bytes.Clone(k), bytes.Replace(v, []byte("again"), []byte("AGAIN"), 1))
	})
	unleased := copyDir(t, c.dirs[1])
	edit(t, unleased, func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("lease"))
		k, _ := b.Cursor().First()
		return b.Delete(k)
	})
	midway := copyDir(t, c.dirs[1])
	if err := os.Mkdir(midway+".migrate", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(midway+".migrate", "journal.json"), []byte(`{"format":1,"move":"x","phase":"between","from":"3.5.35/etcd3","target":"3.4.26/etcd3","at":"3.5.35/etcd3","to":"3.5.35/etcd3"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		what    string
		sources []string
		more    []string
		want    string
	}{
		{"a value that differs", []string{c.dirs[0], changed}, nil, "digest of keys"},
		{"a lease that is missing", []string{c.dirs[0], unleased, c.dirs[2]}, nil, "leases"},
		{"another cluster's member", []string{c.dirs[0], c.dirs[1], other}, nil, "belongs to the cluster"},
		{"one of three", []string{c.dirs[0]}, nil, "--accept-loss=absent-members"},
		{"the same twice", []string{c.dirs[0], copyDir(t, c.dirs[0])}, nil, "--accept-loss=absent-members"},
		{"a choice that is none", c.dirs, []string{"--choose", "elsewhere"}, "none of the sources"},
		{"a migration under way", []string{c.dirs[0], midway}, nil, "is under way"},
		{"nothing at all", []string{filepath.Join(t.TempDir(), "gone")}, nil, "no such file"},
		{"an empty directory", []string{t.TempDir()}, nil, "is empty"},
	} {
		out := filepath.Join(t.TempDir(), "all.db")
		code, log := c.prepare(to, out, x.sources, x.more...)
		if code != 1 || !strings.Contains(log, x.want) {
			t.Errorf("%s: exit %d, and not %q\n%s", x.what, code, x.want, log)
		}
		if left, _ := filepath.Glob(out + "*"); len(left) > 0 {
			t.Errorf("%s: left %q", x.what, left)
		}
	}

	before := []map[string]string{tree(t, c.dirs[0]), tree(t, c.dirs[1]), tree(t, c.dirs[2])}
	file := filepath.Join(t.TempDir(), "all.db")
	if log := c.must(c.prepare(to, file, c.dirs, "--dry-run")); !strings.Contains(log, "would be taken") {
		t.Errorf("dry run:\n%s", log)
	}
	if left, _ := filepath.Glob(file + "*"); len(left) > 0 {
		t.Errorf("a dry run left %q", left)
	}
	// What differs is taken when it is told by name.
	c.must(c.prepare(to, file, []string{c.dirs[0], changed}, "--choose", c.dirs[0]))
	log := c.must(c.prepare(to, file, c.dirs))
	if !strings.Contains(log, "has the same as of its revision") || !strings.Contains(log, "lacks 2 more") {
		t.Errorf("the member that lags is not told of:\n%s", log)
	}
	for i, b := range before {
		etcdtest.Same(t, "what prepare read of "+c.names[i], b, tree(t, c.dirs[i]))
	}

	refuses := func(what string, i int, want string, more ...string) {
		t.Helper()
		b := tree(t, c.dirs[i])
		if code, log := c.apply(i, to, file, more...); code != 1 || !strings.Contains(log, want) {
			t.Errorf("%s: exit %d, and not %q\n%s", what, code, want, log)
		}
		etcdtest.Same(t, what, b, tree(t, c.dirs[i]))
	}
	refuses("a name that is none", 0, "no member", "--name", "m9")
	refuses("another cluster's directory", 0, "not a member of the cluster", "--data-dir", other)
	refuses("peer URLs that are the same", 0, "the same peer URLs", "--initial-cluster", "m1=http://127.0.0.1:1,m2=http://127.0.0.1:1")
	flip(t, file)
	refuses("a file that was changed", 0, "its digest is")
	flip(t, file)

	damaged := copyDir(t, c.dirs[0])
	if err := os.RemoveAll(filepath.Join(damaged, "member", "wal")); err != nil {
		t.Fatal(err)
	}
	refuses("a damaged directory", 0, "move its member directory", "--data-dir", damaged)

	// A member that went on after all.
	later := newTrio(t)
	copy(later.peers, c.peers)
	for i := range c.dirs {
		later.dirs[i] = copyDir(t, c.dirs[i])
	}
	later.start(0, from)
	later.start(1, from)
	later.members[0].WaitServing()
	later.members[0].Put("/registry/too-late", "it", "")
	later.stop(0)
	later.stop(1)
	b := tree(t, later.dirs[0])
	if code, log := later.apply(0, to, file); code != 1 || !strings.Contains(log, "--accept-loss=newer-writes") {
		t.Errorf("newer writes: exit %d\n%s", code, log)
	}
	etcdtest.Same(t, "a member with newer writes", b, tree(t, later.dirs[0]))
	later.must(later.apply(0, to, file, "--accept-loss=newer-writes"))

	for i := range c.names {
		if log := c.must(c.apply(i, to, file, "--dry-run")); !strings.Contains(log, "is made anew") {
			t.Errorf("dry run:\n%s", log)
		}
		etcdtest.Same(t, "what a dry run leaves", before[i], tree(t, c.dirs[i]))
		c.must(c.apply(i, to, file))
		made := tree(t, c.dirs[i])
		if log := c.must(c.apply(i, to, file)); !strings.Contains(log, "nothing to do") {
			t.Errorf("a second time:\n%s", log)
		}
		etcdtest.Same(t, "a member that is applied to again", made, tree(t, c.dirs[i]))
	}
	refuses("another member's directory", 0, "mixed up", "--name", "m2")
	refuses("another version", 0, "run migrate without apply", "--target-version", version(t, "3.3"))
	c.startAll(to)
	c.same(want)
	c.members[2].Put("/registry/after", "it", "")
	want = c.members[2].Read(etcdtest.Content{})
	c.stopAll()
	c.must(c.apply(0, to, file)) // and never again over what was written since
	c.startAll(to)
	c.same(want)
	c.stopAll()
}

// flip changes a byte in the middle of a file, or changes it back.
func flip(t testing.TB, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestApplyKilledAnywhere kills apply at random moments, of directories that
// held a member and of empty ones, and runs it again.
func TestApplyKilledAnywhere(t *testing.T) {
	t.Parallel()
	from, to := version(t, "3.5"), version(t, "3.4")
	c := newTrio(t).new(from)
	want := c.members[0].Seed(40)
	c.stopAll()
	file := filepath.Join(t.TempDir(), "all.db")
	c.must(c.prepare(to, file, c.dirs))
	old := slices.Clone(c.dirs)
	arguments := func(i int) []string {
		return []string{"apply", "--bin-dir", etcdtest.Binaries(t), "--target-version", to, "--target-storage", "etcd3",
			"--from", file, "--data-dir", c.dirs[i], "--name", c.names[i]}
	}
	fresh := func(i, try int) {
		c.dirs[i] = filepath.Join(t.TempDir(), "empty")
		if try%2 == 0 {
			c.dirs[i] = copyDir(t, old[i])
		}
	}
	fresh(0, 0)
	start := time.Now()
	if out, err := program(arguments(0)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	took := time.Since(start)

	tries := 12
	if etcdtest.All() {
		tries = 150
	}
	r := newRand(t)
	cut := 0
	for try := range tries {
		i := try % 3
		fresh(i, try)
		cmd := program(arguments(i)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		at := time.Duration(r.Int64N(int64(took) + 1))
		timer := time.AfterFunc(at, func() { _ = cmd.Process.Signal(syscall.SIGKILL) }) // it may have ended
		if cmd.Wait() != nil {
			cut++
		}
		timer.Stop()
		// Whoever runs migrate now must not be told that there is nothing,
		// once there is something.
		begun := false
		for _, name := range []string{c.dirs[i] + ".migrate/journal.json", c.dirs[i] + "/member"} {
			if _, err := os.Lstat(name); err == nil {
				begun = true
			}
		}
		if code, log := c.operate(i, to); begun && code == 0 && strings.Contains(log, "is empty") {
			t.Fatalf("try %d, killed after %s: a half-made member passes for an empty one:\n%s", try, at, log)
		}
		if code, log := c.apply(i, to, file); code != 0 {
			t.Fatalf("try %d, killed after %s: exit %d\n%s", try, at, code, log)
		}
		if try%3 == 2 && try >= tries-3 || try%30 == 29 {
			c.startAll(to)
			c.same(want)
			c.stopAll()
		}
	}
	t.Logf("%d of %d were cut short", cut, tries)
	if cut == 0 {
		t.Error("no kill came in time")
	}
}
