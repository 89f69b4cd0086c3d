// Package registry talks to OCI registries (OCI distribution-spec v1.1): it
// pushes, pulls and copies images with what refers to them, and moves tags. It
// signs in through the usual keychains (docker's configuration and credential
// helpers, podman's authentication file), waits as a registry asks to, tries
// again what may pass, and uploads nothing that is there.
//
// Whatever is pushed is pushed by digest. Tags are moved by a call of their
// own, which a caller makes last, so that a tag never names half an image.
//
// It must not know what the images are, or what refers to them.
package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Options say how to reach registries. Zero values take the defaults.
type Options struct {
	Keychain  authn.Keychain // authn.DefaultKeychain
	CAFile    string         // PEM certificates that are trusted beside the system's
	Insecure  Insecure       // Never
	Jobs      int            // uploads at once; 4
	Attempts  int            // how often one upload or request is tried; 6
	Backoff   time.Duration  // the pause before the second attempt, doubled before each further one; 500 ms
	MaxWait   time.Duration  // the longest pause that a registry is granted by Retry-After; 1 minute
	UserAgent string         // "etcdimg"
	Log       *slog.Logger   // nil for none
}

// Insecure says with which registries to speak plain HTTP, or TLS without a
// look at their certificate.
type Insecure int

// The degrees of trust.
const (
	Never    Insecure = iota // none
	Loopback                 // those on this machine
	Anywhere                 // all
)

// Client talks to registries. Several goroutines may use one; it keeps
// connections and tokens for as long as it lives.
type Client struct {
	insecure Insecure
	remote   []remote.Option
	pusher   *remote.Pusher
	puller   *remote.Puller
}

// New returns a client. It connects to nothing yet.
func New(o Options) (*Client, error) {
	if o.Keychain == nil {
		o.Keychain = authn.DefaultKeychain
	}
	if o.Jobs <= 0 {
		o.Jobs = 4
	}
	if o.Attempts <= 0 {
		o.Attempts = 6
	}
	if o.Backoff <= 0 {
		o.Backoff = 500 * time.Millisecond
	}
	if o.MaxWait <= 0 {
		o.MaxWait = time.Minute
	}
	if o.UserAgent == "" {
		o.UserAgent = "etcdimg"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	roots, err := trusted(o.CAFile)
	if err != nil {
		return nil, err
	}
	c := &Client{insecure: o.Insecure}
	c.remote = []remote.Option{
		remote.WithAuthFromKeychain(o.Keychain),
		remote.WithJobs(o.Jobs),
		remote.WithUserAgent(o.UserAgent),
		remote.WithRetryBackoff(remote.Backoff{Duration: o.Backoff, Factor: 2, Jitter: 0.1, Steps: o.Attempts}),
		remote.WithRetryPredicate(passes),
		remote.WithTransport(&patient{
			attempts: o.Attempts,
			pause:    o.Backoff,
			longest:  o.MaxWait,
			log:      o.Log,
			next: &guard{
				insecure:  o.Insecure,
				verified:  roundTripper(&tls.Config{RootCAs: roots}),
				unchecked: roundTripper(&tls.Config{InsecureSkipVerify: true}), //nolint:gosec // asked for, and for the hosts that guard lets through
			},
		}),
	}
	if c.pusher, err = remote.NewPusher(c.remote...); err != nil {
		return nil, err
	}
	if c.puller, err = remote.NewPuller(c.remote...); err != nil {
		return nil, err
	}
	return c, nil
}

// Remote are the options under which others may talk to registries as this
// client does, through go-containerregistry.
func (c *Client) Remote(ctx context.Context) []remote.Option {
	return append(c.remote[:len(c.remote):len(c.remote)], remote.WithContext(ctx))
}

// ParseReference reads the name of an image as docker does: REGISTRY/REPO:TAG
// or REGISTRY/REPO@DIGEST; without both the tag is latest.
func (c *Client) ParseReference(s string) (name.Reference, error) {
	return name.ParseReference(s, c.nameOptions()...)
}

// ParseRepository reads REGISTRY/REPO.
func (c *Client) ParseRepository(s string) (name.Repository, error) {
	return name.NewRepository(s, c.nameOptions()...)
}

func (c *Client) nameOptions() []name.Option {
	if c.insecure == Anywhere {
		return []name.Option{name.Insecure}
	}
	return nil
}

// trusted are the certificates that registries' are held against; nil for the
// system's.
func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading certificates: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("reading the system's certificates: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return pool, nil
}

// headerTimeout is how long a registry may think before it answers. It is long
// because some move a blob to its place before they do.
const headerTimeout = 5 * time.Minute

func roundTripper(c *tls.Config) http.RoundTripper {
	t := remote.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = c
	t.ResponseHeaderTimeout = headerTimeout
	return t
}
