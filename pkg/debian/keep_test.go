package debian_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

// outdated is a resolved archive, and the same archive later: every package is
// there in another version, and app needs the other lib.
func outdated(t *testing.T, arch string) (*fixture, lock.Debian) {
	t.Helper()
	f := newFixture(t)
	f.req.Archs, f.req.Packages = []string{"amd64"}, []string{"app", "other"}
	f.Suite("debian", "trixie").Add(
		deb{Name: "app", Version: "1", Arch: arch, Fields: fields("Depends", "lib (= 1)")},
		deb{Name: "lib", Version: "1", Arch: arch}, deb{Name: "other", Version: "1", Arch: arch})
	_, sets := f.mustResolve()
	for _, p := range sets[0].Packages { // into the store, as a lock does
		if _, err := f.again().Fetch(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	old := f.Mirror
	f.Mirror = debiantest.NewMirror(now)
	f.Suite("debian", "trixie").Keys = []*debiantest.Key{old.Key}
	f.Suite("debian", "trixie").Add(
		deb{Name: "app", Version: "2", Arch: arch, Fields: fields("Depends", "lib (= 2), extra")},
		deb{Name: "lib", Version: "2", Arch: arch}, deb{Name: "other", Version: "2", Arch: arch}, deb{Name: "extra", Version: "2", Arch: arch})
	f.opts.MaxAge = -1
	return f, sets[0]
}

func without(set lock.Debian, names ...string) map[string][]lock.Package {
	var kept []lock.Package
	for _, p := range set.Packages {
		if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+p.Name+" ") {
			kept = append(kept, p)
		}
	}
	return map[string][]lock.Package{set.Arch: kept}
}

func TestKeptPackagesStayThoughNoIndexOffersThem(t *testing.T) {
	for _, arch := range []string{"all", "amd64"} {
		f, set := outdated(t, arch)
		f.req.Keep = without(set)
		_, sets := f.mustResolve()
		if !reflect.DeepEqual(sets[0].Packages, set.Packages) {
			t.Errorf("%s: %+v, want what the lock has: %+v", arch, sets[0].Packages, set.Packages)
		}
		f.req.Keep = without(set, "other")
		_, sets = f.mustResolve()
		if got := names(sets[0]); got != "app=1 lib=1 other=2" {
			t.Errorf("%s: with another other: %s", arch, got)
		}
		f.req.Keep = without(set, "app", "lib")
		_, sets = f.mustResolve()
		if got := names(sets[0]); got != "app=2 extra=2 lib=2 other=1" {
			t.Errorf("%s: with another app and lib: %s", arch, got)
		}
	}
}

func TestAPackageThatNeedsAnotherThanTheKeptIsExplained(t *testing.T) {
	f, set := outdated(t, "amd64")
	f.req.Keep = without(set, "app")
	_, _, err := f.resolver().Resolve(t.Context(), f.req)
	var unsolvable *debian.UnsolvableError
	if !errors.As(err, &unsolvable) || !strings.Contains(err.Error(), "app 2 (trixie)") || !strings.Contains(err.Error(), "lib: 1 (trixie)") {
		t.Errorf("error: %v", err)
	}
}
