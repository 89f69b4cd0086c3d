//go:build e2e

package etcd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/etcd"
)

// hostResolver resolves with the go command, the module proxy and the checksum
// database that the machine is set up for.
func hostResolver() *etcd.Resolver {
	return &etcd.Resolver{Go: etcd.NewGo(os.Environ(), etcd.Processes{})}
}

func TestOlderPatchVersionResolvesFromTheModuleProxy(t *testing.T) {
	pin, err := hostResolver().Resolve(t.Context(), etcd.Request{Version: "3.6.12", Binaries: []string{"etcd"}})
	if err != nil {
		t.Fatal(err)
	}
	if pin.ModuleVersion != "v3.6.12" || pin.Date.Year() < 2025 || !strings.Contains(pin.GoSum, "go.etcd.io/etcd/server/v3 v3.6.12 h1:") {
		t.Errorf("pinned %s of %v:\n%s", pin.ModuleVersion, pin.Date, pin.GoMod)
	}
}

func TestVersionThatWasNeverReleasedIsRefusedWithTheList(t *testing.T) {
	_, err := hostResolver().Resolve(t.Context(), etcd.Request{Version: "3.6.999", Binaries: []string{"etcd"}})
	wantError(t, err, "no etcd 3.6.999", "3.6.12", "3.6.16")
}

func TestBumpOfARealDependencyIsPinned(t *testing.T) {
	pin, err := hostResolver().Resolve(t.Context(), etcd.Request{Version: "3.6.16", Bump: map[string]string{"github.com/spf13/pflag": "v1.0.10", "github.com/dustin/go-humanize": "v1.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(pin.GoSum, "github.com/spf13/pflag v1.0.10 h1:") {
		t.Errorf("go.mod:\n%s", pin.GoMod)
	}
}

// A pin that is embedded is one that resolving gives, byte for byte: so it can
// be made anew by anyone, and a version that is not embedded is as good as one
// that is.
func TestEmbeddedPinsAreWhatResolvingGives(t *testing.T) {
	for _, l := range etcd.Lines() {
		t.Run(l.Name, func(t *testing.T) {
			w, err := hostResolver().Complete(t.Context(), etcd.Request{Version: l.Newest})
			if err != nil {
				t.Fatal(err)
			}
			for ending, got := range w {
				file := filepath.Join("lines", l.Newest+ending)
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
					continue
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("%s is not what resolving gives; run the test with -update and look at the difference", file)
				}
			}
		})
	}
}
