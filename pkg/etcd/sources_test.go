package etcd_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

// carried is a machine without a network, whose store has what another has
// fetched for a pin.
func carried(t *testing.T, from *machine, pin lock.Etcd) *machine {
	t.Helper()
	records, ok := from.compiler().Sources(pin)
	if !ok {
		t.Fatal("the sources are not all there")
	}
	to := newMachine(t, nil, "GOPROXY=off")
	var s cache.Selection
	for _, r := range records {
		if r.Kind != "" {
			s.Records = append(s.Records, cache.RecordName{Kind: r.Kind, Key: r.Key})
		}
		if r.Digest != "" {
			s.Blobs = append(s.Blobs, r.Digest)
		}
	}
	copyEntries(t, from.store, to.store, s)
	return to
}

func (m *machine) offline() *etcd.Compiler {
	c := m.compiler()
	c.Offline = true
	return c
}

func TestFetchedSourcesCompileWithoutANetwork(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.withEdit(nil)
	if _, ok := m.compiler().Sources(pin); ok {
		t.Fatal("there are sources before any were fetched")
	}
	if err := m.compiler().FetchSources(t.Context(), pin, []string{runtime.GOARCH}); err != nil {
		t.Fatal(err)
	}
	want := m.compile(pin, all...)
	far := carried(t, m, pin)
	made, err := far.offline().Compile(t.Context(), pin, runtime.GOARCH, all)
	if err != nil {
		t.Fatal(err)
	}
	if !equal(made, want) {
		t.Errorf("here %v, with a network %v", made, want)
	}
	ran := m.ran.total()
	if err := m.compiler().FetchSources(t.Context(), pin, []string{runtime.GOARCH}); err != nil || m.ran.total() != ran {
		t.Errorf("fetching again: %v, %d processes", err, m.ran.total()-ran)
	}
}

func TestWithoutSourcesTheGoCommandIsLeftWithItsOwnCache(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolveAll(fake)
	far := newMachine(t, nil, "GOPROXY=off")
	_, err := far.offline().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
	wantError(t, err, "v3@v"+fake)
}

func TestSourcesThatWereChangedAreNotStored(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolveAll(fake)
	if err := m.compiler().FetchSources(t.Context(), pin, []string{runtime.GOARCH}); err != nil {
		t.Fatal(err)
	}
	other := newMachine(t, []string{fake})
	if err := other.compiler().Prefetch(t.Context(), pin, []string{runtime.GOARCH}, all); err != nil {
		t.Fatal(err)
	}
	damage(t, filepath.Join(filepath.Dir(other.store.Dir()), "modcache", "cache", "download", "go.etcd.io/etcd/api/v3/@v/v"+fake+".mod"))
	if err := other.compiler().FetchSources(t.Context(), pin, []string{runtime.GOARCH}); err == nil {
		t.Error("a changed go.mod is stored")
	}
}

func copyEntries(t *testing.T, from, to *cache.Cache, s cache.Selection) {
	t.Helper()
	var b bytes.Buffer
	if _, err := from.Export(t.Context(), &b, s); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Import(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
}

func damage(t *testing.T, file string) {
	t.Helper()
	if err := errors.Join(os.Chmod(file, 0o644), os.WriteFile(file, []byte("module changed\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
}
