package debian

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"time"
)

// A target is where a download goes. It can go on where a broken connection
// left off, and start anew.
type target struct {
	w     io.Writer
	reset func() error
	hash  hash.Hash
	n     int64
}

func newTarget(w io.Writer, reset func() error) *target {
	return &target{w: w, reset: reset, hash: sha256.New()}
}

func (t *target) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	t.hash.Write(b[:n])
	t.n += int64(n)
	return n, err
}

func (t *target) restart() error {
	t.hash.Reset()
	t.n = 0
	return t.reset()
}

func (t *target) sum() string { return hex.EncodeToString(t.hash.Sum(nil)) }

// expectation is what is known of a file before it is there.
type expectation struct {
	size   int64  // exact, or -1
	max    int64  // most bytes that are taken
	sha256 string // hex, or empty
}

var (
	errMissing  = errors.New("not there")
	errMismatch = errors.New("not what was signed")
	errOffline  = errors.New("the network was ruled out")
	errTooLarge = errors.New("larger than allowed")
	errStalled  = errors.New("no byte")
)

// transient is a failure that may pass.
type transient struct {
	err   error
	after time.Duration // what the server asks to be given, or 0
}

func (t *transient) Error() string { return t.err.Error() }
func (t *transient) Unwrap() error { return t.err }

// download fetches one URL into t and checks it against what is expected. It
// tries again while the failure may pass, going on where it stopped.
func (r *Resolver) download(ctx context.Context, rawURL string, want expectation, attempts int, t *target) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	if err := t.restart(); err != nil {
		return err
	}
	pause := r.opts.Backoff
	for attempt := 1; ; attempt++ {
		if u.Scheme == "file" {
			err = copyFile(ctx, u.Path, want, t)
		} else {
			err = r.request(ctx, rawURL, want, t)
		}
		var passing *transient
		if err == nil || !errors.As(err, &passing) || attempt >= attempts || ctx.Err() != nil {
			break
		}
		if errors.Is(err, errStalled) && t.n == 0 && attempt > 1 {
			break // nobody is there: every further attempt costs as long as this one
		}
		wait := max(pause, min(passing.after, 30*time.Second))
		r.log.Debug("trying again", "url", rawURL, "after", wait, "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause *= 2
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	return want.check(t)
}

func (want expectation) check(t *target) error {
	if want.size >= 0 && t.n != want.size {
		return fmt.Errorf("%w: %d bytes, not %d", errMismatch, t.n, want.size)
	}
	if want.sha256 != "" && t.sum() != want.sha256 {
		return fmt.Errorf("%w: SHA-256 %s, not %s", errMismatch, t.sum(), want.sha256)
	}
	return nil
}

func copyFile(ctx context.Context, name string, want expectation, t *target) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return errMissing
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", name)
	}
	if err := want.announced(info.Size()); err != nil {
		return err
	}
	return copyUpTo(ctx, t, f, want)
}

// announced refuses a file whose size alone says that it is the wrong one.
func (want expectation) announced(size int64) error {
	if size > want.max {
		return fmt.Errorf("%w: %d bytes, at most %d", errTooLarge, size, want.max)
	}
	if want.size >= 0 && size != want.size {
		return fmt.Errorf("%w: %d bytes, not %d", errMismatch, size, want.size)
	}
	return nil
}

func copyUpTo(ctx context.Context, t *target, src io.Reader, want expectation) error {
	limit := want.max
	if want.size >= 0 {
		limit = min(limit, want.size)
	}
	n, err := io.Copy(t, io.LimitReader(contextReader{ctx, src}, limit-t.n+1))
	if err != nil {
		return err
	}
	if n > 0 && t.n > limit {
		if want.size >= 0 {
			return fmt.Errorf("%w: more than %d bytes", errMismatch, limit)
		}
		return fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
	}
	return nil
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// request makes one HTTP request and copies its body.
func (r *Resolver) request(ctx context.Context, rawURL string, want expectation, t *target) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := fmt.Errorf("%w for %v", errStalled, r.opts.Stall)
	timer := time.AfterFunc(r.opts.Stall, func() { cancel(stalled) })
	defer timer.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rawURL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "etcdimg")
	req.Header.Set("Accept-Encoding", "identity") // the bytes as signed, not as a transport likes them
	if t.n > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(t.n, 10)+"-")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return classify(ctx, err)
	}
	defer resp.Body.Close()
	timer.Reset(r.opts.Stall)

	switch code := resp.StatusCode; {
	case code == http.StatusPartialContent && resumes(resp, t.n):
		if resp.ContentLength >= 0 {
			if err := want.announced(t.n + resp.ContentLength); err != nil {
				return err
			}
		}
	case code == http.StatusOK:
		if t.n > 0 {
			if err := t.restart(); err != nil {
				return err
			}
		}
		if resp.ContentLength >= 0 {
			if err := want.announced(resp.ContentLength); err != nil {
				return err
			}
		}
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("%w (%s)", errMissing, resp.Status)
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
	body := &watchedReader{r: resp.Body, timer: timer, stall: r.opts.Stall}
	if err := copyUpTo(ctx, t, body, want); err != nil {
		if body.err == nil {
			return err // of whoever takes the bytes
		}
		var passing *transient
		if err := classify(ctx, err); errors.As(err, &passing) || ctx.Err() != nil {
			return err
		}
		return &transient{err: err} // whatever breaks a connection once it stood
	}
	return nil
}

func resumes(resp *http.Response, at int64) bool {
	return at > 0 && strings.HasPrefix(resp.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(at, 10)+"-")
}

func retryAfter(resp *http.Response) time.Duration {
	s, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || s < 0 {
		return 0
	}
	return time.Duration(s) * time.Second
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
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
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
	if errors.As(err, &dns) && !dns.IsTimeout {
		return err
	}
	var op *net.OpError
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.As(err, &op) || isTimeout(err) {
		return &transient{err: err}
	}
	return err
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// join appends a path that is relative to an archive's root, as Release and
// Packages files write it, to a base URL.
func join(base, rel string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base + "/" + rel // never parsed further: download refuses it
	}
	u.Path = path.Join("/", u.Path, rel)
	u.RawPath = ""
	return u.String()
}

// attempts collects what each source said, so that the final error can name
// them all.
type attempts struct {
	said []string
	errs []error
}

func (a *attempts) add(url string, err error) {
	a.said = append(a.said, url+": "+err.Error())
	a.errs = append(a.errs, err)
}

// mismatched says whether a source gave something other than what was signed.
func (a *attempts) mismatched() bool {
	for _, err := range a.errs {
		if errors.Is(err, errMismatch) {
			return true
		}
	}
	return false
}

func (a *attempts) error(what, todo string) error {
	if len(a.said) == 0 {
		return fmt.Errorf("%s: no source is configured: %s", what, todo)
	}
	return &sourcesError{what: what, said: a.said, todo: todo, errs: a.errs}
}

// ErrUnavailable says that no source has a file as it is pinned.
var ErrUnavailable = errors.New("no source has it")

// sourcesError names every source that was asked and what each said. It is an
// ErrUnavailable.
type sourcesError struct {
	what, todo string
	said       []string
	errs       []error
}

func (e *sourcesError) Error() string {
	return e.what + ": no source has it:\n  " + strings.Join(e.said, "\n  ") + "\n" + e.todo
}

func (e *sourcesError) Unwrap() []error {
	return append(e.errs[:len(e.errs):len(e.errs)], ErrUnavailable)
}
