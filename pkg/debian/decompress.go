package debian

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

const maxWindow = 128 << 20 // of a decompressor, bytes; xz -9 takes 64 MiB

// decompress returns a reader of the bytes that were compressed.
func decompress(r io.Reader, compression string) (io.Reader, func(), error) {
	none := func() {}
	switch compression {
	case "":
		return r, none, nil
	case "gz":
		z, err := gzip.NewReader(r)
		return z, none, err
	case "zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, none, err
		}
		return z, z.Close, nil
	case "xz":
		b := bufio.NewReaderSize(r, 64<<10)
		if err := checkXZ(b); err != nil {
			return nil, none, err
		}
		z, err := xz.NewReader(b)
		return z, none, err
	default:
		return nil, none, fmt.Errorf("compression %q is not supported: want xz, gz, zst or none", compression)
	}
}

// checkXZ refuses a stream whose first block wants a dictionary that is larger
// than any packer uses.
func checkXZ(b *bufio.Reader) error {
	head, err := b.Peek(12 + 2)
	if err != nil {
		return fmt.Errorf("not an xz stream: %w", noEOF(err))
	}
	size := (int(head[12]) + 1) * 4
	if head[12] == 0 {
		return nil // an index at once: no block
	}
	if head, err = b.Peek(12 + size); err != nil {
		return fmt.Errorf("not an xz stream: %w", noEOF(err))
	}
	block := head[12:]
	i := 2
	for _, flag := range []byte{0x40, 0x80} { // optional sizes
		if block[1]&flag != 0 {
			for i < len(block) && block[i]&0x80 != 0 {
				i++
			}
			i++
		}
	}
	for range int(block[1]&3) + 1 {
		if i+1 >= len(block) {
			return errors.New("not an xz stream: a damaged block header")
		}
		id, n := block[i], int(block[i+1])
		if i+2+n > len(block) {
			return errors.New("not an xz stream: a damaged block header")
		}
		if id == 0x21 && n == 1 {
			bits := block[i+2] & 0x3f
			if bits > 40 || (uint64(2)|uint64(bits&1))<<(bits/2+11) > maxWindow {
				return fmt.Errorf("%w: an xz dictionary of more than %d bytes", errTooLarge, int64(maxWindow))
			}
		}
		i += 2 + n
	}
	return nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
