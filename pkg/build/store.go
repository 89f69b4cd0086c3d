package build

import (
	"context"
	"io"
	"os"
)

// Store is where a Builder keeps what it makes, and looks up what was made: a
// cache on disk, or one with a registry behind it.
type Store interface {
	// Put and PutFile store content, and return its digest and size in bytes.
	Put(ctx context.Context, r io.Reader) (digest string, size int64, err error)
	PutFile(ctx context.Context, path string) (digest string, size int64, err error)
	// Has tells whether there is content, unverified.
	Has(digest string) bool
	// Open and Link give verified content. What is not to be had, or damaged,
	// is cache.ErrNotFound; Has is false of it then.
	Open(digest string) (*os.File, error)
	Link(digest, path string) error
	// ReadRecord gives cache.ErrNotFound where there is no record.
	ReadRecord(kind, key string, v any) error
	WriteRecord(kind, key string, v any) error
	// Lock keeps other processes on this machine from the same key.
	Lock(ctx context.Context, kind, key string) (unlock func(), err error)
	TempDir() (dir string, remove func(), err error)
}

// SharedKinds are the kinds of records that are worth carrying from one machine
// to another: of what takes long to make, and of what would otherwise have to
// be fetched to make something else. All of them are determined by their keys.
// What is missing here is the state of the archives, which has a time, sources,
// which the lock has pinned and mirrors have, and what is made in no time.
func SharedKinds() []string {
	return []string{
		"binaries",        // compiled programs, and those out of releases
		"layer",           // compressed layers
		"sbom",            // written SBOMs
		"sbom-inventory",  // what is in an image
		"module-licences", // of Go modules, which would be fetched to be read
		"debian-package",  // unpacked packages
		"debian-certs",    // bundles of certificates
		"debian-applets",  // what a busybox can do
	}
}
