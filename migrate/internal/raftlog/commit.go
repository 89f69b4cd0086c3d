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

	"github.com/etcdimg/etcdimg/migrate/internal/wire"
)

// CommitAll makes every entry of a log a committed one, by one more record of
// raft's state at its end. A follower learns late that what it holds is
// committed; when all members were killed, the last writes that clients were
// told of are committed by nobody's own word. The log that is furthest has all
// of them (Raft §5.4), and possibly one that nobody was told of.
//
// It is for a copy that will be a cluster of its own: in a cluster the others
// may have other entries in these places.
func CommitAll(member string) error {
	l, err := Read(member)
	if err != nil {
		return err
	}
	if l.Commit >= l.LastIndex {
		return nil
	}
	dir := filepath.Join(member, "wal")
	all, err := segments(dir)
	if err != nil {
		return err
	}
	last := all[len(all)-1].path
	end, err := findEnd(last)
	if err != nil {
		return fmt.Errorf("%s: %w", last, err)
	}
	term, vote := l.Term, l.Vote
	if term < l.LastTerm { // the state that came with the newest entries was cut off
		term, vote = l.LastTerm, 0
	}
	state := wire.AppendNumber(nil, 1, term)
	state = wire.AppendNumber(state, 2, vote)
	state = wire.AppendNumber(state, 3, l.LastIndex)
	f, err := os.OpenFile(last, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Truncate(end.offset) // drops what a crash cut short
	}
	if err == nil {
		_, err = f.WriteAt(end.frame(recordState, state), end.offset)
	}
	if err == nil && info.Size() > end.offset {
		var now os.FileInfo
		if now, err = f.Stat(); err == nil && now.Size() < info.Size() {
			err = f.Truncate(info.Size()) // zeros, as laid out in advance
		}
	}
	return errors.Join(err, f.Close())
}

// end is where a segment's valid records end, and what goes on from there.
type end struct {
	offset int64
	sum    uint32
	padded bool // the line that wrote it pads frames
}

func findEnd(path string) (e end, err error) {
	file, err := os.Open(path)
	if err != nil {
		return e, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return e, err
	}
	r := &frames{r: bufio.NewReaderSize(file, 1<<20), left: info.Size()}
	for {
		rec, err := r.next()
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return e, nil
		}
		if err != nil {
			return e, err
		}
		if rec.kind == recordCRC {
			e.sum = rec.crc
		} else {
			sum := crc32.Update(e.sum, castagnoli, rec.data)
			if rec.crc != sum {
				return e, nil // torn, or Read had refused it
			}
			e.sum = sum
		}
		e.offset = info.Size() - r.left
		e.padded = e.padded || r.padded
	}
}

// frame lays one record out as the segment's line does.
func (e end) frame(kind uint64, data []byte) []byte {
	rec := wire.AppendNumber(nil, 1, kind)
	rec = wire.AppendNumber(rec, 2, uint64(crc32.Update(e.sum, castagnoli, data)))
	rec = wire.AppendBytes(rec, 3, data)
	size := uint64(len(rec))
	if pad := (8 - len(rec)%8) % 8; e.padded && pad > 0 {
		size |= uint64(0x80|pad) << 56
		rec = append(rec, make([]byte, pad)...)
	}
	return append(binary.LittleEndian.AppendUint64(nil, size), rec...)
}
