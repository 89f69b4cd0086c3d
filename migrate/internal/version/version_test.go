package version

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestStampsThatPeopleKnow(t *testing.T) {
	for s, ok := range map[string]bool{
		"1.1/etcd3": false, "1.1.1.1/etcd3": false, "1.1.1/etcd4": false, "1.1.1": false, "/etcd3": false,
		"01.1.1/etcd3": false, "1.1.1-/etcd3": false, "1.1.1+x/etcd3": false, "": false, "1.1.1/etcd3/x": false,
		"1.1.1-rc.0/etcd3": true, "10.100.1000/etcd3": true, "3.0.17/etcd2": true, " 3.5.35/etcd3\n": true,
	} {
		got, err := ParseStamp(s)
		if (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
		if ok && got.String() != strings.TrimSpace(s) {
			t.Errorf("%q became %q", s, got)
		}
	}
}

func TestVersionsAreOrderedAsSemverSays(t *testing.T) {
	want := []string{"2.3.8", "3.0.17", "3.5.0-alpha", "3.5.0-alpha.1", "3.5.0-alpha.beta", "3.5.0-beta.2", "3.5.0-beta.11", "3.5.0-rc.1", "3.5.0", "3.5.9", "3.5.35", "3.10.0"}
	var got []Version
	for _, s := range slices.Backward(want) {
		v, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v)
	}
	slices.SortFunc(got, Version.Compare)
	for i, v := range got {
		if v.String() != want[i] {
			t.Errorf("at %d stands %s instead of %s", i, v, want[i])
		}
	}
}

func TestTheLineAfter23Is30(t *testing.T) {
	if got := (Line{2, 3}).Next(); got != (Line{3, 0}) {
		t.Error(got)
	}
	if got := (Line{3, 9}).Next(); got != (Line{3, 10}) {
		t.Error(got)
	}
}

func TestTheFileHoldsNoNewlineAndObeysTheUmask(t *testing.T) {
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	dir := t.TempDir()
	want := Stamp{Version{3, 5, 35, ""}, Etcd3}
	if err := WriteFile(dir, want); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil || string(b) != "3.5.35/etcd3" {
		t.Errorf("the file holds %q (%v)", b, err)
	}
	info, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file has mode %v (%v)", info.Mode(), err)
	}
	if _, err := os.Stat(filepath.Join(dir, NextName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", NextName, err)
	}
	got, err := ReadFile(dir)
	if err != nil || got != want {
		t.Errorf("read %v, %v", got, err)
	}
}

func TestAFileThatSaysTheSameIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	s := Stamp{Version{3, 5, 35, ""}, Etcd3}
	name := filepath.Join(dir, FileName)
	if err := os.WriteFile(name, []byte("3.5.35/etcd3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(dir, s); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(name)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was written again (%v)", err)
	}
}

func TestAHugeFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(strings.Repeat(" ", 1000)+"3.5.35/etcd3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(dir); err == nil {
		t.Error("it was read")
	}
}

func FuzzStamp(f *testing.F) {
	for _, s := range []string{"3.5.35/etcd3", "1.1.1-rc.0/etcd2", "1.1/etcd3", "\n", "999999999.0.0/etcd3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseStamp(s)
		if err != nil {
			return
		}
		again, err := ParseStamp(got.String())
		if err != nil || again != got {
			t.Errorf("%q became %q, which becomes %q (%v)", s, got, again, err)
		}
		if got.Version.Compare(again.Version) != 0 {
			t.Errorf("%s is not itself", got)
		}
	})
}
