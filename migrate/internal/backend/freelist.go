package backend

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"os"
)

// The parts of bbolt's file format that are needed here: a page begins with a
// header; the first two are meta pages, of which the valid one with the higher
// transaction number counts.
const (
	headerSize   = 16
	metaMagic    = 0xED0CDAED
	metaSum      = 56 // of the meta page's content: all before the checksum
	metaFreelist = 32 // page of the list of free pages
	metaPages    = 40 // the number of the first page that was never used
	metaTxid     = 48
	freelistFlag = 0x10
	noFreelist   = ^uint64(0)
)

// assumeFull gives a database that was written without a list of its free pages,
// as etcd writes them since 3.3, an empty one. Without a list bbolt looks at
// every page before it lets anybody write, and has the whole file in memory
// after that; with an empty one it takes new pages at the end, which is all that
// a few small changes need. Whoever writes next must not save a list again, so
// that the free pages are found by the one after. A database that has a list,
// or that bbolt is to refuse, stays as it is.
func assumeFull(name string) (err error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	at, m, size, ok := newestMeta(f)
	if !ok || binary.NativeEndian.Uint64(m[metaFreelist:]) != noFreelist {
		return nil
	}
	end := binary.NativeEndian.Uint64(m[metaPages:])
	page := make([]byte, size)
	binary.NativeEndian.PutUint64(page, end)
	binary.NativeEndian.PutUint16(page[8:], freelistFlag)
	if _, err := f.WriteAt(page, int64(end)*size); err != nil {
		return err
	}
	binary.NativeEndian.PutUint64(m[metaFreelist:], end)
	binary.NativeEndian.PutUint64(m[metaPages:], end+1)
	binary.NativeEndian.PutUint64(m[metaSum:], sum(m))
	_, err = f.WriteAt(m, at)
	return err
}

// newestMeta is the meta page's content that counts, where it lies, and the size
// of pages, in bytes.
func newestMeta(f *os.File) (at int64, meta []byte, size int64, ok bool) {
	first, good := readMeta(f, headerSize)
	if good {
		size = int64(binary.NativeEndian.Uint32(first[8:]))
	} else {
		size = int64(os.Getpagesize())
	}
	second, alsoGood := readMeta(f, size+headerSize)
	switch {
	case size < 512 || size > 1<<16 || !good && !alsoGood:
		return 0, nil, 0, false
	case !good || alsoGood && binary.NativeEndian.Uint64(second[metaTxid:]) > binary.NativeEndian.Uint64(first[metaTxid:]):
		return size + headerSize, second, size, true
	}
	return headerSize, first, size, true
}

func readMeta(f *os.File, at int64) ([]byte, bool) {
	m := make([]byte, metaSum+8)
	if _, err := f.ReadAt(m, at); err != nil {
		return nil, false
	}
	return m, binary.NativeEndian.Uint32(m) == metaMagic && binary.NativeEndian.Uint64(m[metaSum:]) == sum(m)
}

func sum(meta []byte) uint64 {
	h := fnv.New64a()
	h.Write(meta[:metaSum])
	return h.Sum64()
}
