package datadir_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir/datadirtest"
)

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestNothingOfEtcdsIsEmpty(t *testing.T) {
	for _, names := range [][]string{{}, {"lost+found/x"}, {".migrate/backups/x"}, {"version.txt"}, {"version.txt-next"}} {
		dir := t.TempDir()
		for _, n := range names {
			content := ""
			if n == "version.txt" {
				content = "3.5.35/etcd3"
			}
			write(t, filepath.Join(dir, n), content)
		}
		s, err := datadir.Inspect(dir)
		if err != nil || !s.Empty {
			t.Errorf("%v: %+v, %v", names, s, err)
		}
	}
	if s, err := datadir.Inspect(filepath.Join(t.TempDir(), "absent")); err != nil || !s.Empty {
		t.Errorf("%+v, %v", s, err)
	}
}

// Every mark that tells a version, in the order of how much it tells.
func TestWhichVersionWroteIt(t *testing.T) {
	for _, x := range []struct {
		cluster, storage string
		want             string
		known            bool
	}{
		{"3.0.0", "", "3.0", true},
		{"3.5.0", "", "3.5", true},
		{"3.5.0", "3.6.0", "3.6", true},
		{"", "3.7.0", "3.7", true},
		{"nonsense", "", "3.0", false},
		{"", "", "3.0", false},
	} {
		dir := t.TempDir()
		datadirtest.Write(t, dir, datadirtest.Dir{ClusterVersion: x.cluster, StorageVersion: x.storage})
		s, err := datadir.Inspect(dir)
		if err != nil {
			t.Fatal(err)
		}
		if s.Found.Line.String() != x.want || s.Found.Known != x.known || s.Found.Why == "" {
			t.Errorf("%+v: %s (known: %v)", x, s.Found, s.Found.Known)
		}
		if len(s.Members) != 1 || s.Members[0].Name != "n1" {
			t.Errorf("%+v", s.Members)
		}
	}
}

func TestForeignDirectoriesAreSaidToBeForeign(t *testing.T) {
	for name, want := range map[string]error{
		"photo.jpg": datadir.ErrForeign, "wal/x": datadir.ErrForeign, "proxy/cluster": datadir.ErrForeign,
		"member/snap/db": datadir.ErrHalf, "member/x": datadir.ErrHalf,
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, name), "x")
		if _, err := datadir.Inspect(dir); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestATreeIsCopiedWithItsModes(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	write(t, filepath.Join(from, "a/b"), strings.Repeat("content", 1<<16))
	write(t, filepath.Join(from, "empty"), "")
	if err := os.Chmod(filepath.Join(from, "a"), 0o500); err != nil {
		t.Fatal(err)
	}
	// A directory without write permission can be copied by root only.
	if os.Geteuid() != 0 {
		if err := os.Chmod(filepath.Join(from, "a"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := datadir.CopyTree(t.Context(), from, to); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{".", "a", "a/b", "empty"} {
		x, err := os.Stat(filepath.Join(from, n))
		if err != nil {
			t.Fatal(err)
		}
		y, err := os.Stat(filepath.Join(to, n))
		if err != nil || x.Mode() != y.Mode() || !x.IsDir() && x.Size() != y.Size() {
			t.Errorf("%s: %v, %v, %v", n, x, y, err)
		}
	}
	if err := datadir.CopyTree(t.Context(), from, to); !errors.Is(err, os.ErrExist) {
		t.Errorf("over what is there: %v", err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	if err := datadir.CopyTree(t.Context(), from, filepath.Join(t.TempDir(), "x")); err == nil {
		t.Error("a link was copied")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := datadir.CopyTree(ctx, from, filepath.Join(t.TempDir(), "y")); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v", err)
	}
}

func TestRoomIsAskedFor(t *testing.T) {
	dir := t.TempDir()
	if err := datadir.CheckSpace(dir, 1<<10); err != nil {
		t.Error(err)
	}
	if err := datadir.CheckSpace(dir, 1<<60); !errors.Is(err, datadir.ErrNoSpace) {
		t.Error(err)
	}
	write(t, filepath.Join(dir, "a/b"), strings.Repeat("x", 1<<20))
	if n, err := datadir.Size(dir); err != nil || n < 1<<20 || n > 2<<20 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := datadir.Size(filepath.Join(dir, "absent")); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
}

func TestTheRoomIsBesideTheDirectoryUnlessItCanNotBe(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	inside, beside := filepath.Join(dir, datadir.RoomName), dir+datadir.RoomName
	check := func(want string) {
		t.Helper()
		if got, err := datadir.Room(dir); err != nil || got != want {
			t.Errorf("%s, %v instead of %s", got, err, want)
		}
	}
	check(beside)
	// What is there already is used, whatever would be chosen now.
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	check(inside)
	if err := os.Remove(inside); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("NOT RUN for a mount point: this needs the right to mount: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	check(inside)
}

func TestAPathIsResolved(t *testing.T) {
	parent, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(parent, "data")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("data", filepath.Join(parent, "link")); err != nil {
		t.Fatal(err)
	}
	for _, x := range []string{"/data", "/data/", "/data/.", "/link", "/link/", "/x/../data//"} {
		if got, err := datadir.Resolve(parent + x); err != nil || got != dir {
			t.Errorf("%s: %s, %v", x, got, err)
		}
	}
	if got, err := datadir.Resolve(parent + "/absent/"); err != nil || got != parent+"/absent" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestDirectoriesAreExchanged(t *testing.T) {
	parent := t.TempDir()
	a, b := filepath.Join(parent, "a"), filepath.Join(parent, "b")
	write(t, filepath.Join(a, "x"), "of a")
	write(t, filepath.Join(b, "x"), "of b")
	ok, err := datadir.Exchange(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		t.Skip("NOT RUN: the file system can not exchange")
	}
	if c, err := os.ReadFile(filepath.Join(a, "x")); err != nil || string(c) != "of b" {
		t.Errorf("%s, %v", c, err)
	}
	if _, err := datadir.Exchange(a, filepath.Join(parent, "absent")); err == nil {
		t.Error("exchanged with nothing")
	}
}

func TestAServersLocksAreSeen(t *testing.T) {
	for what, lock := range map[string]func(f *os.File) error{
		"flock, as up to 2.3": func(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) },
		"by open file, as later": func(f *os.File) error {
			return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			datadirtest.Write(t, dir, datadirtest.Dir{})
			if err := datadir.CheckStopped(dir); err != nil {
				t.Fatal(err)
			}
			names, err := filepath.Glob(filepath.Join(dir, "member/wal/*.wal"))
			if err != nil || len(names) != 1 {
				t.Fatal(names, err)
			}
			f, err := os.OpenFile(names[0], os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := lock(f); err != nil {
				t.Fatal(err)
			}
			if err := datadir.CheckStopped(dir); !errors.Is(err, datadir.ErrRunning) {
				t.Error(err)
			}
		})
	}
}

// A program that inherited the lock holds it.
func TestALockEndsWithItsLastHolder(t *testing.T) {
	dir := t.TempDir()
	lock, err := datadir.Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(lock.File().Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := datadir.Acquire(dir); !errors.Is(err, datadir.ErrLocked) {
		t.Error(err)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	lock, err = datadir.Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

// FuzzStampOfADirectory: whatever version.txt holds, looking changes nothing and
// says either a stamp or an error.
func FuzzStampOfADirectory(f *testing.F) {
	f.Add("3.5.35/etcd3")
	f.Add("3.5.35/etcd3\n")
	f.Add("\x00/etcd2")
	f.Fuzz(func(t *testing.T, content string) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "version.txt"), content)
		s, err := datadir.Inspect(dir)
		if (err == nil) != (s != nil) || err == nil && s.Stamp == nil {
			t.Errorf("%+v, %v", s, err)
		}
		after, readErr := os.ReadFile(filepath.Join(dir, "version.txt"))
		if readErr != nil || string(after) != content {
			t.Errorf("it changed the file: %q, %v", after, readErr)
		}
	})
}
