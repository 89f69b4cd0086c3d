// Package registrytest gives tests a registry inside their process, which
// remembers what it was asked and fails where a test wants it to.
package registrytest

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Registry is a registry on the loopback interface.
type Registry struct {
	Server *httptest.Server
	Host   string // 127.0.0.1:PORT

	mu       sync.Mutex
	requests []string
	fault    Fault
}

// Fault may answer a request in place of the registry; it returns true if it
// did. n counts the requests of the same method and path, from 1; uploads have
// one path each repository.
type Fault func(w http.ResponseWriter, r *http.Request, n int) bool

// New starts a registry that ends with the test. It speaks plain HTTP, and has
// the API that lists referrers unless told otherwise.
func New(t *testing.T, options ...registry.Option) *Registry {
	t.Helper()
	return start(t.Cleanup, httptest.NewServer, options)
}

// Start is New for those who have no *testing.T; cleanup takes what is to be
// done in the end.
func Start(cleanup func(func()), options ...registry.Option) *Registry {
	return start(cleanup, httptest.NewServer, options)
}

// NewTLS starts one with a certificate that nobody trusts.
func NewTLS(t *testing.T, options ...registry.Option) *Registry {
	t.Helper()
	return start(t.Cleanup, httptest.NewTLSServer, options)
}

func start(cleanup func(func()), serve func(http.Handler) *httptest.Server, options []registry.Option) *Registry {
	options = append([]registry.Option{registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)}, options...)
	inner := registry.New(options...)
	r := &Registry{}
	r.Server = serve(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		line := req.Method + " " + req.URL.Path
		r.mu.Lock()
		r.requests = append(r.requests, line)
		n, fault := 0, r.fault
		for _, earlier := range r.requests {
			if kind(earlier) == kind(line) {
				n++
			}
		}
		r.mu.Unlock()
		if fault != nil && fault(w, req, n) {
			return
		}
		inner.ServeHTTP(w, req)
	}))
	r.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	cleanup(r.Server.Close)
	r.Host = strings.TrimPrefix(strings.TrimPrefix(r.Server.URL, "https://"), "http://")
	return r
}

// kind is a request without the name of the upload that it is part of.
func kind(line string) string {
	before, _, ok := strings.Cut(line, "/blobs/uploads/")
	if !ok {
		return line
	}
	return before + "/blobs/uploads/"
}

// Fail makes the registry ask f before it answers; nil makes it whole again.
func (r *Registry) Fail(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
	r.requests = nil
}

// Requests are those that contain all of the words, in order of arrival, since
// the registry began or last changed its behaviour.
func (r *Registry) Requests(words ...string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []string
	for _, line := range r.requests {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			found = append(found, line)
		}
	}
	return found
}
