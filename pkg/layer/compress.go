package layer

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Compression names how a layer's tar archive is compressed.
type Compression string

// The compressions that a profile can choose.
const (
	Gzip    Compression = "gzip"    // read everywhere
	Zstd    Compression = "zstd"    // smaller, and faster to unpack
	EStargz Compression = "estargz" // gzip that can be read lazily, file by file
)

// format is one way to make a compressed layer from a tar archive. The version
// changes when its bytes do.
type format struct {
	mediaType string
	version   string
	compress  func(w io.Writer, tar io.Reader) (made, error)
}

// made is what is known of a layer only when it is written.
type made struct {
	diffID      string // digest of the layer's uncompressed bytes
	annotations map[string]string
}

var formats = map[Compression]format{
	Gzip:    {ocispec.MediaTypeImageLayerGzip, "pgzip-1M-l8/1", compressGzip},
	Zstd:    {ocispec.MediaTypeImageLayerZstd, "zstd-best-32M/1", compressZstd},
	EStargz: {ocispec.MediaTypeImageLayerGzip, "estargz-4M-l8/1", compressEStargz},
}

// gzipBlock is the number of bytes that are compressed apart from all others.
// It decides the output; how many blocks are under way at once does not.
const gzipBlock = 1 << 20

// gzipLevel is the last level before the price rises steeply: a layer is
// compressed once and fetched many times, but the highest level takes three
// times as long for half a percent.
const gzipLevel = 8

// gzipParallel bounds the blocks under way at once, and so the memory that a
// machine of many cores spends on each layer.
const gzipParallel = 8

func compressGzip(w io.Writer, tar io.Reader) (made, error) {
	zw, err := pgzip.NewWriterLevel(w, gzipLevel)
	if err != nil {
		return made{}, err
	}
	if err := zw.SetConcurrency(gzipBlock, min(runtime.GOMAXPROCS(0), gzipParallel)); err != nil {
		return made{}, err
	}
	zw.ModTime = time.Unix(0, 0)
	return compressThrough(zw, tar)
}

// zstdWindow lets a program repeat what the one before it in the layer had:
// etcd and its tools have much code in common, some 30 MB apart. Decoders hold
// as much in memory; all of them take up to 128 MiB unasked.
const zstdWindow = 32 << 20

func compressZstd(w io.Writer, tar io.Reader) (made, error) {
	zw, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return made{}, err
	}
	return compressThrough(zw, tar)
}

func compressThrough(zw io.WriteCloser, tar io.Reader) (made, error) {
	diff := sha256.New()
	_, err := io.Copy(io.MultiWriter(zw, diff), tar)
	if cerr := zw.Close(); err == nil {
		err = cerr
	}
	return made{diffID: "sha256:" + hex.EncodeToString(diff.Sum(nil))}, err
}

// Uncompressed returns the tar archive inside a layer of any compression.
func Uncompressed(mediaType string, r io.ReadCloser) (io.ReadCloser, error) {
	switch mediaType {
	case ocispec.MediaTypeImageLayerGzip:
		zr, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("reading a gzip layer: %w", err)
		}
		return readCloser{zr, r}, nil
	case ocispec.MediaTypeImageLayerZstd:
		zr, err := zstd.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("reading a zstd layer: %w", err)
		}
		return readCloser{zr.IOReadCloser(), r}, nil
	case ocispec.MediaTypeImageLayer:
		return r, nil
	}
	return nil, fmt.Errorf("layer of media type %q: want an OCI layer, plain, gzip or zstd", mediaType)
}

type readCloser struct {
	io.ReadCloser
	under io.Closer
}

func (r readCloser) Close() error {
	err := r.ReadCloser.Close()
	if uerr := r.under.Close(); err == nil {
		err = uerr
	}
	return err
}
