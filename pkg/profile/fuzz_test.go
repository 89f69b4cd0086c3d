package profile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/profile"
)

// FuzzRead holds what must be true of any bytes: they are refused with a place
// and a remedy for each mistake, or read into a profile that can be printed and
// read again.
func FuzzRead(f *testing.F) {
	for _, pattern := range []string{"bad/*.yaml", "bad/*.part", "good/*.y*ml", "good/shared/*.yaml"} {
		found, err := filepath.Glob(filepath.Join(testdata, pattern))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range found {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// The included file is part of what is read.
		open := func(name string) ([]byte, error) {
			if name == "fuzz.yaml" {
				return data, nil
			}
			return []byte("labels: {included: file}\nwork-dir: /\n"), nil
		}
		p, err := profile.Read("fuzz.yaml", open)
		if err != nil {
			var all profile.Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("is %T: %v", err, err)
			}
			for _, problem := range all {
				if problem.File == "" || problem.Message == "" || problem.Remedy == "" {
					t.Errorf("lacks a place, a reason or a remedy: %+v", problem)
				}
			}
			return
		}
		text, err := p.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := profile.Read("fuzz.yaml", func(string) ([]byte, error) { return text, nil })
		if err != nil {
			t.Fatalf("can not be read again: %v\n%s", err, text)
		}
		if again.Digest() != p.Digest() {
			t.Errorf("is another profile when read again:\n%s", text)
		}
	})
}
