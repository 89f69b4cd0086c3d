package layer

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"hash"
	"io"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
)

// estargzChunk is the largest part of a file that is compressed apart.
const estargzChunk = 4 << 20

// compressEStargz appends entry after entry: the library's own builder splits
// the archive by the number of cores, which would show in the result.
func compressEStargz(w io.Writer, r io.Reader) (made, error) {
	zw := estargz.NewWriterWithCompressor(w, steadyGzip{})
	zw.ChunkSize = estargzChunk
	if err := zw.AppendTar(io.MultiReader(bytes.NewReader(landmark()), r)); err != nil {
		return made{}, err
	}
	toc, err := zw.Close()
	if err != nil {
		return made{}, err
	}
	return made{
		diffID:      zw.DiffID(),
		annotations: map[string]string{estargz.TOCJSONDigestAnnotation: toc.String()},
	}, nil
}

// landmark is the entry by which a lazy reader knows that nothing needs to be
// fetched ahead. It has no end-of-archive mark, so that the layer's own
// entries can follow.
func landmark() []byte {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	_ = tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: estargz.NoPrefetchLandmark, Mode: 0o644, Size: 1})
	_, _ = tw.Write([]byte{0xf})
	_ = tw.Flush()
	return b.Bytes()
}

// steadyGzip is the library's gzip compressor with a compressor inside that
// gives the same bytes whatever Go version etcdimg was built by.
type steadyGzip struct{}

func (steadyGzip) Writer(w io.Writer) (estargz.WriteFlushCloser, error) {
	return gzip.NewWriterLevel(w, gzipLevel)
}

// WriteTOCAndFooter writes the table of contents as eStargz v0.1 has it: a tar
// archive of one file, compressed apart, and a footer of a fixed size.
func (steadyGzip) WriteTOCAndFooter(w io.Writer, off int64, toc *estargz.JTOC, diffHash hash.Hash) (digest.Digest, error) {
	b, err := json.MarshalIndent(toc, "", "\t")
	if err != nil {
		return "", err
	}
	zw, err := gzip.NewWriterLevel(w, gzipLevel)
	if err != nil {
		return "", err
	}
	tw := tar.NewWriter(io.MultiWriter(zw, diffHash))
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: estargz.TOCTarName, Size: int64(len(b))}); err != nil {
		return "", err
	}
	if _, err := tw.Write(b); err != nil {
		return "", err
	}
	if err := tw.Close(); err != nil {
		return "", err
	}
	if err := zw.Close(); err != nil {
		return "", err
	}
	offset := fmt.Sprintf("%016xSTARGZ", off)
	extra := append([]byte{'S', 'G', byte(len(offset)), 0}, offset...)
	if _, err := w.Write(estargz.CreateGzipFooter(extra)); err != nil {
		return "", err
	}
	return digest.FromBytes(b), nil
}
