package debian_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

const somePath = "debian/pool/main/s/some/some_1.0_all.deb"

// locked resolves the simple archive's package.
func locked(t *testing.T, f *fixture) lock.Package {
	t.Helper()
	_, sets := f.mustResolve()
	return sets[0].Packages[0]
}

func TestATamperedPackageIsRefusedAndTheNextSourceServes(t *testing.T) {
	f := simple(t)
	p := locked(t, f)
	good := f.opts.Mirror
	f.Patch(func(files map[string][]byte) {
		deb := slices.Clone(files[somePath])
		deb[len(deb)/2] ^= 1
		files[somePath] = deb
	})
	r := f.resolver()
	_, err := r.Fetch(context.Background(), p)
	wantError(t, err, "package some 1.0 all", f.opts.Mirror+"/"+somePath, "SHA-256", "tampered with")
	if _, err := r.Unpack(context.Background(), p); err == nil {
		t.Error("a tampered package is unpacked")
	}

	apt := t.TempDir()
	writeFile(t, filepath.Join(apt, "sources.list"), "deb "+good+"/debian trixie main\n")
	f.opts.AptDir = apt
	digest, err := f.again().Fetch(context.Background(), p)
	if err != nil || digest != "sha256:"+p.SHA256 || !f.opts.Store.Has(digest) {
		t.Errorf("%s %v", digest, err)
	}
}

func TestWhatNoMirrorHasAnyMoreComesFromItsSnapshot(t *testing.T) {
	f := simple(t)
	p := locked(t, f)
	var asked []string
	files := f.Files()
	snapshot := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked = append(asked, req.URL.Path)
		if name, ok := strings.CutPrefix(req.URL.Path, "/archive/debian/"+p.Snapshot+"/"); ok {
			w.Write(files["debian/"+name])
			return
		}
		http.NotFound(w, req)
	}))
	f.Patch(func(files map[string][]byte) { delete(files, somePath) })
	r := f.resolver()
	_, err := r.Fetch(context.Background(), p)
	wantError(t, err, "404", "Mirrors drop old versions", "etcdimg lock --update debian")
	f.opts.Snapshot = snapshot
	digest, err := f.again().Fetch(context.Background(), p)
	if err != nil || digest != "sha256:"+p.SHA256 || len(asked) != 1 {
		t.Errorf("%s, %v; the snapshot archive was asked for %v", digest, err, asked)
	}
	f.opts.Offline = true
	if _, err := f.again().Fetch(context.Background(), p); err != nil {
		t.Errorf("what the cache has is not enough: %v", err)
	}
}

func TestATruncatedPackageIsRefused(t *testing.T) {
	f := simple(t)
	p := locked(t, f)
	f.Patch(func(files map[string][]byte) { files[somePath] = files[somePath][:100] })
	_, err := f.resolver().Fetch(context.Background(), p)
	wantError(t, err, "100 bytes, not")
	f.Patch(func(files map[string][]byte) { delete(files, somePath) })
	_, err = f.resolver().Fetch(context.Background(), p)
	wantError(t, err, "404", "Mirrors drop old versions")
}

func TestALargerPackageIsNotReadToItsEnd(t *testing.T) {
	f := simple(t)
	p := locked(t, f)
	var sent atomic.Int64
	f.opts.Mirror = serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush() // no Content-Length
		for range 1000 {
			n, err := w.Write(make([]byte, 64<<10))
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	_, err := f.again().Fetch(context.Background(), p)
	wantError(t, err, "more than", "not what was expected")
	if sent.Load() > 32<<20 {
		t.Errorf("%d bytes were taken", sent.Load())
	}
}

// flaky fails for the first requests as told, then serves data with ranges.
type flaky struct {
	data   []byte
	fail   func(w http.ResponseWriter, n int) bool
	mu     sync.Mutex
	n      int
	ranges []string
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	f.mu.Lock()
	f.n++
	n := f.n
	f.ranges = append(f.ranges, req.Header.Get("Range"))
	f.mu.Unlock()
	if f.fail(w, n) {
		return
	}
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(f.data))
}

func TestFailuresThatMayPassAreTriedAgain(t *testing.T) {
	for title, fail := range map[string]func(http.ResponseWriter, int) bool{
		"503": func(w http.ResponseWriter, n int) bool {
			if n == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return n == 1
		},
		"429": func(w http.ResponseWriter, n int) bool {
			if n == 1 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusTooManyRequests)
			}
			return n == 1
		},
		"a reset connection": func(w http.ResponseWriter, n int) bool {
			if n == 1 {
				conn, _, _ := w.(http.Hijacker).Hijack()
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
			return n == 1
		},
	} {
		t.Run(title, func(t *testing.T) {
			f := simple(t)
			p := locked(t, f)
			f.opts.Mirror = serve(t, &flaky{data: f.Files()[somePath], fail: fail})
			if _, err := f.again().Fetch(context.Background(), p); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	f := simple(t)
	p := locked(t, f)
	h := &flaky{fail: func(w http.ResponseWriter, _ int) bool { w.WriteHeader(http.StatusBadGateway); return true }}
	f.opts.Mirror = serve(t, h)
	f.opts.Attempts = 3
	_, err := f.again().Fetch(context.Background(), p)
	wantError(t, err, "502")
	if h.n != 3 {
		t.Errorf("%d requests", h.n)
	}
}

func TestAnInterruptedTransferGoesOnWhereItStopped(t *testing.T) {
	f := simple(t)
	p := locked(t, f)
	data := f.Files()[somePath]
	h := &flaky{data: data}
	h.fail = func(w http.ResponseWriter, n int) bool {
		if n > 1 {
			return false
		}
		conn, buf, _ := w.(http.Hijacker).Hijack()
		fmt.Fprintf(buf, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(data))
		buf.Write(data[:200])
		buf.Flush()
		conn.Close()
		return true
	}
	f.opts.Mirror = serve(t, h)
	if _, err := f.again().Fetch(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(h.ranges, []string{"", "bytes=200-"}) {
		t.Errorf("ranges: %q", h.ranges)
	}
}

func TestAStalledTransferIsGivenUp(t *testing.T) {
	f := simple(t)
	p := locked(t, f)
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Write([]byte("!<arch>"))
		w.(http.Flusher).Flush()
		select {
		case <-release:
		case <-req.Context().Done():
		}
	}))
	defer s.Close()
	defer close(release)
	f.opts.Mirror = s.URL
	f.opts.Stall, f.opts.Attempts = 20*time.Millisecond, 1
	_, err := f.again().Fetch(context.Background(), p)
	wantError(t, err, "no byte arrived for 20ms")
}

func TestCancellationEndsATransfer(t *testing.T) {
	f := simple(t)
	p := locked(t, f)
	ctx, cancel := context.WithCancel(context.Background())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		cancel()
		<-req.Context().Done()
	}))
	defer s.Close()
	f.opts.Mirror = s.URL
	if _, err := f.again().Fetch(ctx, p); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestAPackageIsFetchedOnceByManyAtOnce(t *testing.T) {
	f := simple(t)
	p := locked(t, f)
	r := f.again()
	before := len(f.Requests())
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := r.Unpack(context.Background(), p); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(f.Requests()) - before; n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestALockThatWasEditedIsRefused(t *testing.T) {
	f := simple(t)
	p := locked(t, f)
	for title, edit := range map[string]func(*lock.Package){
		"path":    func(p *lock.Package) { p.Path = "../../etc/passwd" },
		"digest":  func(p *lock.Package) { p.SHA256 = "../../x" },
		"name":    func(p *lock.Package) { p.Name = "../x" },
		"size":    func(p *lock.Package) { p.Size = -1 },
		"version": func(p *lock.Package) { p.Version = "" },
		"archive": func(p *lock.Package) { p.Archive = "gopher://x" },
	} {
		edited := p
		edit(&edited)
		if _, err := f.again().Fetch(context.Background(), edited); err == nil || !strings.Contains(err.Error(), "lock again") {
			t.Errorf("%s: %v", title, err)
		}
	}
	r := f.again()
	mustUnpack(t, r, p)
	p.Version = "2.0"
	_, err := r.Unpack(context.Background(), p)
	wantError(t, err, `Version is "1.0", not "2.0"`)
}

func TestADamagedPackInTheCacheIsMadeAgain(t *testing.T) {
	f := simple(t)
	p := locked(t, f)
	pkg := mustUnpack(t, f.again(), p)
	content := pkg.Entries[1].Content
	// Flip a byte of every blob: the cache is opened anew, as by another process.
	dir := f.opts.Store.(interface{ Dir() string }).Dir()
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if more, _ := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*", "*")); len(more) > 0 {
		blobs = more
	}
	if err != nil || len(blobs) == 0 {
		t.Fatal("no blobs", err)
	}
	for _, name := range blobs {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		os.Chmod(name, 0o644)
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f.opts.Store = reopen(t, dir)
	r := f.again()
	pkg = mustUnpack(t, r, p)
	if _, err := pkg.Entries[1].Content.Open(); err == nil {
		t.Fatal("a damaged pack is read")
	}
	pkg = mustUnpack(t, r, p)
	if got := read(t, pkg.Entries[1].Content); got != "some" || pkg.Entries[1].Content.Digest() != content.Digest() {
		t.Errorf("read %q", got)
	}
}
