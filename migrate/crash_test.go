package main

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
)

// moves are the moves that crashes are tried on: between them they have every
// kind of step.
var moves = [][2]string{
	{"3.0.17", "3.7.3"},  // run, run, mark
	{"3.7.3", "3.4.26"},  // restore
	{"2.3.8", "3.6.16"},  // convert, restore
	{"3.5.35", "2.3.8"},  // write-v2
	{"3.2.32", "3.5.35"}, // run
	{"2.3.8", "3.5.35"},  // convert, run
}

// crashSeed is printed, so that a failure can be played again.
func crashSeed(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("ETCDIMG_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("ETCDIMG_SEED: %v", err)
		}
	}
	t.Logf("seed %d (set ETCDIMG_SEED to play it again)", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// fixture is a seeded directory that is copied for every try, and how long its
// move takes undisturbed.
type fixture struct {
	seeded
	from, to string
	took     time.Duration
}

func fixtures(t *testing.T) []fixture {
	var all []fixture
	for i, m := range moves {
		stop := (*etcdtest.Member).Stop
		if i%2 == 0 {
			stop = (*etcdtest.Member).Kill
		}
		f := fixture{seeded: seed(t, m[0], 60, stop), from: m[0], to: m[1]}
		begun := time.Now()
		dir := f.copy(t)
		if out, err := operateAsProgram(dir.dir, f.to).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		f.took = time.Since(begun)
		checkShown(t, dir, f.from, f.to)
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
	storage := "etcd3"
	if strings.HasPrefix(target, "2.") {
		storage = "etcd2"
	}
	return program(append([]string{
		"--data-dir", dir, "--bin-dir", os.Getenv(etcdtest.BinariesVar),
		"--target-version", target, "--target-storage", storage,
	}, more...)...)
}

// checkDone moves what a crash left to the target and compares.
func (f fixture) checkDone(t *testing.T, s seeded) {
	t.Helper()
	mustOperate(t, s.dir, f.to)
	checkShown(t, s, f.from, f.to)
	for _, room := range []string{s.dir + ".migrate", filepath.Join(s.dir, ".migrate")} {
		for _, name := range []string{"journal.json", "next", "work"} {
			if _, err := os.Lstat(filepath.Join(room, name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s/%s is left", room, name)
			}
		}
	}
}

// TestKilledAnywhere kills the operator, and the servers it runs with it, at
// random moments, sometimes twice, and runs it again. ETCDIMG_ALL=1 does so 300
// times.
func TestKilledAnywhere(t *testing.T) {
	etcdtest.Binaries(t)
	r := crashSeed(t)
	n := 8
	if etcdtest.All() {
		n = 300
	}
	all := fixtures(t)
	killed := 0
	for i := range n {
		f := all[i%len(all)]
		times := 1 + r.IntN(2)
		var after []time.Duration
		for range times {
			after = append(after, time.Duration(r.Int64N(int64(f.took)+1)))
		}
		ok := t.Run(strconv.Itoa(i)+" "+f.from+" to "+f.to, func(t *testing.T) {
			s := f.copy(t)
			for _, d := range after {
				cmd := operateAsProgram(s.dir, f.to)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(d)
				if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Fatal(err)
				}
				if err := cmd.Wait(); err != nil {
					killed++
				}
			}
			f.checkDone(t, s)
		})
		if !ok {
			t.Errorf("killed after %v", after)
		}
	}
	t.Logf("%d runs were killed before their end in %d tries; the data was right after each", killed, n)
}

// TestToldToStopAnywhere does the same by SIGTERM: the operator ends with 1 (or
// 0, if it was done), leaves no server behind, and goes on when run again.
func TestToldToStopAnywhere(t *testing.T) {
	etcdtest.Binaries(t)
	r := crashSeed(t)
	n := 6
	if etcdtest.All() {
		n = 60
	}
	all := fixtures(t)
	for i := range n {
		f := all[i%len(all)]
		after := time.Duration(r.Int64N(int64(f.took) + 1))
		ok := t.Run(strconv.Itoa(i)+" "+f.from+" to "+f.to, func(t *testing.T) {
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
			if code := cmd.ProcessState.ExitCode(); code != 0 && (code != 1 || !strings.Contains(out.String(), "migrate: ")) && cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
				t.Errorf("%v\n%s", err, &out)
			}
			f.checkDone(t, s)
		})
		if !ok {
			t.Errorf("told to stop after %v", after)
		}
	}
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
		t.Run(m[0]+" to "+m[1], func(t *testing.T) {
			f := fixture{seeded: seed(t, m[0], 40, (*etcdtest.Member).Stop), from: m[0], to: m[1]}
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
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	size := int64(st.Blocks-st.Bfree)*st.Bsize + more
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size="+strconv.FormatInt(size, 10)); err != nil {
		t.Fatal(err)
	}
}

// On a disk that is too small the operator does not begin, and changes nothing.
func TestOnADiskThatIsTooSmall(t *testing.T) {
	etcdtest.Binaries(t)
	for _, m := range moves[:4] {
		t.Run(m[0]+" to "+m[1], func(t *testing.T) {
			f := fixture{seeded: seed(t, m[0], 40, (*etcdtest.Member).Stop), from: m[0], to: m[1]}
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

// Somebody else fills the disk at a random moment: the operator fails or not,
// and the data is there.
func TestTheDiskFillsUpMeanwhile(t *testing.T) {
	etcdtest.Binaries(t)
	r := crashSeed(t)
	n := 6
	if etcdtest.All() {
		n = 60
	}
	all := fixtures(t)
	failed := 0
	for i := range n {
		f := all[i%len(all)]
		after, left := time.Duration(r.Int64N(int64(f.took)+1)), r.Int64N(1<<20)
		ok := t.Run(strconv.Itoa(i)+" "+f.from+" to "+f.to, func(t *testing.T) {
			s := f.copyTo(t, onTmpfs(t, 4<<30))
			cmd := operateAsProgram(s.dir, f.to)
			var out strings.Builder
			cmd.Stderr = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(after)
			resize(t, s.dir, left)
			if err := cmd.Wait(); err != nil {
				failed++
				if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(out.String(), "migrate: ") {
					t.Errorf("%v\n%s", err, &out)
				}
			}
			resize(t, s.dir, 2<<30)
			f.checkDone(t, s)
		})
		if !ok {
			t.Errorf("full after %v but for %d bytes", after, left)
		}
	}
	t.Logf("%d of %d runs failed on the full disk; the data was right after each", failed, n)
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
