package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/etcdimg/etcdimg/migrate/internal/wire"
)

// written makes a member directory of one voter whose snapshot is at 100.
func written(t testing.TB, data string) string {
	t.Helper()
	dir := t.TempDir()
	err := Write(dir, 7, 9, &Snapshot{Term: 2, Index: 100, Voters: []uint64{7}, Data: []byte(data)})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func segmentOf(dir string) string {
	return filepath.Join(dir, "wal", "0000000000000000-0000000000000000.wal")
}

// appendEntries adds entries to the only segment, padded as 3.x does, and lays
// out zeros after them.
func appendEntries(t testing.TB, dir string, entries ...[]byte) {
	t.Helper()
	file, err := os.ReadFile(segmentOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	sum := uint32(0)
	f, err := os.Open(segmentOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if sum, err = readSegment(segmentOf(dir), 0, true, true, func(record) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, data := range entries {
		sum = crc32.Update(sum, castagnoli, data)
		rec := wire.AppendBytes(wire.AppendNumber(wire.AppendNumber(nil, 1, recordEntry), 2, uint64(sum)), 3, data)
		size := uint64(len(rec))
		if pad := (8 - len(rec)%8) % 8; pad != 0 {
			size |= uint64(0x80|pad) << 56
			rec = append(rec, make([]byte, pad)...)
		}
		file = append(binary.LittleEndian.AppendUint64(file, size), rec...)
	}
	file = append(file, make([]byte, 4096)...)
	if err := os.WriteFile(segmentOf(dir), file, 0o600); err != nil {
		t.Fatal(err)
	}
}

func entryOf(index, kind uint64, data []byte) []byte {
	b := wire.AppendNumber(nil, 1, kind)
	b = wire.AppendNumber(b, 2, 3)
	b = wire.AppendNumber(b, 3, index)
	if data != nil {
		b = wire.AppendBytes(b, 4, data)
	}
	return b
}

func v2Request(method, path, value string) []byte {
	b := wire.AppendNumber(nil, 1, 77)
	b = wire.AppendBytes(b, 2, []byte(method))
	b = wire.AppendBytes(b, 3, []byte(path))
	return wire.AppendBytes(b, 4, []byte(value))
}

func TestALogThatIsWrittenIsRead(t *testing.T) {
	l, err := Read(written(t, `{"Root":{"Path":"/"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if l.NodeID != 7 || l.ClusterID != 9 || l.Snapshot.Index != 100 || l.LastIndex != 100 || l.Commit != 100 || !slices.Equal(l.Voters, []uint64{7}) {
		t.Errorf("%+v", l)
	}
}

func TestEachKindOfEntryIsKnown(t *testing.T) {
	dir := written(t, "{}")
	conf := wire.AppendNumber(wire.AppendNumber(wire.AppendNumber(nil, 1, 1), 2, 0), 3, 8)
	put := wire.AppendBytes(nil, 4, []byte("put"))
	set := wire.AppendBytes(nil, requestVersion, wire.AppendBytes(nil, 1, []byte("3.6.0")))
	appendEntries(t, dir,
		entryOf(101, 0, nil),
		entryOf(102, 1, conf),
		entryOf(103, 0, v2Request("PUT", "/0/version", "3.4.0")),
		entryOf(104, 0, wire.AppendBytes(nil, requestV2, v2Request("QGET", "/", ""))),
		entryOf(105, 0, v2Request("SYNC", "", "")),
		entryOf(106, 0, put),
		entryOf(107, 0, set),
		entryOf(108, 0, v2Request("PUT", "/1/_coreos.com/x", "")),
	)
	l, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []Kind
	for _, e := range l.Tail {
		kinds = append(kinds, e.Kind)
	}
	if want := []Kind{Empty, Membership, V2Attributes, V2Other, V2Other, V3Change, V3Other, V2Other}; !slices.Equal(kinds, want) {
		t.Errorf("kinds %v instead of %v", kinds, want)
	}
	if l.Version != "3.6.0" || l.HiddenV2 != "/_coreos.com/x" || !slices.Equal(l.Voters, []uint64{7, 8}) {
		t.Errorf("%+v", l)
	}
	if l.Behind(105) != 1 || l.Behind(106) != 0 {
		t.Errorf("behind %d, %d", l.Behind(105), l.Behind(106))
	}
}

func TestMembersAreThoseOfTheSnapshotAndOfTheEntriesAfterIt(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, 7, 9, &Snapshot{Term: 2, Index: 100, Voters: []uint64{7, 8}, Learners: []uint64{20, 21, 22}, Data: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	conf := func(index, kind, node uint64) []byte {
		return entryOf(index, 1, wire.AppendNumber(wire.AppendNumber(wire.AppendNumber(nil, 1, index), 2, kind), 3, node))
	}
	appendEntries(t, dir,
		conf(101, 3, 30), // added to learn
		conf(102, 0, 20), // promoted
		conf(103, 1, 21), // removed
		conf(104, 1, 8),
		conf(105, 2, 7), // its URLs changed
	)
	l, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(l.Voters, []uint64{7, 20}) || !slices.Equal(l.Learners, []uint64{22, 30}) {
		t.Errorf("voters %v, learners %v", l.Voters, l.Learners)
	}
	for id, want := range map[uint64]bool{7: true, 22: true, 8: false, 21: false} {
		if is, known := l.IsMember(id); is != want || !known {
			t.Errorf("member %d: %v, %v", id, is, known)
		}
	}
}

func TestAnEntryThatAnotherLeaderReplacedDoesNotCount(t *testing.T) {
	dir := written(t, "{}")
	appendEntries(t, dir,
		entryOf(101, 0, v2Request("QGET", "/", "")),
		entryOf(102, 0, v2Request("QGET", "/", "")),
		entryOf(101, 0, nil),
	)
	l, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if l.LastIndex != 101 || l.Count(V2Other) != 0 {
		t.Errorf("%+v", l.Tail)
	}
}

func TestATornEndIsWhereTheLogEnds(t *testing.T) {
	dir := written(t, "{}")
	appendEntries(t, dir, entryOf(101, 0, nil), entryOf(102, 0, make([]byte, 2000)))
	whole, err := os.ReadFile(segmentOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	end := len(whole) - 4096
	for _, cut := range []int{1, 9, 1000, 2000} {
		if err := os.WriteFile(segmentOf(dir), whole[:end-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Read(dir)
		if err != nil || l.LastIndex != 101 {
			t.Errorf("cut by %d: %v", cut, err)
		}
	}
}

func TestDamageIsAnError(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string) error{
		"a flipped bit": func(t *testing.T, dir string) error {
			b, err := os.ReadFile(segmentOf(dir))
			if err != nil {
				return err
			}
			b[40] ^= 1
			return os.WriteFile(segmentOf(dir), b, 0o600)
		},
		"no segment": func(t *testing.T, dir string) error { return os.Remove(segmentOf(dir)) },
		"a missing segment": func(t *testing.T, dir string) error {
			return os.WriteFile(filepath.Join(dir, "wal", "0000000000000002-0000000000000100.wal"), nil, 0o600)
		},
		"a gap between entries": func(t *testing.T, dir string) error {
			appendEntries(t, dir, entryOf(101, 0, nil), entryOf(103, 0, nil))
			return nil
		},
		"an unknown kind of entry": func(t *testing.T, dir string) error {
			appendEntries(t, dir, entryOf(101, 9, nil))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := written(t, "{}")
			if err := damage(t, dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(dir); !errors.Is(err, ErrDamaged) {
				t.Errorf("Read: %v", err)
			}
		})
	}
}

func TestADamagedSnapshotIsAnError(t *testing.T) {
	dir := written(t, "{}")
	names, err := filepath.Glob(filepath.Join(dir, "snap", "*.snap"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(names[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil {
		t.Error("it was read")
	}
}

func TestASnapshotThatTheLogDoesNotMentionIsPassedOver(t *testing.T) {
	dir := written(t, "{}")
	s := &Snapshot{Term: 2, Index: 200, Voters: []uint64{7}, Data: []byte("{}")}
	if err := os.WriteFile(filepath.Join(dir, "snap", "0000000000000002-00000000000000c8.snap"), s.marshal(), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Read(dir)
	if err != nil || l.Snapshot.Index != 100 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestUserKeysInTheV2StoreAreSeen(t *testing.T) {
	for data, want := range map[string]bool{
		`{"Root":{"Children":{"0":{"Children":{"x":{}}},"1":{"Children":{}}}}}`: false,
		`{"Root":{"Children":{"1":{"Children":{"registry":{}}}}}}`:              true,
	} {
		l, err := Read(written(t, data))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := l.V2Keys(); err != nil || got != want {
			t.Errorf("%s: %v, %v", data, got, err)
		}
	}
}

func FuzzLog(f *testing.F) {
	dir := written(f, "{}")
	appendEntries(f, dir, entryOf(101, 0, v2Request("PUT", "/0/version", "3.4.0")), entryOf(102, 1, nil))
	b, err := os.ReadFile(segmentOf(dir))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:len(b)-4000])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := written(t, "{}")
		if err := os.WriteFile(segmentOf(dir), b, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Read(dir)
		if err != nil {
			return
		}
		from := uint64(0)
		if l.Snapshot != nil {
			from = l.Snapshot.Index
		}
		if uint64(len(l.Tail)) != l.LastIndex-from {
			t.Errorf("%d entries between %d and %d", len(l.Tail), from, l.LastIndex)
		}
	})
}

func TestTheTermOfTheLastEntryIsKnown(t *testing.T) {
	dir := written(t, "{}")
	l, err := Read(dir)
	if err != nil || l.LastTerm != l.Snapshot.Term {
		t.Errorf("%+v, %v", l, err)
	}
	entry := wire.AppendNumber(wire.AppendNumber(wire.AppendNumber(nil, 1, 0), 2, 9), 3, 101)
	appendEntries(t, dir, entry)
	if l, err = Read(dir); err != nil || l.LastIndex != 101 || l.LastTerm != 9 {
		t.Errorf("%+v, %v", l, err)
	}
}

// A start needs the segment that the snapshot's entry is in, and those after it.
func TestSegmentsThatAStartDoesNotNeed(t *testing.T) {
	dir := written(t, "{}")
	first := segmentOf(dir)
	b, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		names []string // of the segments, by sequence and first index
		want  int
	}{
		{[]string{"0-0"}, 0},
		{[]string{"0-0", "1-101"}, 0},
		{[]string{"0-0", "1-100"}, 1},
		{[]string{"0-0", "1-50", "2-90", "3-101"}, 2},
	} {
		if err := os.RemoveAll(filepath.Join(dir, "wal")); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "wal"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, n := range x.names {
			var seq, index uint64
			if _, err := fmt.Sscanf(n, "%d-%d", &seq, &index); err != nil {
				t.Fatal(err)
			}
			content := b
			if seq > 0 {
				content = nil
			}
			if err := os.WriteFile(filepath.Join(dir, "wal", fmt.Sprintf("%016x-%016x.wal", seq, index)), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l := &Log{Snapshot: &Snapshot{Index: 100}}
		got, err := l.Superfluous(dir)
		if err != nil || len(got) != x.want {
			t.Errorf("%v: %v, %v", x.names, got, err)
		}
	}
}
