package image

import (
	"os"
	"path/filepath"
	"testing"
)

// File systems that can not exchange two names are rare, so the other way is
// tried here directly.
func TestSwapPutsTheFreshDirectoryInTheOldOnesPlace(t *testing.T) {
	for name, exists := range map[string]bool{"with an old one": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			fresh, dir := filepath.Join(parent, ".dir.new-1"), filepath.Join(parent, "dir")
			mark(t, fresh, "fresh")
			if exists {
				mark(t, dir, "old")
			}
			if err := swap(fresh, dir); err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "mark")); err != nil || string(b) != "fresh" {
				t.Errorf("the mark is %q, %v", b, err)
			}
			if left, err := os.ReadDir(parent); err != nil || len(left) != 1 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

func TestAFailedSwapPutsTheOldDirectoryBack(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "dir")
	mark(t, dir, "old")
	if err := swap(filepath.Join(parent, "missing"), dir); err == nil {
		t.Error("what is missing was put in place")
	}
	if b, err := os.ReadFile(filepath.Join(dir, "mark")); err != nil || string(b) != "old" {
		t.Errorf("the mark is %q, %v", b, err)
	}
}

func mark(t *testing.T, dir, content string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mark"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
