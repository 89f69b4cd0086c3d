package fetch_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/fetch"
)

const content = "what is published, byte for byte"

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// exactly is what is known of the content.
var exactly = fetch.Expect{Size: int64(len(content)), SHA256: sum(content)}

// site is a server that answers the n-th request, from 1, as n says.
type site struct {
	url    string
	mu     sync.Mutex
	ranges []string
}

func newSite(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *site {
	s := &site{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.ranges = append(s.ranges, r.Header.Get("Range"))
		n := len(s.ranges)
		s.mu.Unlock()
		answer(n, w, r)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL + "/file"
	return s
}

func (s *site) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ranges)
}

func quick() *fetch.Fetcher { return patient(time.Minute) }

// patient waits so long for a byte: a machine may be slow, so that only what is
// to stall is asked by one with little patience.
func patient(stall time.Duration) *fetch.Fetcher {
	return fetch.New(fetch.Options{Attempts: 4, Backoff: time.Millisecond, Stall: stall})
}

// publish serves the content with ranges, as file servers do.
func publish(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("ETag", `"1"`)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}

// cut serves the first n bytes and breaks the connection.
func cut(w http.ResponseWriter, text string, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	_, _ = w.Write([]byte(text[:n]))
}

func TestFileIsFetchedAndChecked(t *testing.T) {
	s := newSite(t, func(_ int, w http.ResponseWriter, r *http.Request) { publish(w, r) })
	local := filepath.Join(t.TempDir(), "a file")
	if err := os.WriteFile(local, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	base, err := fetch.ParseBase(filepath.Dir(local))
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{s.url, fetch.Join(base, "a file")} {
		for name, want := range map[string]fetch.Expect{"all": exactly, "its digest": {Max: 100, SHA256: exactly.SHA256}, "nothing": {Max: 100}} {
			path := filepath.Join(t.TempDir(), "got")
			got, err := quick().File(t.Context(), url, path, want)
			if err != nil || got.Size != exactly.Size || got.SHA256 != exactly.SHA256 {
				t.Errorf("%s, knowing %s: %+v, %v", url, name, got, err)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != content {
				t.Errorf("%s: %q, %v", url, b, err)
			}
		}
		if b, err := quick().Bytes(t.Context(), url, 100); err != nil || string(b) != content {
			t.Errorf("%s: %q, %v", url, b, err)
		}
	}
}

func TestFailureThatPassesIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		first func(w http.ResponseWriter, r *http.Request)
		asked []string
	}{
		"busy":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, []string{"", ""}},
		"too many":    {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "0"); w.WriteHeader(429) }, []string{"", ""}},
		"bad gateway": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, []string{"", ""}},
		"hung up":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, []string{"", ""}},
		"cut short":   {func(w http.ResponseWriter, _ *http.Request) { cut(w, content, 7) }, []string{"", "bytes=7-"}},
		"silent":      {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, []string{"", ""}},
		"stalled": {func(w http.ResponseWriter, r *http.Request) {
			cut(w, content, 9)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, []string{"", "bytes=9-"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(n int, w http.ResponseWriter, r *http.Request) {
				if n == 1 {
					c.first(w, r)
					return
				}
				publish(w, r)
			})
			if _, err := patient(time.Second).File(t.Context(), s.url, filepath.Join(t.TempDir(), "got"), exactly); err != nil {
				t.Error(err)
			}
			if !slices.Equal(s.asked(), c.asked) {
				t.Errorf("asked for the ranges %q, not %q", s.asked(), c.asked)
			}
		})
	}
}

func TestServerWithoutRangesIsAskedForAllOfIt(t *testing.T) {
	for name, second := range map[string]func(w http.ResponseWriter){
		"ignores them": func(w http.ResponseWriter) { _, _ = w.Write([]byte(content)) },
		"refuses them": func(w http.ResponseWriter) { w.WriteHeader(416) },
		"serves others": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-3/32")
			w.WriteHeader(206)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(n int, w http.ResponseWriter, r *http.Request) {
				switch n {
				case 1:
					cut(w, content, 7)
				case 2:
					second(w)
				default:
					publish(w, r)
				}
			})
			if _, err := quick().File(t.Context(), s.url, filepath.Join(t.TempDir(), "got"), exactly); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFileThatChangesBetweenTwoAttemptsIsFetchedAnew(t *testing.T) {
	other := strings.ToUpper(content)
	// Without an ETag, only the digest tells.
	s := newSite(t, func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			cut(w, other, 7)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	})
	if _, err := quick().File(t.Context(), s.url, filepath.Join(t.TempDir(), "got"), exactly); err != nil {
		t.Error(err)
	}
	if want := []string{"", "bytes=7-", ""}; !slices.Equal(s.asked(), want) {
		t.Errorf("asked for the ranges %q, not %q", s.asked(), want)
	}
}

func TestFailureThatStaysIsToldAndLeavesNoFile(t *testing.T) {
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tls.Close)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	answer := func(f func(w http.ResponseWriter, r *http.Request)) string {
		return newSite(t, func(_ int, w http.ResponseWriter, r *http.Request) { f(w, r) }).url
	}
	for name, c := range map[string]struct {
		url  string
		want fetch.Expect
		is   error
		says string
	}{
		"missing":           {answer(http.NotFound), exactly, fetch.ErrMissing, "404"},
		"gone":              {answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }), exactly, fetch.ErrMissing, "410"},
		"forbidden":         {answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }), exactly, nil, "403 Forbidden"},
		"busy for ever":     {answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }), exactly, nil, "500 Internal Server Error, after 4 attempts"},
		"cut for ever":      {answer(func(w http.ResponseWriter, _ *http.Request) { cut(w, content, 3) }), exactly, nil, "after 4 attempts"},
		"silent for ever":   {answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), exactly, fetch.ErrStalled, "no byte arrived for 200ms, after 2 attempts"},
		"loop":              {answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/file", http.StatusFound) }), exactly, fetch.ErrRedirect, "leads back to itself"},
		"endless redirects": {answer(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }), exactly, fetch.ErrRedirect, "more than 10"},
		"other bytes":       {answer(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(strings.ToUpper(content))) }), exactly, fetch.ErrMismatch, exactly.SHA256},
		"another size":      {answer(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("short")) }), exactly, fetch.ErrMismatch, "5 bytes, not 32"},
		"too large":         {answer(publish), fetch.Expect{Max: 10}, fetch.ErrTooLarge, "at most 10"},
		"too large, unannounced": {answer(func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			_, _ = w.Write([]byte(content))
		}), fetch.Expect{Max: 10}, fetch.ErrTooLarge, "more than 10"},
		"nobody there":    {closed.URL, exactly, nil, "connection refused, after 4 attempts"},
		"no trust":        {tls.URL, exactly, nil, "certificate"},
		"no local file":   {"file:///nonexistent/file", exactly, fetch.ErrMissing, "not there"},
		"local directory": {"file:///", exactly, nil, "not a regular file"},
		"other scheme":    {"ftp://mirror.example/file", exactly, nil, "unsupported protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "got")
			url := strings.Replace(c.url, "http://", "http://someone:secret@", 1)
			f := quick()
			if errors.Is(c.is, fetch.ErrStalled) {
				f = patient(200 * time.Millisecond)
			}
			_, err := f.File(t.Context(), url, path, c.want)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error: %v", err)
			} else if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells a password: %v", err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a file is left: %v", err)
			}
		})
	}
}

func TestRedirectFromHTTPSToHTTPIsNotFollowed(t *testing.T) {
	plain := newSite(t, func(_ int, w http.ResponseWriter, r *http.Request) { publish(w, r) })
	secure := httptest.NewTLSServer(http.RedirectHandler(plain.url, http.StatusFound))
	t.Cleanup(secure.Close)
	f := fetch.New(fetch.Options{Transport: secure.Client().Transport})
	if _, err := f.Bytes(t.Context(), secure.URL, 100); !errors.Is(err, fetch.ErrRedirect) || len(plain.asked()) != 0 {
		t.Errorf("error: %v, and %d requests without https", err, len(plain.asked()))
	}
}

func TestRedirectIsFollowed(t *testing.T) {
	end := newSite(t, func(_ int, w http.ResponseWriter, r *http.Request) { publish(w, r) })
	start := newSite(t, func(_ int, w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, end.url, http.StatusFound) })
	if b, err := quick().Bytes(t.Context(), start.url, 100); err != nil || string(b) != content {
		t.Errorf("%q, %v", b, err)
	}
}

func TestFileThatIsThereIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine")
	if err := os.WriteFile(path, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(_ int, w http.ResponseWriter, r *http.Request) { publish(w, r) })
	if _, err := quick().File(t.Context(), s.url, path, exactly); !errors.Is(err, os.ErrExist) {
		t.Errorf("error: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestCancelledFetchEndsAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := newSite(t, func(_ int, _ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := fetch.New(fetch.Options{}).Bytes(ctx, s.url, 100); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}

func TestBaseIsAURLOrAFolder(t *testing.T) {
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string]string{
		"https://mirror.example/etcd/": "https://mirror.example/etcd/a/b",
		"http://127.0.0.1:80":          "http://127.0.0.1:80/a/b",
		"file:///srv/etcd":             "file:///srv/etcd/a/b",
		"file://localhost/srv/etcd":    "file://localhost/srv/etcd/a/b",
		"/srv/what not":                "file:///srv/what%20not/a/b",
		".":                            "file://" + here + "/a/b",
	} {
		base, err := fetch.ParseBase(s)
		if err != nil || fetch.Join(base, "a/b") != want {
			t.Errorf("%q: %q, %v", s, fetch.Join(base, "a/b"), err)
		}
	}
	for _, s := range []string{"", "ftp://mirror.example", "https://", "file://mirror.example/x", "https://mirror.example/?a", "http://a b/", "://"} {
		if base, err := fetch.ParseBase(s); err == nil {
			t.Errorf("%q is taken for %q", s, base)
		}
	}
}

func FuzzBaseIsReadOrRefused(f *testing.F) {
	for _, s := range []string{"https://mirror.example/x", "file:///srv", "rel/ative", "http://[::1]:80/%2e%2e", "x\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		base, err := fetch.ParseBase(s)
		if err != nil {
			return
		}
		if again, err := fetch.ParseBase(base); err != nil || again != base {
			t.Errorf("%q is read as %q, and that as %q, %v", s, base, again, err)
		}
		if joined := fetch.Join(base, "v1/file"); !strings.HasSuffix(joined, "/v1/file") {
			t.Errorf("%q joined is %q", base, joined)
		}
	})
}
