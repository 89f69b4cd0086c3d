// Package raftlog reads the write-ahead log and the raft snapshots of every
// etcd line, and writes a new log for the 2.3 line.
//
// # On disk
//
// member/wal/<sequence>-<first index>.wal are segments. A segment is a row of
// frames: eight little-endian bytes of length, then a protobuf Record of type,
// checksum and data. From 3.0 on the top byte of the length says how many bytes
// of padding follow (0x80 | count), and segments are laid out in advance, so
// that zeros follow the last frame. The checksum is a CRC-32C that runs over
// all data since the first segment; a segment starts with a record that carries
// the value so far.
//
// member/snap/<term>-<index>.snap are raft snapshots: up to 3.6 they hold the
// v2 store as JSON. A server starts from the newest one that the log mentions,
// and applies the log's entries after it.
//
// # After a crash
//
// The last frame of the last segment may be cut short: reading ends before it,
// as the server's own would. Anything else that does not fit is damage, and an
// error. Reading changes nothing.
//
// The package must not know what to do about what it finds.
package raftlog

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/etcdimg/etcdimg/migrate/internal/wire"
)

// ErrDamaged is in every error about a log that no etcd would read.
var ErrDamaged = errors.New("damaged write-ahead log")

// Types of records.
const (
	recordMetadata = 1
	recordEntry    = 2
	recordState    = 3
	recordCRC      = 4
	recordSnapshot = 5
)

// maxRecord bounds what one frame may claim; etcd itself accepts requests of
// 1.5 MiB unless told otherwise, and never writes segments this long.
const maxRecord = 512 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type record struct {
	kind uint64
	crc  uint32
	data []byte
}

type segment struct {
	path       string
	seq, index uint64
}

var segmentName = regexp.MustCompile(`^([0-9a-f]{16})-([0-9a-f]{16})\.wal$`)

// segments lists the log's segments in order, without those that are only laid
// out in advance.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []segment
	for _, e := range entries {
		m := segmentName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		seq, _ := strconv.ParseUint(m[1], 16, 64)
		index, _ := strconv.ParseUint(m[2], 16, 64)
		all = append(all, segment{filepath.Join(dir, e.Name()), seq, index})
	}
	slices.SortFunc(all, func(a, b segment) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	for i := 1; i < len(all); i++ {
		if all[i].seq != all[i-1].seq+1 {
			return nil, fmt.Errorf("%w: %s: segment %d is missing", ErrDamaged, dir, all[i-1].seq+1)
		}
	}
	return all, nil
}

// readRecords calls f with the log's records in order, from the segment that a
// start at index from needs. The data handed to f is good until f returns.
func readRecords(dir string, from uint64, f func(record) error) error {
	all, err := segments(dir)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("%w: %s holds no segment", ErrDamaged, dir)
	}
	first := 0
	for i, s := range all {
		if s.index <= from {
			first = i
		}
	}
	all = all[first:]
	var sum uint32
	for i, s := range all {
		if sum, err = readSegment(s.path, sum, i == 0, i == len(all)-1, f); err != nil {
			return err
		}
	}
	return nil
}

// readSegment reads one segment, whose checksums go on from sum.
func readSegment(path string, sum uint32, first, last bool, f func(record) error) (uint32, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	r := &frames{r: bufio.NewReaderSize(file, 1<<20), left: info.Size()}
	for {
		rec, err := r.next()
		switch {
		case err == io.EOF:
			return sum, nil
		case errors.Is(err, io.ErrUnexpectedEOF) && last:
			return sum, nil // torn by a crash, as the package comment says
		case err != nil:
			return 0, fmt.Errorf("%w: %s: %v", ErrDamaged, path, err)
		}
		if rec.kind == recordCRC {
			// The first segment read may be one whose predecessors are gone.
			if !first && rec.crc != sum {
				return 0, fmt.Errorf("%w: %s does not continue the segment before it", ErrDamaged, path)
			}
			sum = rec.crc
			continue
		}
		sum = crc32.Update(sum, castagnoli, rec.data)
		if rec.crc != sum {
			// A sector that never reached the disk reads as zeros.
			if last && r.tornBySector(rec) {
				return sum, nil
			}
			return 0, fmt.Errorf("%w: %s: wrong checksum", ErrDamaged, path)
		}
		if err := f(rec); err != nil {
			return 0, err
		}
	}
}

// frames takes a segment apart.
type frames struct {
	r    *bufio.Reader
	left int64 // bytes of the file not read yet
	// padded says whether the last frame read was.
	padded bool
	buf    []byte // of the last frame
}

// next is the next record; io.EOF at the end or at zeros, and
// io.ErrUnexpectedEOF at a frame that is cut short.
func (s *frames) next() (record, error) {
	var head [8]byte
	if s.left < int64(len(head)) {
		if s.left == 0 {
			return record{}, io.EOF
		}
		return record{}, io.ErrUnexpectedEOF
	}
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return record{}, err
	}
	s.left -= int64(len(head))
	field := binary.LittleEndian.Uint64(head[:])
	if field == 0 {
		return record{}, io.EOF
	}
	size := int64(field & (1<<56 - 1))
	pad := int64(0)
	s.padded = field>>63 != 0
	if s.padded {
		pad = int64(field >> 56 & 7)
	}
	if size > maxRecord {
		return record{}, fmt.Errorf("a record of %d bytes", size)
	}
	if size+pad > s.left {
		return record{}, io.ErrUnexpectedEOF
	}
	if int64(cap(s.buf)) < size+pad {
		s.buf = make([]byte, 2*(size+pad))
	}
	b := s.buf[:size+pad]
	if _, err := io.ReadFull(s.r, b); err != nil {
		return record{}, err
	}
	s.left -= size + pad
	var rec record
	err := wire.Each(b[:size], func(f wire.Field) error {
		switch f.ID {
		case 1:
			rec.kind = f.Number
		case 2:
			rec.crc = uint32(f.Number)
		case 3:
			rec.data = f.Bytes
		}
		return nil
	})
	if err != nil && allZero(b) {
		return record{}, io.ErrUnexpectedEOF
	}
	return rec, err
}

// sector is the unit in which disks write.
const sector = 512

func (s *frames) tornBySector(rec record) bool {
	for b := rec.data; len(b) >= sector; b = b[sector:] {
		if allZero(b[len(b)-sector:]) || allZero(b[:sector]) {
			return true
		}
	}
	return false
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
