package layer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/etcdimg/etcdimg/pkg/cache"
)

// Layer is a finished layer as a manifest describes it (OCI image-spec, Image
// Manifest and Descriptor), and what it is the layer of.
type Layer struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"` // of the compressed blob
	Size        int64             `json:"size"`   // of the compressed blob, bytes
	DiffID      string            `json:"diffID"` // digest of the uncompressed tar archive
	Annotations map[string]string `json:"annotations,omitempty"`
	Components  []string          `json:"components"`
}

// Store is where layers are kept and looked up.
type Store interface {
	Put(ctx context.Context, r io.Reader) (digest string, size int64, err error)
	Has(digest string) bool
	ReadRecord(kind, key string, v any) error
	WriteRecord(kind, key string, v any) error
	Lock(ctx context.Context, kind, key string) (unlock func(), err error)
}

// Writer makes layers, each once.
type Writer struct {
	Store Store
	// OnMake, when it is not nil, is called before a layer is compressed; a
	// layer that the store has is not compressed.
	OnMake func(components []string)
	// Places, when it is not nil, bounds how many layers are compressed at once:
	// so many as it has room for. Writers may share it.
	Places chan struct{}
}

// recordKind is the cache's name for finished layers.
const recordKind = "layer"

// Layer returns the layer of a group. One that the store has is not made again.
func (w *Writer) Layer(ctx context.Context, g Group, c Compression) (Layer, error) {
	if _, ok := formats[c]; !ok {
		return Layer{}, fmt.Errorf("compression %q: want gzip, zstd or estargz", c)
	}
	key := g.key(c)
	if l, ok, err := w.lookup(key, g); ok || err != nil {
		return l, err
	}
	unlock, err := w.Store.Lock(ctx, recordKind, key)
	if err != nil {
		return Layer{}, err
	}
	defer unlock()
	if l, ok, err := w.lookup(key, g); ok || err != nil {
		return l, err
	}
	if w.Places != nil {
		select {
		case w.Places <- struct{}{}:
			defer func() { <-w.Places }()
		case <-ctx.Done():
			return Layer{}, ctx.Err()
		}
	}
	if w.OnMake != nil {
		w.OnMake(g.Components)
	}
	l, err := w.make(ctx, g, c)
	if err != nil {
		return Layer{}, fmt.Errorf("making the layer of %v: %w", g.Components, err)
	}
	return l, w.Store.WriteRecord(recordKind, key, l)
}

func (w *Writer) lookup(key string, g Group) (Layer, bool, error) {
	var l Layer
	err := w.Store.ReadRecord(recordKind, key, &l)
	if errors.Is(err, cache.ErrNotFound) || (err == nil && !w.Store.Has(l.Digest)) {
		return Layer{}, false, nil
	}
	if err != nil {
		return Layer{}, false, err
	}
	// The record may have been written for another image, which named the
	// same entries otherwise.
	l.Components = g.Components
	return l, true, nil
}

func (w *Writer) make(ctx context.Context, g Group, c Compression) (Layer, error) {
	f := formats[c]
	archive, archiveW := io.Pipe()
	blob, blobW := io.Pipe()
	archived := make(chan error, 1)
	go func() {
		err := writeTar(archiveW, g)
		archiveW.CloseWithError(err)
		archived <- err
	}()
	var m made
	compressed := make(chan struct{})
	go func() {
		defer close(compressed)
		var err error
		m, err = f.compress(blobW, archive)
		archive.Close()
		blobW.CloseWithError(err)
	}()
	digest, size, err := w.Store.Put(ctx, blob)
	// Whoever failed, the other two end now, before the caller takes away
	// what they read.
	blob.Close()
	<-compressed
	// The archiver's own error comes first: a compressor may pass it on in
	// words only, and the caller asks whether content is missing.
	if aerr := <-archived; aerr != nil && !errors.Is(aerr, io.ErrClosedPipe) {
		err = aerr
	}
	if err != nil {
		return Layer{}, err
	}
	return Layer{MediaType: f.mediaType, Digest: digest, Size: size, DiffID: m.diffID, Annotations: m.annotations, Components: g.Components}, nil
}
