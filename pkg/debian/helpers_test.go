package debian_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

var (
	now   = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	archs = []string{"amd64", "arm64", "ppc64le", "s390x"}
)

// fixture is a mirror, and a cache that starts out empty.
type fixture struct {
	*debiantest.Mirror
	t    *testing.T
	opts debian.Options
	req  debian.Request
}

// newFixture makes an empty mirror and options that ask nobody else.
func newFixture(t *testing.T) *fixture {
	t.Helper()
	m := debiantest.NewMirror(now)
	return &fixture{
		Mirror: m, t: t,
		opts: debian.Options{
			Store: newStore(t), Snapshot: debian.None, Now: now,
			Attempts: 2, Backoff: time.Millisecond, Log: slog.New(slog.DiscardHandler),
		},
		req: debian.Request{Repositories: []string{"debian trixie main"}, Archs: archs, Keyring: [][]byte{m.Key.Public()}},
	}
}

func hardened(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.AddHardened()
	f.req.Repositories, f.req.Packages = debiantest.HardenedRepositories(), debiantest.HardenedPackages()
	return f
}

func newStore(t *testing.T) *cache.Cache {
	t.Helper()
	c, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// resolver serves the mirror as it is now and returns a resolver that asks it.
func (f *fixture) resolver() *debian.Resolver {
	f.t.Helper()
	f.opts.Mirror = f.Serve(f.t)
	return f.again()
}

// again returns a new resolver with the options as they are.
func (f *fixture) again() *debian.Resolver {
	f.t.Helper()
	r, err := debian.NewResolver(f.opts)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) resolve(packages ...string) ([]lock.Suite, []lock.Debian, error) {
	f.t.Helper()
	if len(packages) > 0 {
		f.req.Packages = packages
	}
	return f.resolver().Resolve(context.Background(), f.req)
}

func (f *fixture) mustResolve(packages ...string) ([]lock.Suite, []lock.Debian) {
	f.t.Helper()
	suites, sets, err := f.resolve(packages...)
	if err != nil {
		f.t.Fatal(err)
	}
	return suites, sets
}

// names lists a set as NAME=VERSION.
func names(set lock.Debian) string {
	var out []string
	for _, p := range set.Packages {
		out = append(out, p.Name+"="+p.Version)
	}
	return strings.Join(out, " ")
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error lacks %q:\n%v", p, err)
		}
	}
}

func mustUnpack(t *testing.T, r *debian.Resolver, p lock.Package) *debian.Package {
	t.Helper()
	pkg, err := r.Unpack(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

// serve starts a server for the test's time and returns its URL.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
