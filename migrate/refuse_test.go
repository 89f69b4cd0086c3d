package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/etcdimg/etcdimg/migrate/internal/datadir/datadirtest"
	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
)

// nobody is who the program runs as in tests about permissions.
const nobody = 65534

// openTemp is a directory that everybody can reach and nobody owns.
func openTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "migrate-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	own(t, dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func own(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// asNobody makes the program run without root's powers.
func asNobody(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT RUN: only root runs programs as somebody else")
	}
	self := filepath.Join(openTemp(t), "migrate")
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, b, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := program(args...)
	cmd.Path, cmd.Dir = self, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// checkRefused runs a command that must end with 1 and one line, and change nothing.
func checkRefused(t *testing.T, cmd *exec.Cmd, around string, says ...string) {
	t.Helper()
	before := listing(t, around)
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	for _, s := range says {
		if !strings.Contains(string(out), s) {
			t.Errorf("it does not say %q:\n%s", s, out)
		}
	}
	if strings.Count(string(out), "migrate: ") != 1 || strings.Contains(string(out), "goroutine") {
		t.Errorf("the error is not one line:\n%s", out)
	}
	if after := listing(t, around); after != before {
		t.Error("it changed something")
	}
}

// small makes a directory of a 3.4 and programs for it, owned by nobody.
func small(t *testing.T) (root, dir, bin string) {
	t.Helper()
	root = openTemp(t)
	dir, bin = filepath.Join(root, "data"), filepath.Join(root, "bin")
	datadirtest.Write(t, dir, datadirtest.Dir{ClusterVersion: "3.4.0", Stamp: "3.4.26/etcd3", Keys: []datadirtest.Key{{Key: "/registry/a", Value: "1"}}})
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"etcd-3.3.27", "etcdctl-3.3.27", "etcd-3.4.26", "etcdctl-3.4.26", "etcd-3.5.35", "etcdctl-3.5.35"} {
		if err := os.WriteFile(filepath.Join(bin, n), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	own(t, root)
	return root, dir, bin
}

func to35(dir, bin string) []string {
	return []string{"--data-dir", dir, "--bin-dir", bin, "--target-version", "3.5.35", "--target-storage", "etcd3"}
}

func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(name, 0o755) }) // for the removal
}

func TestADirectoryThatMayNotBeWritten(t *testing.T) {
	root, dir, bin := small(t)
	chmod(t, dir, 0o555)
	checkRefused(t, asNobody(t, to35(dir, bin)...), root, "permission denied", dir)
}

func TestADirectoryThatMayNotBeRead(t *testing.T) {
	root, dir, bin := small(t)
	cmd := asNobody(t, to35(dir, bin)...)
	if err := os.Lchown(filepath.Join(dir, "member"), 0, 0); err != nil {
		t.Fatal(err)
	}
	checkRefused(t, cmd, root, "permission denied", "member")
}

func TestAParentThatMayNotBeWrittenIsNoHindrance(t *testing.T) {
	root, dir, bin := small(t)
	chmod(t, root, 0o555)
	if out, err := asNobody(t, to35(dir, bin)...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// What fails leaves nothing in the directory itself, either.
	args := append(to35(dir, bin), "--target-version", "3.3.27")
	checkRefused(t, asNobody(t, args...), root, "the directory is as it was before")
}

func TestABinDirThatMayNotBeWritten(t *testing.T) {
	root, dir, bin := small(t)
	chmod(t, bin, 0o555)
	cmd := asNobody(t, to35(dir, bin)...)
	cmd.Env = append(cmd.Env, "DO_NOT_MOVE_BINARIES=")
	checkRefused(t, cmd, root, bin, "DO_NOT_MOVE_BINARIES=true")
	if out, err := asNobody(t, to35(dir, bin)...).CombinedOutput(); err != nil {
		t.Errorf("with DO_NOT_MOVE_BINARIES=true: %v\n%s", err, out)
	}
}

// A read-only root file system binds even root.
func TestABinDirThatIsMountedReadOnly(t *testing.T) {
	root, dir, bin := small(t)
	if err := unix.Mount(bin, bin, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("NOT RUN: this needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(bin, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("", bin, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	cmd := program(to35(dir, bin)...)
	cmd.Env = append(cmd.Env, "DO_NOT_MOVE_BINARIES=")
	checkRefused(t, cmd, root, bin, "DO_NOT_MOVE_BINARIES=true")
}

// Parts of a directory, each damaged in a way that happens.
func TestDamagedDirectories(t *testing.T) {
	for _, x := range []struct {
		what, file string
		damage     func(b []byte) []byte
		says       string
	}{
		{"a database of nonsense", "member/snap/db", func(b []byte) []byte { return []byte(strings.Repeat("nonsense", 4096)) }, "not a database that etcd wrote"},
		{"an empty database", "member/snap/db", func([]byte) []byte { return nil }, "empty file"},
		{"half of a database", "member/snap/db", func(b []byte) []byte { return b[:len(b)/2] }, "it is cut short"},
		{"zeros in the log", "member/wal/0000000000000000-0000000000000000.wal", func(b []byte) []byte { return make([]byte, len(b)) }, "member/wal"},
		{"a bit in the log", "member/wal/0000000000000000-0000000000000000.wal", func(b []byte) []byte { b[len(b)-60] ^= 1; return b }, "member/wal"},
		{"a bit in the snapshot", "member/snap/0000000000000002-000000000000000b.snap", func(b []byte) []byte { b[len(b)-5] ^= 1; return b }, "snap"},
		{"version.txt of nonsense", "version.txt", func([]byte) []byte { return []byte("three point four") }, "version.txt"},
		{"an etcd4", "version.txt", func([]byte) []byte { return []byte("3.4.26/etcd4") }, "etcd4"},
		{"a huge version.txt", "version.txt", func([]byte) []byte { return make([]byte, 1<<20) }, "version.txt"},
		{"a version of tomorrow", "version.txt", func([]byte) []byte { return []byte("4.1.0/etcd3") }, "4.1.0"},
		{"a journal of nonsense", "../data.migrate/journal.json", func([]byte) []byte { return []byte("{") }, "journal.json"},
	} {
		t.Run(x.what, func(t *testing.T) {
			root, dir, bin := small(t)
			name := filepath.Join(dir, x.file)
			b, _ := os.ReadFile(name) // or there is none yet
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, x.damage(b), 0o644); err != nil {
				t.Fatal(err)
			}
			checkRefused(t, program(to35(dir, bin)...), root, x.says)
		})
	}
}

// A file where the directory should be, and links that lead nowhere.
func TestPathsThatAreNoDirectory(t *testing.T) {
	root, dir, bin := small(t)
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(root, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{file, loop, filepath.Join(file, "below")} {
		checkRefused(t, program(to35(p, bin)...), root, p)
	}
	// A link to a directory is that directory.
	link := filepath.Join(root, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if out, err := program(to35(link+"/", bin)...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "version.txt")); err != nil || string(b) != "3.5.35/etcd3" {
		t.Errorf("%s, %v", b, err)
	}
}

// A step that fails after others puts back what was there first.
func TestALaterStepThatFailsPutsTheFirstDirectoryBack(t *testing.T) {
	real := etcdtest.Binaries(t)
	s := seed(t, "2.3.8", 40, (*etcdtest.Member).Stop)
	bin := t.TempDir()
	for _, v := range []string{"2.3.8", "3.0.17", "3.5.35"} {
		for _, p := range []string{"etcd", "etcdctl", "etcdutl"} {
			if _, err := os.Stat(filepath.Join(real, p+"-"+v)); err != nil {
				continue
			}
			if err := os.Symlink(filepath.Join(real, p+"-"+v), filepath.Join(bin, p+"-"+v)); err != nil {
				t.Fatal(err)
			}
		}
	}
	broken := filepath.Join(bin, "etcd-3.5.35")
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho this one is broken >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	before := listing(t, s.dir)
	code, log := operate(t, s.dir, "3.5.35", "--bin-dir", bin)
	if code != 1 || !strings.Contains(log, "this one is broken") || !strings.Contains(log, "step 2") || !strings.Contains(log, "step=1") {
		t.Fatalf("exit %d\n%s", code, log)
	}
	if listing(t, s.dir) != before {
		t.Error("the first directory is not back")
	}
	mustOperate(t, s.dir, "3.5.35")
	checkShown(t, s, "3.5.35")
}
