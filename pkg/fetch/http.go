package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// transient is a failure that may pass.
type transient struct {
	err   error
	after time.Duration // what the server asks to be given, or 0
}

func (t *transient) Error() string { return t.err.Error() }
func (t *transient) Unwrap() error { return t.err }

// request makes one HTTP request, for what t has not yet, and appends what
// comes (RFC 9110, sections 13.1.5 and 14).
func (f *Fetcher) request(ctx context.Context, rawURL string, want Expect, t *target) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := fmt.Errorf("%w for %v", ErrStalled, f.opts.Stall)
	timer := time.AfterFunc(f.opts.Stall, func() { cancel(stalled) })
	defer timer.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", f.opts.UserAgent)
	req.Header.Set("Accept-Encoding", "identity") // the bytes as published
	if t.n > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(t.n, 10)+"-")
		if t.etag != "" {
			req.Header.Set("If-Range", t.etag)
		}
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return classify(ctx, err)
	}
	defer resp.Body.Close()
	timer.Reset(f.opts.Stall)

	switch code := resp.StatusCode; {
	case code == http.StatusPartialContent && continues(resp, t.n):
		t.resumed = true
	case code == http.StatusOK:
		if err := t.restart(); err != nil {
			return err
		}
		if tag := resp.Header.Get("ETag"); !strings.HasPrefix(tag, "W/") {
			t.etag = tag
		}
		if m, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
			t.modified = m
		}
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("%w (%s)", ErrMissing, resp.Status)
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return &transient{err: errors.New(resp.Status), after: retryAfter(resp)}
	case t.n > 0:
		// A range that the server will not serve: from the start, then.
		if err := t.restart(); err != nil {
			return err
		}
		return &transient{err: errors.New(resp.Status)}
	default:
		return errors.New(resp.Status)
	}
	if resp.ContentLength >= 0 {
		if err := want.announced(t.n + resp.ContentLength); err != nil {
			return err
		}
	}
	body := &watchedReader{r: resp.Body, timer: timer, stall: f.opts.Stall}
	err = copyUpTo(ctx, t, body, want)
	if err == nil || body.err == nil {
		return err // of whoever takes the bytes
	}
	if classified := classify(ctx, err); errors.As(classified, new(*transient)) || ctx.Err() != nil {
		return classified
	}
	return &transient{err: err} // whatever breaks a connection once it stood
}

func continues(resp *http.Response, at int64) bool {
	return at > 0 && strings.HasPrefix(resp.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(at, 10)+"-")
}

func retryAfter(resp *http.Response) time.Duration {
	s, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return time.Duration(min(s, 3600)) * time.Second
}

// watchedReader puts the stall timer back whenever bytes arrive, and tells
// errors of the connection from errors of whoever takes the bytes.
type watchedReader struct {
	r     io.Reader
	timer *time.Timer
	stall time.Duration
	err   error
}

func (w *watchedReader) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if n > 0 {
		w.timer.Reset(w.stall)
	}
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// classify tells failures of the network that may pass from those that won't:
// a host without an address or a certificate that nobody trusts stays that way.
func classify(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrStalled) {
		return &transient{err: cause}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // the URL is said elsewhere
	}
	var dns *net.DNSError
	if errors.As(err, &dns) && !dns.IsTimeout && !dns.IsTemporary {
		return err
	}
	var op *net.OpError
	var slow interface{ Timeout() bool }
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.As(err, &op) || errors.As(err, &slow) && slow.Timeout() {
		return &transient{err: err}
	}
	return err
}
