package etcd_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
	"github.com/etcdimg/etcdimg/pkg/fetch"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

// released is a version that no pin knows, so its date is the archives'.
const released = "3.6.99"

// program is a program as releases have it, with a comment that tells it apart.
func program(arch, comment string) []byte { return etcdtest.Program(arch, comment) }

// dynamic is the same program, asking for an interpreter.
func dynamic(arch string) []byte {
	b := program(arch, "dynamic")
	b[64] = 3 // PT_INTERP; little-endian architectures only
	return b
}

// file is a file in an archive.
type file struct {
	name    string
	content []byte
	kind    byte // as tar has it; 0 for a regular file
}

// pack makes a gzipped tar.
func pack(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.content)), Typeflag: f.kind, ModTime: etcdtest.Date().Add(300 * time.Millisecond)}
		if f.kind != 0 && f.kind != tar.TypeReg {
			h.Size, h.Linkname = 0, "/etc/passwd"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write(f.content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// topOf is the folder that an archive has everything in.
func topOf(arch string) string { return "etcd-v" + released + "-linux-" + arch + "/" }

// official are the files of an official archive.
func official(arch string) []file {
	top := topOf(arch)
	return []file{
		{name: top, kind: tar.TypeDir},
		{name: top + "README.md", content: []byte("read me")},
		{name: top + "etcd", content: program(arch, "etcd")},
		{name: top + "etcdctl", content: program(arch, "etcdctl")},
		{name: top + "etcdutl", content: program(arch, "etcdutl")},
	}
}

// page is a release page in a folder, and what was asked of it.
type page struct {
	t    *testing.T
	dir  string // of the version
	mu   sync.Mutex
	seen []string
}

// newPage publishes the official archives of architectures.
func newPage(t *testing.T, archs ...string) *page {
	p := &page{t: t, dir: filepath.Join(t.TempDir(), "v"+released)}
	if err := etcdtest.Release(filepath.Dir(p.dir), released, archs...); err != nil {
		t.Fatal(err)
	}
	return p
}

// publish adds an archive and its checksum.
func (p *page) publish(name string, content []byte) {
	p.write(name, content)
	f, err := os.OpenFile(filepath.Join(p.dir, "SHA256SUMS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprintf(f, "%s  %s\n", hexSHA256(string(content)), name)
}

func (p *page) write(name string, content []byte) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), content, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// ServeHTTP serves the folder, as a release page does.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.seen = append(p.seen, r.URL.Path)
	p.mu.Unlock()
	http.FileServer(http.Dir(filepath.Dir(p.dir))).ServeHTTP(w, r)
}

// count tells how often a file was asked for.
func (p *page) count(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, path := range p.seen {
		if strings.HasSuffix(path, "/"+name) {
			n++
		}
	}
	return n
}

// quick has little patience.
var quick = fetch.Options{Attempts: 3, Backoff: time.Millisecond, Stall: time.Second}

// from returns the place that base names.
func from(t *testing.T, base string) *etcd.Releases {
	t.Helper()
	r, err := etcd.NewReleases(etcd.ReleaseOptions{Base: base, Fetch: quick})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serve serves a page over loopback.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// releaseMachine is a machine without Go.
func releaseMachine(t *testing.T) *machine {
	return newMachine(t, nil, "PATH=/nonexistent")
}

func (m *machine) pinRelease(r *etcd.Releases, archs ...string) (lock.Etcd, error) {
	return m.pinSigned(r, nil, archs...)
}

func (m *machine) pinSigned(r *etcd.Releases, keys [][]byte, archs ...string) (lock.Etcd, error) {
	s := &etcd.Resolver{Go: etcd.NewGo(m.env, m.ran), Store: m.store, Releases: r, Events: m.observe}
	return s.Resolve(m.t.Context(), etcd.Request{Version: released, From: "release", Archs: archs, Keyring: keys})
}

func (m *machine) unpackRelease(r *etcd.Releases, pin lock.Etcd, arch string, binaries ...string) (etcd.Binaries, error) {
	return m.releaseCompiler(r).Compile(m.t.Context(), pin, arch, binaries)
}

func (m *machine) releaseCompiler(r *etcd.Releases) *etcd.Compiler {
	return &etcd.Compiler{Go: etcd.NewGo(m.env, m.ran), Store: m.store, Releases: r, Events: m.observe}
}
