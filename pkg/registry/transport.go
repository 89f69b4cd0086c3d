package registry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// ErrPlain says that a registry speaks plain HTTP, and that nobody allowed it.
var ErrPlain = errors.New("plain HTTP is not allowed")

// guard chooses for every host how much its identity matters, and sends
// nothing over plain HTTP to one that was not allowed it, wherever a redirect
// or a token service leads.
type guard struct {
	insecure            Insecure
	verified, unchecked http.RoundTripper
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Hostname()
	lax := g.insecure == Anywhere || g.insecure == Loopback && isLoopback(host)
	switch {
	case lax:
		return g.unchecked.RoundTrip(req)
	case req.URL.Scheme != "https":
		remedy := "; --insecure=force allows it"
		if isLoopback(host) {
			remedy = "; --insecure allows it on this machine"
		}
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, fmt.Errorf("%w with %s%s", ErrPlain, req.URL.Host, remedy)
	}
	return g.verified.RoundTrip(req)
}

func isLoopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// patient waits as long as a registry asks for with Retry-After (RFC 9110,
// section 10.2.3), and sends the request again.
type patient struct {
	next     http.RoundTripper
	attempts int
	pause    time.Duration // where the registry names none
	longest  time.Duration
	log      *slog.Logger
}

func (p *patient) RoundTrip(req *http.Request) (*http.Response, error) {
	pause := p.pause
	for attempt := 1; ; attempt++ {
		resp, err := p.next.RoundTrip(req)
		if err != nil || attempt >= p.attempts {
			return resp, err
		}
		asked, ok := retryAfter(resp)
		busy := resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable && ok
		if !busy || asked > p.longest {
			return resp, nil
		}
		again := req.Clone(req.Context())
		if req.Body != nil && req.Body != http.NoBody {
			if req.GetBody == nil {
				return resp, nil
			}
			if again.Body, err = req.GetBody(); err != nil {
				return resp, nil
			}
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
		resp.Body.Close()
		wait := max(asked, pause)
		p.log.Debug("the registry is busy", "host", req.URL.Host, "status", resp.StatusCode, "waiting", wait)
		select {
		case <-time.After(wait):
		case <-req.Context().Done():
			return nil, req.Context().Err()
		}
		pause *= 2
		req = again
	}
}

// retryAfter is how long a registry asks to be left alone, in seconds or until
// a date.
func retryAfter(resp *http.Response) (time.Duration, bool) {
	h := resp.Header.Get("Retry-After")
	if s, err := strconv.ParseUint(h, 10, 31); err == nil {
		return time.Duration(s) * time.Second, true
	}
	if t, err := http.ParseTime(h); err == nil {
		return max(0, time.Until(t)), true
	}
	return 0, false
}

// passes tells failures that may pass from those that won't.
func passes(err error) bool {
	if err == nil || errors.Is(err, ErrPlain) {
		return false
	}
	if te := new(transport.Error); errors.As(err, &te) {
		// An upload may be forgotten, or its token expire, while it is under way.
		unknown := te.StatusCode == http.StatusNotFound && te.Request != nil && strings.Contains(te.Request.URL.Path, "/blobs/uploads/")
		return te.Temporary() || te.StatusCode >= 500 || unknown
	}
	var op *net.OpError
	var slow interface{ Timeout() bool }
	switch {
	case errors.As(err, &slow) && slow.Timeout():
		return true
	case errors.As(err, &op):
		return op.Op != "dial" || errors.Is(err, syscall.ECONNREFUSED)
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed)
}

// explain adds to what a registry said what can be done about it.
func explain(err error) error {
	if te := new(transport.Error); errors.As(err, &te) {
		switch te.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden:
			return fmt.Errorf("%w: sign in with docker login or podman login, or ask for the right to this repository", err)
		}
	}
	return err
}
