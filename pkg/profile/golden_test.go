package profile_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files anew")

const testdata = "../../testdata/profiles"

// golden compares with a file, or writes it with -update.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not what there is now (-want +got); go test -update writes it anew:\n%s", filepath.Base(file), diff)
	}
}

// below opens names beneath a directory, so that no path of the machine gets
// into results.
func below(dir string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if perr, ok := err.(*os.PathError); ok {
			perr.Path = name
		}
		return data, err
	}
}
