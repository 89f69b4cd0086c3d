// Package fetch downloads single files over http, https or from a file URL,
// robustly: it tries again what may pass, goes on where a broken connection
// left off, follows so many redirects and no more, waits so long and no
// longer, takes so many bytes and no more, and checks what it took.
//
// It must not know what the files are, or where they are to be had.
package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"
)

// What can be wrong with a file, beyond what the network may have.
var (
	ErrMissing  = errors.New("not there")
	ErrMismatch = errors.New("not what was expected")
	ErrTooLarge = errors.New("larger than allowed")
	ErrStalled  = errors.New("no byte arrived")
	ErrRedirect = errors.New("redirects lead nowhere")
	ErrOffline  = errors.New("the network was ruled out")
)

// Options say how patient a Fetcher is. Zero values take the defaults.
type Options struct {
	Attempts  int               // how often one file is tried; 5
	Backoff   time.Duration     // the pause before the second attempt, doubled before each further one; 500 ms
	Stall     time.Duration     // how long no byte may arrive; 30 s
	Redirects int               // how many are followed; 10
	UserAgent string            // "etcdimg"
	Offline   bool              // file URLs are all that is fetched
	Transport http.RoundTripper // http.DefaultTransport, which knows the proxies of the environment
	Log       *slog.Logger      // nil for none
}

// maxPause bounds what a server can ask for with Retry-After.
const maxPause = 30 * time.Second

// Fetcher downloads files. Several goroutines may use one.
type Fetcher struct {
	opts   Options
	client *http.Client
}

// New returns a Fetcher.
func New(o Options) *Fetcher {
	if o.Attempts <= 0 {
		o.Attempts = 5
	}
	if o.Backoff <= 0 {
		o.Backoff = 500 * time.Millisecond
	}
	if o.Stall <= 0 {
		o.Stall = 30 * time.Second
	}
	if o.Redirects <= 0 {
		o.Redirects = 10
	}
	if o.UserAgent == "" {
		o.UserAgent = "etcdimg"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Fetcher{opts: o}
	f.client = &http.Client{Transport: o.Transport, CheckRedirect: f.checkRedirect}
	return f
}

func (f *Fetcher) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > f.opts.Redirects {
		return fmt.Errorf("%w: more than %d", ErrRedirect, f.opts.Redirects)
	}
	for _, earlier := range via {
		if earlier.URL.String() == req.URL.String() {
			return fmt.Errorf("%w: %s leads back to itself", ErrRedirect, req.URL.Redacted())
		}
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("%w: from https to %s", ErrRedirect, req.URL.Redacted())
	}
	return nil
}

// Expect is what is known of a file before it is there.
type Expect struct {
	Size   int64  // bytes; 0 if it is not known
	Max    int64  // most bytes that are taken, whatever Size says; required where Size is not known
	SHA256 string // hex; "" if it is not known
}

func (e Expect) limit() int64 {
	if e.Size > 0 && (e.Max == 0 || e.Size < e.Max) {
		return e.Size
	}
	return e.Max
}

// announced refuses a file whose size alone says that it is the wrong one.
func (e Expect) announced(size int64) error {
	switch {
	case e.Size > 0 && size != e.Size:
		return fmt.Errorf("%w: %d bytes, not %d", ErrMismatch, size, e.Size)
	case size > e.limit():
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, e.limit())
	}
	return nil
}

// Got is what a file turned out to be.
type Got struct {
	Size   int64  // bytes
	SHA256 string // hex
	// Modified is when the server says that it changed last (RFC 9110,
	// Last-Modified); zero where it does not say, and for file URLs.
	Modified time.Time
}

// File downloads a URL into a new file at path, and checks it. Nothing is at
// path when it fails. Errors name the URL, without a password.
func (f *Fetcher) File(ctx context.Context, rawURL, path string, want Expect) (Got, error) {
	w, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return Got{}, err
	}
	t := &target{file: w}
	err = f.fetch(ctx, rawURL, want, t)
	if closed := w.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return Got{}, errors.Join(err, os.Remove(path))
	}
	return Got{Size: t.n, SHA256: t.sum, Modified: t.modified}, nil
}

// Bytes downloads a small file of at most max bytes.
func (f *Fetcher) Bytes(ctx context.Context, rawURL string, max int64) ([]byte, error) {
	dir, err := os.MkdirTemp("", "etcdimg-fetch-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := f.File(ctx, rawURL, dir+"/file", Expect{Max: max}); err != nil {
		return nil, err
	}
	return os.ReadFile(dir + "/file")
}

// target is the file that a download goes to, in as many pieces as it takes.
type target struct {
	file    *os.File
	n       int64
	etag    string // of what the bytes so far are from
	resumed bool
	sum     string // hex, once it was checked

	modified time.Time // as the server says; zero if it does not
}

func (t *target) Write(b []byte) (int, error) {
	n, err := t.file.Write(b)
	t.n += int64(n)
	return n, err
}

func (t *target) restart() error {
	t.n, t.etag, t.resumed, t.modified = 0, "", false, time.Time{}
	if err := t.file.Truncate(0); err != nil {
		return err
	}
	_, err := t.file.Seek(0, io.SeekStart)
	return err
}

// check computes the digest of what is there, and holds it against want.
func (t *target) check(want Expect) error {
	if err := want.announced(t.n); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(t.file, 0, t.n)); err != nil {
		return err
	}
	t.sum = hex.EncodeToString(h.Sum(nil))
	if want.SHA256 != "" && t.sum != want.SHA256 {
		return fmt.Errorf("%w: its SHA-256 is %s, not %s", ErrMismatch, t.sum, want.SHA256)
	}
	return nil
}

// fetch tries until the file is there and right, or trying is no use.
func (f *Fetcher) fetch(ctx context.Context, rawURL string, want Expect, t *target) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	shown := u.Redacted()
	pause := f.opts.Backoff
	stalls := 0
	for attempt := 1; ; attempt++ {
		if u.Scheme == "file" {
			err = copyFile(ctx, u.Path, want, t)
		} else if f.opts.Offline {
			err = ErrOffline
		} else {
			err = f.request(ctx, rawURL, want, t)
		}
		if err == nil {
			err = t.check(want)
			if errors.Is(err, ErrMismatch) && t.resumed {
				// The pieces may be from different states of the file.
				if err := t.restart(); err != nil {
					return err
				}
				err = &transient{err: err}
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", shown, context.Cause(ctx))
		}
		if errors.Is(err, ErrStalled) {
			stalls++
		}
		var passing *transient
		switch {
		case err == nil:
			return nil
		case !errors.As(err, &passing):
			return fmt.Errorf("%s: %w", shown, err)
		case attempt >= f.opts.Attempts, stalls > 1 && t.n == 0: // nobody is there: each attempt costs as long as this one
			return fmt.Errorf("%s: %w, after %d attempts", shown, err, attempt)
		}
		wait := max(pause, min(passing.after, maxPause))
		f.opts.Log.Debug("trying again", "url", shown, "after", wait, "have", t.n, "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", shown, context.Cause(ctx))
		}
		pause *= 2
	}
}

func copyFile(ctx context.Context, name string, want Expect, t *target) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrMissing
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
		return errors.New("it is not a regular file")
	}
	if err := want.announced(info.Size()); err != nil {
		return err
	}
	return copyUpTo(ctx, t, f, want)
}

// copyUpTo copies as much as may be, and one byte more to tell that there is
// more.
func copyUpTo(ctx context.Context, t *target, src io.Reader, want Expect) error {
	_, err := io.Copy(t, io.LimitReader(contextReader{ctx, src}, want.limit()-t.n+1))
	if err != nil || t.n <= want.limit() {
		return err
	}
	kind := ErrTooLarge
	if want.limit() == want.Size {
		kind = ErrMismatch
	}
	return fmt.Errorf("%w: more than %d bytes", kind, want.limit())
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
