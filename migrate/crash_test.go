package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
)

// moves are the moves that crashes are tried on: between them they have every
// kind of step.
var moves = []struct {
	from, to string
	flags    []string // of the server that writes the data
}{
	{"3.0.17", "3.7.3", otherToken}, // run, run, mark
	{"3.7.3", "3.4.26", nil},        // restore
	{"2.3.8", "3.6.16", nil},        // convert, restore
	{"3.5.35", "2.3.8", nil},        // write-v2
	{"3.2.32", "3.5.35", nil},       // run
	{"2.3.8", "3.5.35", nil},        // convert, run
	{"3.0.17", "3.7.3", nil},        // restore
}

// fixture is a seeded directory that is copied for every try, and how long its
// move takes undisturbed.
type fixture struct {
	seeded
	to   string
	took time.Duration
}

// moment is a random one of the move, which takes somewhat longer when there are
// others at the same time.
func (f fixture) moment(r *rand.Rand) time.Duration {
	return time.Duration(r.Int64N(int64(f.took)*5/4 + 1))
}

func fixtures(t *testing.T) []fixture {
	var all []fixture
	for i, m := range moves {
		stop := (*etcdtest.Member).Stop
		if i%2 == 0 {
			stop = (*etcdtest.Member).Kill
		}
		f := fixture{seeded: seed(t, m.from, 60, stop, m.flags...), to: m.to}
		begun := time.Now()
		dir := f.copy(t)
		if out, err := operateAsProgram(dir.dir, f.to).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		f.took = time.Since(begun)
		checkShown(t, dir, f.to)
		all = append(all, f)
	}
	return all
}

func (f fixture) copy(t *testing.T) seeded {
	t.Helper()
	return f.copyTo(t, filepath.Join(t.TempDir(), "etcd"))
}

func (f fixture) copyTo(t *testing.T, dir string) seeded {
	t.Helper()
	s := f.seeded
	s.dir = dir
	if err := os.CopyFS(s.dir, os.DirFS(f.dir)); err != nil {
		t.Fatal(err)
	}
	// CopyFS makes files readable by all; etcd wants its own directories private.
	if err := os.Chmod(filepath.Join(s.dir, "member"), 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

func operateAsProgram(dir, target string, more ...string) *exec.Cmd {
	return program(append([]string{
		"--data-dir", dir, "--bin-dir", os.Getenv(etcdtest.BinariesVar),
		"--target-version", target, "--target-storage", storageOf(target),
	}, more...)...)
}

// checkDone moves what a crash left to the target and compares.
func (f fixture) checkDone(t *testing.T, s seeded) {
	t.Helper()
	mustOperate(t, s.dir, f.to)
	checkShown(t, s, f.to)
	for _, room := range []string{s.dir + ".migrate", filepath.Join(s.dir, ".migrate")} {
		for _, name := range []string{"journal.json", "next", "work"} {
			if _, err := os.Lstat(filepath.Join(room, name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s/%s is left", room, name)
			}
		}
	}
}

// TestInterruptedAnywhere disturbs the operator at random moments of moves that
// have every kind of step, runs it again, and compares the data: by kill -9, of
// itself or of a program that it runs, sometimes twice; by SIGTERM; and by a disk
// that somebody else fills. ETCDIMG_ALL=1 does each 300 times.
func TestInterruptedAnywhere(t *testing.T) {
	etcdtest.Binaries(t)
	r := newRand(t)
	all := fixtures(t)
	count := func(few, many int) int {
		if etcdtest.All() {
			return many
		}
		return few
	}
	t.Run("killed", func(t *testing.T) { killedAnywhere(t, r, all, count(7, 300)) })
	t.Run("told to stop", func(t *testing.T) { stoppedAnywhere(t, r, all, count(4, 300)) })
	t.Run("disk full", func(t *testing.T) { fullAnywhere(t, r, all, count(4, 300)) })
}

// tries does something n times, to every move in turn, some at the same time, and
// says how often it made a difference. What is random is drawn in order, by the
// first part of what is done, so that a seed plays it again.
func tries(t *testing.T, all []fixture, n int, draw func(f fixture) (do func(t *testing.T) (disturbed bool))) {
	t.Helper()
	var disturbed, same atomic.Int64
	t.Run("tries", func(t *testing.T) {
		for i := range n {
			f := all[i%len(all)]
			do := draw(f)
			t.Run(fmt.Sprintf("%03d %s to %s", i, f.seeded.version, f.to), func(t *testing.T) {
				t.Parallel()
				if do(t) {
					disturbed.Add(1)
				}
				if !t.Failed() {
					same.Add(1)
				}
			})
		}
	})
	t.Logf("the data is equal in %d of %d; %d did not come to their end when they were disturbed", same.Load(), n, disturbed.Load())
}

func killedAnywhere(t *testing.T, r *rand.Rand, all []fixture, n int) {
	tries(t, all, n, func(f fixture) func(t *testing.T) bool {
		var after []time.Duration
		for range 1 + r.IntN(2) {
			after = append(after, f.moment(r))
		}
		child := r.IntN(4) == 0
		return func(t *testing.T) (disturbed bool) {
			t.Logf("killed after %v (a program that it runs: %v)", after, child)
			s := f.copy(t)
			for _, d := range after {
				cmd := operateAsProgram(s.dir, f.to)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(d)
				if child {
					killChildren(t, cmd.Process.Pid)
				} else if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
				if err := cmd.Wait(); err != nil {
					disturbed = true
				}
			}
			f.checkDone(t, s)
			return disturbed
		}
	})
}

// killChildren kills what the operator runs, if it runs something.
func killChildren(t *testing.T, pid int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lists {
		b, _ := os.ReadFile(name) // it may have ended
		for id := range strings.FieldsSeq(string(b)) {
			child, err := strconv.Atoi(id)
			if err != nil {
				t.Fatal(err)
			}
			_ = syscall.Kill(child, syscall.SIGKILL) // it may have ended
		}
	}
}

// The operator ends with 1 (or 0, if it was done), and goes on when run again.
func stoppedAnywhere(t *testing.T, r *rand.Rand, all []fixture, n int) {
	tries(t, all, n, func(f fixture) func(t *testing.T) bool {
		after := f.moment(r)
		return func(t *testing.T) bool {
			t.Logf("told to stop after %v", after)
			s := f.copy(t)
			cmd := operateAsProgram(s.dir, f.to)
			var out strings.Builder
			cmd.Stderr = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after)
			_ = cmd.Process.Signal(syscall.SIGTERM)
			err := cmd.Wait()
			// Before it listens to signals it dies of them.
			early := cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGTERM
			if code := cmd.ProcessState.ExitCode(); code != 0 && (code != 1 || !strings.Contains(out.String(), "migrate: ")) && !early {
				t.Errorf("%v\n%s", err, &out)
			}
			f.checkDone(t, s)
			return err != nil
		}
	})
}

func fullAnywhere(t *testing.T, r *rand.Rand, all []fixture, n int) {
	tries(t, all, n, func(f fixture) func(t *testing.T) bool {
		after, left := f.moment(r), r.Int64N(1<<20)
		return func(t *testing.T) bool {
			t.Logf("full after %v but for %d bytes", after, left)
			s := f.copyTo(t, onTmpfs(t, 4<<30))
			cmd := operateAsProgram(s.dir, f.to)
			var out strings.Builder
			cmd.Stderr = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after)
			resize(t, s.dir, left)
			err := cmd.Wait()
			if err != nil && (cmd.ProcessState.ExitCode() != 1 || !strings.Contains(out.String(), "migrate: ")) {
				t.Errorf("%v\n%s", err, &out)
			}
			resize(t, s.dir, 2<<30)
			f.checkDone(t, s)
			return err != nil
		}
	})
}

// onTmpfs mounts a file system of so many bytes, with the data directory as its
// root: a volume, as in an image.
func onTmpfs(t *testing.T, size int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.FormatInt(size, 10)); err != nil {
		t.Skipf("NOT RUN: this needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A data directory that is a mount point can not be renamed: its content is
// exchanged, with the room inside.
func TestADirectoryThatIsAMountPoint(t *testing.T) {
	etcdtest.Binaries(t)
	for _, m := range moves[:4] {
		t.Run(m.from+" to "+m.to, func(t *testing.T) {
			f := fixture{seeded: seed(t, m.from, 40, (*etcdtest.Member).Stop, m.flags...), to: m.to}
			s := f.copyTo(t, onTmpfs(t, 4<<30))
			f.checkDone(t, s)
			if _, err := os.Stat(filepath.Join(s.dir, ".migrate", "backups")); err != nil {
				t.Errorf("no backup in the volume: %v", err)
			}
		})
	}
}

// resize gives a mounted file system so many bytes beyond what it holds.
func resize(t *testing.T, dir string, more int64) {
	t.Helper()
	for tries := 0; ; tries++ {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		size := int64(st.Blocks-st.Bfree)*int64(st.Bsize) + more
		err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size="+strconv.FormatInt(size, 10))
		if err == nil {
			return
		}
		// What is written meanwhile may not fit into the size any more.
		if !errors.Is(err, unix.EINVAL) || tries == 100 {
			t.Fatal(err)
		}
	}
}

// On a disk that is too small the operator does not begin, and changes nothing.
func TestOnADiskThatIsTooSmall(t *testing.T) {
	etcdtest.Binaries(t)
	for _, m := range moves[:4] {
		t.Run(m.from+" to "+m.to, func(t *testing.T) {
			f := fixture{seeded: seed(t, m.from, 40, (*etcdtest.Member).Stop, m.flags...), to: m.to}
			s := f.copyTo(t, onTmpfs(t, 4<<30))
			resize(t, s.dir, 100<<20)
			before := listing(t, s.dir)
			code, log := operate(t, s.dir, f.to)
			if code != 1 || !strings.Contains(log, "not enough room") {
				t.Errorf("exit %d\n%s", code, log)
			}
			if listing(t, s.dir) != before {
				t.Error("it changed something")
			}
			resize(t, s.dir, 2<<30)
			f.checkDone(t, s)
		})
	}
}

// Operators on one machine neither take each other's ports nor ask each other's
// servers, though all of them begin with the same port.
func TestManyOperatorsAtOnce(t *testing.T) {
	etcdtest.Binaries(t)
	var all []seeded
	for range 4 {
		all = append(all, seed(t, "3.2.32", 20, (*etcdtest.Member).Stop))
	}
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			if out, err := operateAsProgram(s.dir, "3.5.35").CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	for _, s := range all {
		checkShown(t, s, "3.5.35")
	}
}

// A root operator leaves the files to the user that owned them.
func TestTheOwnerStays(t *testing.T) {
	etcdtest.Binaries(t)
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root gives files away")
	}
	s := seed(t, "3.2.32", 20, (*etcdtest.Member).Stop)
	err := filepath.WalkDir(s.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, 65532, 65532)
	})
	if err != nil {
		t.Fatal(err)
	}
	mustOperate(t, s.dir, "3.5.35")
	err = filepath.WalkDir(filepath.Join(s.dir, "member"), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 65532 {
			t.Errorf("%s belongs to %d", path, uid)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
