package raftlog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/migrate/internal/wire"
)

// Snapshot is a raft snapshot: the state after the entry Index.
type Snapshot struct {
	Term, Index uint64
	Voters      []uint64
	Learners    []uint64
	Data        []byte // the v2 store as JSON, up to 3.6
}

const snapSuffix = ".snap"

type snapshotName struct {
	path        string
	term, index uint64
}

// snapshotNames are the snapshots in dir by their names, newest first.
func snapshotNames(dir string) ([]snapshotName, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []snapshotName
	for _, e := range entries {
		n := snapshotName{path: filepath.Join(dir, e.Name())}
		if !strings.HasSuffix(e.Name(), snapSuffix) {
			continue
		}
		if _, err := fmt.Sscanf(e.Name(), "%016x-%016x"+snapSuffix, &n.term, &n.index); err == nil {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b snapshotName) int { return strings.Compare(b.path, a.path) })
	return all, nil
}

// ReadSnapshot reads one snapshot file and checks its checksum.
func ReadSnapshot(name string) (*Snapshot, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	s, err := parseSnapshot(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func parseSnapshot(b []byte) (*Snapshot, error) {
	var sum uint32
	var data []byte
	err := wire.Each(b, func(f wire.Field) error {
		switch f.ID {
		case 1:
			sum = uint32(f.Number)
		case 2:
			data = f.Bytes
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(data) == 0 || crc32.Checksum(data, castagnoli) != sum {
		return nil, errors.New("damaged snapshot: wrong checksum")
	}
	s := &Snapshot{}
	err = wire.Each(data, func(f wire.Field) error {
		switch f.ID {
		case 1:
			s.Data = f.Bytes
		case 2:
			return wire.Each(f.Bytes, func(f wire.Field) error {
				switch f.ID {
				case 1:
					return wire.Each(f.Bytes, func(f wire.Field) error {
						switch {
						case f.Bytes != nil:
						case f.ID == 1:
							s.Voters = append(s.Voters, f.Number)
						case f.ID == 2:
							s.Learners = append(s.Learners, f.Number)
						}
						return nil
					})
				case 2:
					s.Index = f.Number
				case 3:
					s.Term = f.Number
				}
				return nil
			})
		}
		return nil
	})
	return s, err
}

// marshal is the file's content.
func (s *Snapshot) marshal() []byte {
	var conf, meta, data []byte
	for _, id := range s.Voters {
		conf = wire.AppendNumber(conf, 1, id)
	}
	for _, id := range s.Learners {
		conf = wire.AppendNumber(conf, 2, id)
	}
	meta = wire.AppendBytes(meta, 1, conf)
	meta = wire.AppendNumber(meta, 2, s.Index)
	meta = wire.AppendNumber(meta, 3, s.Term)
	data = wire.AppendBytes(data, 1, s.Data)
	data = wire.AppendBytes(data, 2, meta)
	file := wire.AppendNumber(nil, 1, uint64(crc32.Checksum(data, castagnoli)))
	return wire.AppendBytes(file, 2, data)
}
