package raftlog

import (
	"os"
	"testing"
)

func TestEveryEntryBecomesACommittedOne(t *testing.T) {
	for _, x := range []struct {
		what string
		torn int // bytes of the last entry that a crash cut off, before the zeros
	}{{"whole", 0}, {"torn", 5}} {
		t.Run(x.what, func(t *testing.T) {
			dir := written(t, `{}`)
			appendEntries(t, dir, entryOf(101, 0, nil), entryOf(102, 0, nil), entryOf(103, 0, v2Request("PUT", "/1/a", "value")))
			last := uint64(103)
			info, err := os.Stat(segmentOf(dir))
			if err != nil {
				t.Fatal(err)
			}
			if x.torn > 0 {
				if err := os.Truncate(segmentOf(dir), info.Size()-4096-int64(x.torn)); err != nil {
					t.Fatal(err)
				}
				last = 102
			}
			before, err := Read(dir)
			if err != nil || before.LastIndex != last || before.LastTerm != 3 || before.Commit != 100 {
				t.Fatalf("%+v, %v", before, err)
			}
			for range 2 { // the second time there is nothing to do
				if err := CommitAll(dir); err != nil {
					t.Fatal(err)
				}
				l, err := Read(dir)
				if err != nil || l.Commit != last || l.LastIndex != last || l.Term != 3 || l.NodeID != 7 {
					t.Fatalf("%+v, %v", l, err)
				}
			}
			after, err := os.Stat(segmentOf(dir))
			if err != nil || x.torn == 0 && after.Size() != info.Size() {
				t.Errorf("%d bytes were laid out, now %d (%v)", info.Size(), after.Size(), err)
			}
		})
	}
}

func TestALogThatIsCommittedIsLeftAlone(t *testing.T) {
	dir := written(t, `{}`)
	before, err := os.ReadFile(segmentOf(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := CommitAll(dir); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(segmentOf(dir))
	if err != nil || string(after) != string(before) {
		t.Errorf("it was changed (%v)", err)
	}
}
