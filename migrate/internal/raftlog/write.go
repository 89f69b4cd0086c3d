package raftlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/etcdimg/etcdimg/migrate/internal/wire"
)

// Write makes the member/wal and member/snap of a member that starts from s
// and nothing else, in the frames of the 2.3 line (which later lines read
// too). The directories must not exist. Nothing is durable until the caller
// has synced the file system.
func Write(member string, nodeID, clusterID uint64, s *Snapshot) error {
	for _, name := range []string{"wal", "snap"} {
		if err := os.Mkdir(filepath.Join(member, name), 0o700); err != nil {
			return err
		}
	}
	name := filepath.Join(member, "snap", fmt.Sprintf("%016x-%016x%s", s.Term, s.Index, snapSuffix))
	if err := os.WriteFile(name, s.marshal(), 0o600); err != nil {
		return err
	}
	var w encoder
	w.add(recordCRC, nil)
	w.add(recordMetadata, wire.AppendNumber(wire.AppendNumber(nil, 1, nodeID), 2, clusterID))
	w.add(recordSnapshot, wire.AppendNumber(wire.AppendNumber(nil, 1, 0), 2, 0))
	w.add(recordSnapshot, wire.AppendNumber(wire.AppendNumber(nil, 1, s.Index), 2, s.Term))
	state := wire.AppendNumber(nil, 1, s.Term)
	state = wire.AppendNumber(state, 2, 0)
	state = wire.AppendNumber(state, 3, s.Index)
	w.add(recordState, state)
	return os.WriteFile(filepath.Join(member, "wal", fmt.Sprintf("%016x-%016x.wal", 0, 0)), w.file, 0o600)
}

// encoder lays records out as the 2.3 line does: no padding.
type encoder struct {
	file []byte
	sum  uint32
}

func (w *encoder) add(kind uint64, data []byte) {
	w.sum = crc32.Update(w.sum, castagnoli, data)
	rec := wire.AppendNumber(nil, 1, kind)
	rec = wire.AppendNumber(rec, 2, uint64(w.sum))
	if data != nil {
		rec = wire.AppendBytes(rec, 3, data)
	}
	w.file = binary.LittleEndian.AppendUint64(w.file, uint64(len(rec)))
	w.file = append(w.file, rec...)
}
