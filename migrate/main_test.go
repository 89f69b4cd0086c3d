package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
)

// asProgram makes the test binary be the program, for tests that end it.
const asProgram = "MIGRATE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "1" {
		os.Unsetenv(asProgram)
		os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// program is the operator as a process of its own.
func program(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "DO_NOT_MOVE_BINARIES=true", "ETCD_NAME=n1")
	return cmd
}

// fakeBin is a directory of programs that are called like etcd's and do nothing.
func fakeBin(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("#!/bin/sh\necho etcd Version: 3.6.16\n"), 0o555); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestExitCodes(t *testing.T) {
	bin := fakeBin(t, "etcd-3.5.35", "etcdctl-3.5.35")
	dir := filepath.Join(t.TempDir(), "data")
	ok := []string{"--data-dir", dir, "--bin-dir", bin, "--target-version", "3.5.35", "--target-storage", "etcd3"}
	for _, x := range []struct {
		what string
		args []string
		want int
		says string
	}{
		{"help", []string{"--help"}, 0, "--data-dir=DIR"},
		{"nothing given", nil, 2, "--data-dir or $DATA_DIRECTORY is required"},
		{"an unknown flag", append(ok, "--nonsense"), 2, "nonsense"},
		{"an argument", append(ok, "nonsense"), 2, "is no flag"},
		{"no command", append(ok, "--"), 2, "no command after --"},
		{"a bad version", append(ok, "--target-version", "3.5"), 2, `"3.5" is not a version`},
		{"an unknown loss", append(ok, "--accept-loss", "all"), 2, "is none of"},
		{"a log elsewhere", append(ok, "--etcd-server-extra-args", "--wal-dir=/x"), 2, "--wal-dir"},
		{"a version that is not there", append(ok, "--target-version", "3.6.16"), 1, "profile busybox-multi has"},
		{"a listed version that is not there", append(ok, "--bundled-versions", "3.5.35,3.6.16"), 1, "3.6.16 is said to be bundled"},
		{"an empty directory", ok, 0, "is empty"},
		{"done already", ok, 0, ""},
		{"a command that is not there", append(ok, "--", "/nonsense"), 1, "/nonsense"},
	} {
		t.Run(x.what, func(t *testing.T) {
			out, err := program(x.args...).CombinedOutput()
			code := 0
			if err != nil {
				code = err.(*exec.ExitError).ExitCode()
			}
			if code != x.want || !strings.Contains(string(out), x.says) {
				t.Errorf("exit %d:\n%s", code, out)
			}
			if x.want != 0 && strings.Count(string(out), "migrate: ") != 1 {
				t.Errorf("the error is not one line:\n%s", out)
			}
		})
	}
}

func TestItBecomesTheServer(t *testing.T) {
	bin := fakeBin(t, "etcd-3.5.35", "etcdctl-3.5.35")
	dir := filepath.Join(t.TempDir(), "data")
	out, err := program("--data-dir", dir, "--bin-dir", bin, "--target-version", "3.5.35", "--target-storage", "etcd3",
		"--", "sh", "-c", `cat "$0"/version.txt; exit 7`, dir).Output()
	if err == nil || err.(*exec.ExitError).ExitCode() != 7 || string(out) != "3.5.35/etcd3" {
		t.Errorf("%v, %q", err, out)
	}
}

func TestTheTargetBecomesThePlainVersion(t *testing.T) {
	bin := fakeBin(t, "etcd-3.5.35", "etcdctl-3.5.35")
	cmd := program("--data-dir", filepath.Join(t.TempDir(), "data"), "--bin-dir", bin, "--target-version", "3.5.35", "--target-storage", "etcd3")
	cmd.Env = append(cmd.Env, "DO_NOT_MOVE_BINARIES=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, n := range []string{"etcd", "etcdctl"} {
		info, err := os.Stat(filepath.Join(bin, n))
		if err != nil || info.Mode().Perm() != 0o555 {
			t.Errorf("%s: %v, %v", n, info, err)
		}
	}
}

func TestAnImageOfOneVersionNeedsNoSuffix(t *testing.T) {
	bin := fakeBin(t, "etcd")
	dir := filepath.Join(t.TempDir(), "data")
	cmd := program("--data-dir", dir, "--bin-dir", bin, "--target-version", "3.6.16", "--target-storage", "etcd3")
	cmd.Env = append(cmd.Env, "DO_NOT_MOVE_BINARIES=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestModesFollowTheUmask(t *testing.T) {
	bin := fakeBin(t, "etcd-3.5.35", "etcdctl-3.5.35")
	dir := filepath.Join(t.TempDir(), "data")
	cmd := exec.Command("sh", "-c", `umask 0022; exec "$0" "$@"`, os.Args[0], "--data-dir", dir, "--bin-dir", bin, "--target-version", "3.5.35", "--target-storage", "etcd3")
	cmd.Env = program().Env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, want := range map[string]os.FileMode{dir: 0o755, filepath.Join(dir, "version.txt"): 0o644} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// Directories that the operator must leave alone, each with what it says.
func TestDirectoriesThatItRefuses(t *testing.T) {
	bin := fakeBin(t, "etcd-3.5.35", "etcdctl-3.5.35")
	file := func(name, content string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			p := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, x := range []struct {
		what string
		make func(t *testing.T, dir string)
		says string
	}{
		{"foreign files", file("photos/cat.jpg", "x"), "it has no member directory, but holds photos"},
		{"a proxy's", file("proxy/cluster", "{}"), "etcd proxy"},
		{"one of etcd 2.0", file("wal/x", ""), "etcd 2.0"},
		{"half a restore", file("member/snap/db", "x"), "a database without a write-ahead log"},
		{"an empty member", file("member/snap/tmp", "x"), "neither a write-ahead log nor a database"},
		{"a damaged log", file("member/wal/0000000000000000-0000000000000000.wal", strings.Repeat("damaged!", 64)), "damaged write-ahead log"},
		{"nonsense in version.txt", file("version.txt", "3.5/etcd3"), `"3.5" is not a version`},
		{"data that an operator moved aside", file("../data.bak/member/snap/db", "x"), "an operator was killed while it restored"},
		{"backups and no data", file("../data.migrate/backups/0001-3.4.26-etcd3/version.txt", "3.4.26/etcd3"), "holds backups"},
		{"a journal from the future", file("../data.migrate/journal.json", `{"format":2}`), "format 2"},
	} {
		t.Run(x.what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			x.make(t, dir)
			before := listing(t, filepath.Dir(dir))
			out, err := program("--data-dir", dir, "--bin-dir", bin, "--target-version", "3.5.35", "--target-storage", "etcd3").CombinedOutput()
			if err == nil || err.(*exec.ExitError).ExitCode() != 1 || !strings.Contains(string(out), x.says) {
				t.Errorf("%v\n%s", err, out)
			}
			if after := listing(t, filepath.Dir(dir)); after != before {
				t.Errorf("it changed something: before\n%s\nafter\n%s", before, after)
			}
		})
	}
}

// listing is every file below dir with its content.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		b.WriteString(path + ": " + string(content) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestARunningServerIsLeftAlone(t *testing.T) {
	for _, v := range etcdtest.Versions(t) {
		t.Run(v, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "etcd")
			mustOperate(t, dir, v)
			m := etcdtest.Start(t, v, dir).Ready()
			code, log := operate(t, dir, v)
			if code != 1 || !strings.Contains(log, "a running etcd holds") {
				t.Errorf("exit %d\n%s", code, log)
			}
			m.Stop()
		})
	}
}

func TestAMissingVersionIsFoundAndShownButNotTaken(t *testing.T) {
	for _, v := range etcdtest.Versions(t) {
		t.Run(v, func(t *testing.T) {
			s := seed(t, v, 20, (*etcdtest.Member).Stop)
			if err := os.Remove(filepath.Join(s.dir, "version.txt")); err != nil {
				t.Fatal(err)
			}
			code, log := operate(t, s.dir, v)
			line := v[:strings.LastIndex(v, ".")]
			if code != 1 || !strings.Contains(log, "written by etcd "+line+" (") || !strings.Contains(log, "--current-version="+v) {
				t.Fatalf("exit %d\n%s", code, log)
			}
			mustOperate(t, s.dir, v, "--current-version", v+"/"+storageOf(v))
		})
	}
}

func TestAVersionThatTheDataBeliesIsRefused(t *testing.T) {
	versions := etcdtest.Versions(t)
	oldest, newest := versions[1], versions[len(versions)-1]
	s := seed(t, newest, 20, (*etcdtest.Member).Stop)
	if err := os.WriteFile(filepath.Join(s.dir, "version.txt"), []byte(oldest+"/etcd3"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, log := operate(t, s.dir, oldest); code != 1 || !strings.Contains(log, "is older than the data") {
		t.Errorf("exit %d\n%s", code, log)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	s := seed(t, "3.5.35", 20, (*etcdtest.Member).Stop)
	before := listing(t, filepath.Dir(s.dir))
	code, log := operate(t, s.dir, "2.3.8", "--dry-run")
	if code != 0 || !strings.Contains(log, "write the newest value of every key") || !strings.Contains(log, "not kept: older revisions") {
		t.Errorf("exit %d\n%s", code, log)
	}
	if after := listing(t, filepath.Dir(s.dir)); after != before {
		t.Error("it changed something")
	}
}

func TestWhatWouldBeLostMustBeAcceptedByName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	mustOperate(t, dir, "3.5.35")
	m := etcdtest.Start(t, "3.5.35", dir).Ready()
	m.Put("/registry/binary", "\xff\xfe", "")
	m.Put("/registry/a", "1", "")
	m.Put("/registry/a/below", "2", "")
	m.Put("/registry/kept", "3", "")
	m.Stop()
	code, log := operate(t, dir, "2.3.8")
	if code != 1 || !strings.Contains(log, "--accept-loss=not-utf8,v2-paths") {
		t.Fatalf("exit %d\n%s", code, log)
	}
	mustOperate(t, dir, "2.3.8", "--accept-loss=not-utf8,v2-paths")
	m = etcdtest.Start(t, "2.3.8", dir).Ready()
	defer m.Stop()
	var keys []string
	for _, k := range m.V2Read() {
		keys = append(keys, k.Key)
	}
	if got := strings.Join(keys, " "); got != "/registry/a /registry/kept" {
		t.Errorf("kept are %s", got)
	}
}

func TestAServerThatDiesIsNoticedBeforeItsTimeIsOver(t *testing.T) {
	s := seed(t, "3.2.32", 20, (*etcdtest.Member).Stop)
	code, log := operate(t, s.dir, "3.4.26", "--etcd-server-extra-args=--no-such-flag=1")
	if code != 1 || !strings.Contains(log, "etcd ended by itself") || !strings.Contains(log, "no-such-flag") || !strings.Contains(log, "as it was before the migration") {
		t.Errorf("exit %d\n%s", code, log)
	}
	mustOperate(t, s.dir, "3.4.26")
	checkShown(t, s, "3.4.26")
}
