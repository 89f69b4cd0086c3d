package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/fetch"
)

// newFetcher returns what downloads, and tries each URL so often.
func (o Options) newFetcher(attempts int) *fetch.Fetcher {
	return fetch.New(fetch.Options{Attempts: attempts, Backoff: o.Backoff, Stall: o.Stall, Transport: o.Transport, Log: o.Log})
}

// errTooLarge is content that exceeds what Limits allow.
var errTooLarge = errors.New("larger than allowed")

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

// attempts collects what each source said, so that the final error can name
// them all.
type attempts struct {
	said []string
	errs []error
}

// add takes an error that names its source.
func (a *attempts) add(err error) {
	a.said = append(a.said, err.Error())
	a.errs = append(a.errs, err)
}

// mismatched says whether a source gave something other than what was signed.
func (a *attempts) mismatched() bool {
	for _, err := range a.errs {
		if errors.Is(err, fetch.ErrMismatch) {
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

// Tampered says whether an error is that a source has other bytes under a name
// than those that were signed or pinned.
func Tampered(err error) bool { return errors.Is(err, fetch.ErrMismatch) }

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
