// Package plan finds the shortest way between two versions among the moves that
// were seen to work with real binaries, and says in words why there is none.
//
// It computes only: what a directory holds and which programs are bundled are
// handed to it, and somebody else carries the steps out.
package plan

import "github.com/etcdimg/etcdimg/migrate/internal/version"

// Lines with a meaning of their own.
var (
	line23 = version.Line{Major: 2, Minor: 3}
	line30 = version.Line{Major: 3, Minor: 0}
	line35 = version.Line{Major: 3, Minor: 5}
	line36 = version.Line{Major: 3, Minor: 6}
	line37 = version.Line{Major: 3, Minor: 7}
)

// Tail is what v2 requests the log holds after its newest snapshot.
type Tail uint8

// Tails in the order of how many lines can read them.
const (
	TailClean      Tail = iota // none: every line can
	TailAttributes             // what etcd keeps about itself: up to 3.6
	TailOther                  // clients', syncs, HTTP /health: up to 3.5
)

// reads are the limits of what a server of a line starts on, by the first line
// that has them.
var reads = []struct {
	from   version.Line
	tail   Tail
	v2Keys bool
}{
	{line37, TailClean, false},
	{line36, TailAttributes, false},
	{line23, TailOther, true},
}

// startsOn says whether a server of a line survives the v2 part of a directory.
func startsOn(l version.Line, tail Tail, v2Keys bool) bool {
	for _, r := range reads {
		if !l.Before(r.from) {
			return tail <= r.tail && (r.v2Keys || !v2Keys)
		}
	}
	return false
}

// StartsOn says whether a server of a line survives the v2 part of a directory.
func StartsOn(l version.Line, tail Tail, v2Keys bool) bool { return startsOn(l, tail, v2Keys) }

// leaves are what v2 requests a line's own run leaves in the tail, with a raft
// snapshot at nearly every entry, by the first line that does.
var leaves = []struct {
	from version.Line
	tail Tail
}{
	{line36, TailClean},
	// 3.5 still puts its cluster version and attributes by v2 requests, and the
	// last one of them may come after the last snapshot.
	{line35, TailAttributes},
	{line30, TailOther},
}

// Leaves is the most that a run of a line leaves in the tail of its log. As
// long as v2 keys are there a server goes on writing requests about them.
func Leaves(l version.Line, v2Keys bool) Tail {
	for _, row := range leaves {
		if !l.Before(row.from) && !v2Keys {
			return row.tail
		}
	}
	return TailOther
}

// inPlace are the moves that a server makes by being started on the older
// line's directory, apart from those to the next line, which all can.
var inPlace = []struct{ from, to []version.Line }{
	{lines(3, 0), lines(3, 2, 3, 4, 5)},
	{lines(3, 1), lines(3, 3, 4, 5)},
	{lines(3, 2), lines(3, 4, 5)},
	{lines(3, 3), lines(3, 5)},
	{lines(3, 5), lines(3, 7)}, // on a clean tail only, as 3.7 always
}

func lines(major int, minors ...int) []version.Line {
	var all []version.Line
	for _, m := range minors {
		all = append(all, version.Line{Major: major, Minor: m})
	}
	return all
}

// opensInPlace says whether the line to takes over a v3 directory of from.
func opensInPlace(from, to version.Line) bool {
	if from == to || to == from.Next() && from != line23 {
		return true
	}
	for _, row := range inPlace {
		if row.from[0] != from {
			continue
		}
		for _, l := range row.to {
			if l == to {
				return true
			}
		}
	}
	return false
}

// Costs order the ways: in place before restored, where that makes membership
// new; and as few steps as can be. A restore that keeps the IDs is worth more
// than one run, since it reads and writes the database more often, and less than
// two.
const (
	costMark    = 1
	costRun     = 10
	costSameIDs = 15
	costRestore = 100
	costConvert = 20
	costWriteV2 = 20
)
