package debian

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/etcdimg/etcdimg/pkg/fetch"
)

// Store is what the package needs of a cache: blobs by the digest of their
// bytes ("sha256:<hex>"), and records by a hex digest of everything that
// determined them. Open yields only bytes that have been checked against the
// digest. Any error of ReadRecord or Open counts as "not there", after which
// the thing is made again.
type Store interface {
	Put(ctx context.Context, r io.Reader) (digest string, size int64, err error)
	PutFile(ctx context.Context, path string) (digest string, size int64, err error)
	Has(digest string) bool
	Open(digest string) (*os.File, error)
	ReadRecord(kind, key string, v any) error
	WriteRecord(kind, key string, v any) error
	Lock(ctx context.Context, kind, key string) (unlock func(), err error)
	TempDir() (dir string, remove func(), err error)
}

// SnapshotBase is where every past state of the Debian archive is kept.
const SnapshotBase = "https://snapshot.debian.org"

// None, as Options.Snapshot, leaves the snapshot archive out.
const None = "none"

// Options say where packages come from and how much of them is too much. Only
// Store is required for everything; Now is required to resolve.
type Options struct {
	Store Store

	// Mirror is the base URL of a mirror (http, https or file) that is asked
	// first for named archives: "debian" or "debian-security" is appended
	// unless it ends in such a name already. Empty for none.
	Mirror string
	// AptDir is the host's apt configuration, /etc/apt, whose sources are
	// asked after Mirror. Empty for none.
	AptDir string
	// Snapshot is the base URL of the snapshot archive, which is asked last.
	// Empty means SnapshotBase; None leaves it out.
	Snapshot string

	// Now is the time that Valid-Until is held against and, rounded down to
	// the hour, the snapshot that is resolved from where no mirror answers.
	Now time.Time
	// MaxAge is how long a suite's index is used before it is asked for
	// again: an hour if zero; if negative, it is asked for every time. It
	// decides only whether to ask, never what comes of the answer.
	MaxAge time.Duration
	// Offline forbids the network: what the Store lacks is an error.
	Offline bool
	// SkipSuites are omissions that the caller allows, each SUITE:ARCH with a
	// Debian or Go architecture name. The lock records them.
	SkipSuites []string

	// Transport performs requests; nil means http.DefaultTransport with
	// proxies from the environment.
	Transport http.RoundTripper
	// Stall, Attempts and Backoff say how patient downloads are, as
	// fetch.Options do.
	Stall    time.Duration
	Attempts int
	Backoff  time.Duration

	Limits Limits
	Log    *slog.Logger // nil for none
}

// Limits bound what an archive can make this process hold or write. Zero
// fields mean the defaults.
type Limits struct {
	Release int64 // bytes of an InRelease file; 32 MiB
	Index   int64 // bytes of a Packages file, decompressed; 512 MiB
	Deb     int64 // bytes of a .deb; 1 GiB
	Control int64 // bytes of a control archive, decompressed; 64 MiB
	Data    int64 // bytes of a data archive, decompressed; 4 GiB
	Entries int   // entries of a data archive; 500,000
}

func (l Limits) withDefaults() Limits {
	const mib = 1 << 20
	for _, d := range []struct {
		field *int64
		value int64
	}{{&l.Release, 32 * mib}, {&l.Index, 512 * mib}, {&l.Deb, 1024 * mib}, {&l.Control, 64 * mib}, {&l.Data, 4096 * mib}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if l.Entries == 0 {
		l.Entries = 500_000
	}
	return l
}

// Resolver resolves, downloads and unpacks packages. Its methods may be called
// from any number of goroutines at once.
type Resolver struct {
	opts     Options
	fetch    *fetch.Fetcher
	once     *fetch.Fetcher // does not try again
	log      *slog.Logger
	apt      []string // archive URIs of the host's apt configuration, in its order
	unpacked sync.Map // record key → *Package
}

// NewResolver checks the options and reads the host's apt configuration where
// one is named. It does not touch the network.
func NewResolver(opts Options) (*Resolver, error) {
	if opts.Store == nil {
		return nil, errors.New("debian: Options.Store is missing")
	}
	opts.Limits = opts.Limits.withDefaults()
	if opts.MaxAge == 0 {
		opts.MaxAge = time.Hour
	}
	if opts.Snapshot == "" {
		opts.Snapshot = SnapshotBase
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.Proxy = http.ProxyFromEnvironment
		t.MaxIdleConnsPerHost = 8
		opts.Transport = t
	}
	if err := checkSkips(opts.SkipSuites); err != nil {
		return nil, err
	}
	if opts.Mirror != "" {
		if _, err := parseBase(opts.Mirror); err != nil {
			return nil, err
		}
	}
	r := &Resolver{opts: opts, fetch: opts.newFetcher(opts.Attempts), once: opts.newFetcher(1), log: opts.Log}
	if opts.AptDir != "" {
		uris, problems := readAptDir(opts.AptDir)
		for _, p := range problems {
			r.log.Warn("passing over part of the host's apt configuration", "reason", p)
		}
		r.apt = uris
	}
	return r, nil
}

// debianArchs maps Go architecture names to Debian's.
var debianArchs = []struct{ goarch, debian string }{
	{"amd64", "amd64"},
	{"arm64", "arm64"},
	{"ppc64le", "ppc64el"},
	{"s390x", "s390x"},
}

// DebianArch is Debian's name of a Go architecture, and whether it has one.
func DebianArch(goarch string) (string, bool) {
	for _, a := range debianArchs {
		if a.goarch == goarch {
			return a.debian, true
		}
	}
	return "", false
}

func goArchNames() string {
	var names []string
	for _, a := range debianArchs {
		names = append(names, a.goarch)
	}
	return strings.Join(names, ", ")
}
