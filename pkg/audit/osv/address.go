package osv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/fetch"
)

// maxDownload bounds what is taken from an address, in bytes.
const maxDownload = 2 << 30

// fresh is for how long what an address gave is not asked for again.
const fresh = time.Hour

// got is what an address gave.
type got struct {
	Blob     string    `json:"blob"`
	Modified time.Time `json:"modified"` // Last-Modified; zero where the server did not say
	Fetched  time.Time `json:"fetched"`
}

const addressKind = "osv-address"

// IsAddress says whether a source is one.
func IsAddress(source string) bool {
	return strings.HasPrefix(source, "https://") || strings.HasPrefix(source, "http://")
}

// Fetch reads the database in the archive at an address. What came from there
// less than an hour before now is taken from the store; offline, whatever
// came last is. log may be nil.
func Fetch(ctx context.Context, store Store, address string, now time.Time, offline bool, log *slog.Logger) (*Database, error) {
	var g got
	key := cache.Key(addressKind, address)
	known := store.ReadRecord(addressKind, key, &g) == nil
	var blob *os.File
	if known {
		var err error
		if blob, err = store.Open(g.Blob); err != nil {
			known = false
		} else {
			defer blob.Close()
		}
	}
	age := now.Sub(g.Fetched)
	if !known && offline {
		return nil, fmt.Errorf("the vulnerability database %s: it was not fetched before: %w", address, fetch.ErrOffline)
	}
	if !known || !offline && (age < 0 || age >= fresh) {
		fetched, err := download(ctx, store, fetch.New(fetch.Options{Offline: offline, Log: log}), address, now)
		if err != nil {
			return nil, fmt.Errorf("fetching the vulnerability database: %w", err)
		}
		if blob, err = store.Open(fetched.Blob); err != nil {
			return nil, err
		}
		defer blob.Close()
		if err := store.WriteRecord(addressKind, key, fetched); err != nil {
			return nil, err
		}
		g = *fetched
	}
	d := &Database{Info: Info{Source: blob.Name(), Kind: "address"}}
	err := d.read(ctx, store, func(each func(string, []byte) error) error { return walkFile(ctx, blob.Name(), each) })
	d.Info.Source = address
	switch {
	case errors.Is(err, errUnknown):
		return nil, fmt.Errorf("the vulnerability database %s: %w: give the address of an archive, such as the all.zip of an OSV ecosystem", address, err)
	case err != nil:
		return nil, fmt.Errorf("the vulnerability database %s: %w", address, err)
	case d.Info.Date.IsZero() && !g.Modified.IsZero():
		d.Info.Date, d.Info.DateFrom = g.Modified.UTC(), "Last-Modified"
	case d.Info.Date.IsZero():
		d.Info.Date, d.Info.DateFrom = dateInName(path.Base(address)), "file name"
	}
	return d, nil
}

func download(ctx context.Context, store Store, f *fetch.Fetcher, address string, now time.Time) (*got, error) {
	dir, remove, err := store.TempDir()
	if err != nil {
		return nil, err
	}
	defer remove()
	file := filepath.Join(dir, "database")
	came, err := f.File(ctx, address, file, fetch.Expect{Max: maxDownload})
	if err != nil {
		return nil, err
	}
	digest, _, err := store.PutFile(ctx, file)
	return &got{Blob: digest, Modified: came.Modified, Fetched: now.UTC()}, err
}
