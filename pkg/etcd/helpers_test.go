package etcd_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

var update = flag.Bool("update", false, "write what tests compare with: wrapper modules in lines/, the table in docs/")

// fake is the version that the tests' module proxy serves, and no pin knows.
const fake = "3.6.99"

// recorder is a Runner that remembers what it ran.
type recorder struct {
	etcd.Processes
	mu   sync.Mutex
	runs []etcd.Command
}

func (r *recorder) Run(ctx context.Context, c etcd.Command) error {
	r.mu.Lock()
	r.runs = append(r.runs, c)
	r.mu.Unlock()
	return r.Processes.Run(ctx, c)
}

// count tells how many go commands with that first argument ran.
func (r *recorder) count(first string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, c := range r.runs {
		if c.Args[0] == first {
			n++
		}
	}
	return n
}

func (r *recorder) total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.runs)
}

// machine is a host: an environment, a store, and what ran on it.
type machine struct {
	t     *testing.T
	env   []string
	store *cache.Cache
	ran   *recorder

	mu     sync.Mutex
	events []etcd.Event
}

// newMachine returns a machine whose module proxy serves the given versions,
// with everything cold. The variables are added to its environment.
func newMachine(t *testing.T, versions []string, variables ...string) *machine {
	t.Helper()
	dir := t.TempDir()
	env, err := etcdtest.Proxy(dir, versions...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := etcdtest.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	store, err := cache.Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GOPATH=" + filepath.Join(dir, "gopath")}, env...)
	return &machine{t: t, env: append(env, variables...), store: store, ran: &recorder{}}
}

func (m *machine) observe(e etcd.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
}

func (m *machine) resolver() *etcd.Resolver {
	return &etcd.Resolver{Go: etcd.NewGo(m.env, m.ran), Events: m.observe}
}

func (m *machine) compiler() *etcd.Compiler {
	return &etcd.Compiler{Go: etcd.NewGo(m.env, m.ran), Store: m.store, Events: m.observe}
}

// request asks for a version, compiled by the toolchain that is there.
func request(version string) etcd.Request {
	return etcd.Request{Version: version, Toolchain: etcdtest.Toolchain(), Binaries: []string{"etcd"}}
}

func (m *machine) resolve(version string) lock.Etcd {
	m.t.Helper()
	pin, err := m.resolver().Resolve(m.t.Context(), request(version))
	if err != nil {
		m.t.Fatal(err)
	}
	return pin
}

func (m *machine) compile(pin lock.Etcd, binaries ...string) etcd.Binaries {
	m.t.Helper()
	made, err := m.compiler().Compile(m.t.Context(), pin, runtime.GOARCH, binaries)
	if err != nil {
		m.t.Fatal(err)
	}
	return made
}

// proxyRoot is the folder of the machine's module proxy.
func (m *machine) proxyRoot() string {
	return filepath.Join(filepath.Dir(m.store.Dir()), "proxy")
}

// reopen opens a store anew, as another process would.
func reopen(t *testing.T, dir string) *cache.Cache {
	t.Helper()
	store, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// set returns environment with variables set, replacing what was there.
func set(env []string, variables ...string) []string {
	env = slices.Clone(env)
	for _, v := range variables {
		name, _, _ := strings.Cut(v, "=")
		env = slices.DeleteFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
	}
	return append(env, variables...)
}

// script writes an executable shell script named go into a new directory, and
// returns the directory.
func script(t *testing.T, body string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// wantError fails unless err says all of what it must.
func wantError(t *testing.T, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error does not say %q:\n%v", s, err)
		}
	}
}
