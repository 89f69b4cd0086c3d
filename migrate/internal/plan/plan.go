package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Errors that Find tells apart.
var (
	ErrNoWay      = errors.New("there is no known way")
	ErrNotBundled = errors.New("a version that the way needs is not bundled")
	ErrCluster    = errors.New("a member of a cluster can not move alone")
)

// Kind is a kind of step.
type Kind string

// The kinds of steps.
const (
	Cure    Kind = "cure"     // a member's own version takes v2 requests out of its log, where it stands
	Unmark  Kind = "unmark"   // a record in the database that every server dies of is removed
	Forget  Kind = "forget"   // members that the cluster has not any more are removed from the database
	Mark    Kind = "mark"     // version.txt only: the next server takes the directory as it is
	Run     Kind = "run"      // a server takes over a copy of the directory, and is stopped
	Restore Kind = "restore"  // a new directory is made from the database
	Convert Kind = "convert"  // v2 keys become v3 keys
	WriteV2 Kind = "write-v2" // v3 keys become v2 keys
)

// WhereItStands says whether steps of a kind are made in the directory as it
// stands, each by so little that nothing has to be undone.
func (k Kind) WhereItStands() bool { return slices.Contains([]Kind{Cure, Unmark, Forget, Mark}, k) }

// Step is one step; Version's binaries do it, and version.txt says To after it.
type Step struct {
	Kind    Kind            `json:"kind"`
	Version version.Version `json:"-"`
	From    version.Stamp   `json:"from"`
	To      version.Stamp   `json:"to"`
}

func (s Step) String() string {
	switch s.Kind {
	case Unmark:
		return "remove the record of a downgrade below 3.5 from the database, which every server dies of at its start (then type \"etcdctl downgrade cancel\", since the other members have it too)"
	case Forget:
		return "remove the members from the database that its cluster does not have (a restore by an old tool left them): from 3.6 on they would count"
	case Cure:
		return fmt.Sprintf("run etcd %s on the directory itself for a moment, so that nothing newer has to read v2 requests of its log (it is still the same member, and needs no other)", s.Version)
	case Mark:
		return fmt.Sprintf("mark the directory as %s: its server can take it over as it is", s.To)
	case Run:
		if s.From.Version.Line() == s.To.Version.Line() {
			return fmt.Sprintf("run etcd %s on a copy, so that nothing newer has to read v2 requests of its log; put it in place", s.Version)
		}
		return fmt.Sprintf("run etcd %s on a copy of the directory, which it takes over from %s; put it in place when no other run follows", s.Version, s.From.Version)
	case Restore:
		return fmt.Sprintf("restore the database by the tools of etcd %s into a new directory; put it in place (the raft log is made new)", s.Version)
	case Convert:
		return fmt.Sprintf("run etcd %s on a copy and turn its v2 keys into v3 keys (keys below the TTL directory get a lease of an hour, other TTLs end); put it in place", s.Version)
	case WriteV2:
		return fmt.Sprintf("write the newest value of every key into a v2 store for etcd %s; put it in place (older revisions are not kept)", s.To.Version)
	}
	return string(s.Kind)
}

// Kept is what a way keeps besides the newest value of every key, which all do.
type Kept struct {
	Revisions  bool // create and mod revisions, in a v2 store indices
	History    bool // older revisions of keys
	Leases     bool // with their IDs, those without keys too
	TTLs       bool // of keys; they start afresh whenever a server starts
	Membership bool // the IDs of the member and of its cluster
}

// Keeps says what steps of some kinds keep; of the membership a restore keeps
// what Facts.SameIDs says.
func Keeps(kinds []Kind, sameIDs bool) Kept {
	k := Kept{true, true, true, true, true}
	for _, kind := range kinds {
		switch kind {
		case Restore:
			k.Membership = sameIDs
		case Convert:
			k.History, k.Leases, k.TTLs = false, false, false
		case WriteV2:
			k.History, k.Leases = false, false
		}
	}
	return k
}

// Facts are what a way depends on.
type Facts struct {
	At     version.Stamp
	Tail   Tail
	V2Keys bool // the v2 store holds keys of the user's
	Behind bool // the database lacks changes that are in the log
	Voters int  // members of the cluster
	// Stubborn says that runs were seen to leave v2 requests in this log that
	// they should not: no more of them.
	Stubborn bool
	// SameIDs says that a restore can give the member and the cluster the IDs
	// that they have.
	SameIDs bool
	// Agreed is the line of the cluster version in the database, if it is known.
	Agreed      version.Line
	AgreedKnown bool
	// Storage is the line that the database says it is stored for, if it does.
	Storage      version.Line
	StorageKnown bool
	Others       []Other // members that answered
	// Zombies says that the database has members that the log has not any more.
	Zombies bool
	// Stuck says that the database has a downgrade on record that no server
	// survives: below 3.5.
	Stuck bool
}

// Bundled are the versions at hand.
type Bundled struct {
	// Server is the newest bundled version of a line.
	Server func(version.Line) (version.Version, bool)
	// Restores says whether a version's tools to restore a database are there.
	Restores func(version.Version) bool
	Lines    []version.Line
}

// Find gives the steps from facts to a target, which must be bundled. No steps
// means that there is nothing to do.
func Find(f Facts, target version.Stamp, b Bundled) ([]Step, error) {
	steps, err := find(f, target, b)
	if err == nil && f.Zombies && countsMembers(steps) {
		steps = append([]Step{{Forget, f.At.Version, f.At, f.At}}, steps...)
	}
	if err == nil && f.Stuck {
		steps = append([]Step{{Unmark, f.At.Version, f.At, f.At}}, steps...)
	}
	return steps, err
}

// countsMembers says whether steps bring the database as it is to a line that
// has its members from there. Up to 3.5 they are those of the v2 store; and a
// restore leaves none.
func countsMembers(steps []Step) bool {
	for _, s := range steps {
		switch {
		case s.Kind == Restore || s.Kind == WriteV2:
			return false
		case !s.To.Version.Line().Before(line36):
			return true
		}
	}
	return false
}

func find(f Facts, target version.Stamp, b Bundled) ([]Step, error) {
	if err := beside(f, target.Version.Line()); err != nil {
		return nil, err
	}
	if f.At == target {
		return nil, nil
	}
	if err := known(f.At, target); err != nil {
		return nil, err
	}
	if f.Voters > 1 {
		return member(f, target, b)
	}
	if steps := search(f, target, b); steps != nil {
		return steps, nil
	}
	// Would it be there with every line bundled?
	every := Bundled{
		Server: func(l version.Line) (version.Version, bool) {
			return version.Version{Major: l.Major, Minor: l.Minor}, true
		},
		Restores: func(version.Version) bool { return true },
		Lines:    between(f.At.Version.Line(), target.Version.Line()),
	}
	ideal := search(f, target, every)
	if ideal == nil {
		return nil, fmt.Errorf("%w from %s to %s", ErrNoWay, f.At, target)
	}
	return nil, fmt.Errorf("%w: from %s to %s would be: %s", ErrNotBundled, f.At, target, outline(ideal, f))
}

func outline(steps []Step, f Facts) string {
	var parts []string
	for i, s := range steps {
		l := s.To.Version.Line()
		switch s.Kind {
		case Restore:
			if i == 0 && f.Behind {
				parts = append(parts, "run etcd "+f.At.Version.Line().String())
			}
			parts = append(parts, "restore by etcdutl (before 3.5: etcdctl) "+l.String())
		case Mark:
			parts = append(parts, "mark as "+l.String())
		default:
			parts = append(parts, fmt.Sprintf("%s etcd %s", s.Kind, l))
		}
	}
	return strings.Join(parts, ", ")
}

// known refuses versions and storages that no row is about.
func known(at, target version.Stamp) error {
	for _, s := range []version.Stamp{at, target} {
		l := s.Version.Line()
		switch {
		case l.Before(line23):
			return fmt.Errorf("%w: %s is older than etcd 2.3; start etcd 2.3 on the directory once", ErrNoWay, s)
		case l.Before(line30) && s.Storage == version.Etcd3:
			return fmt.Errorf("%w: etcd %s has no etcd3 storage", ErrNoWay, s.Version)
		case l.Major > 3:
			return fmt.Errorf("%w: etcd %s is newer than anything this operator knows", ErrNoWay, s.Version)
		case !l.Before(line36) && s.Storage == version.Etcd2:
			return fmt.Errorf("%w: etcd 3.6 and later have no v2 store (%s)", ErrNoWay, s)
		}
	}
	return nil
}

func between(a, b version.Line) []version.Line {
	if b.Before(a) {
		a, b = b, a
	}
	if line30.Before(a) {
		a = line30
	}
	if b.Before(line37) {
		b = line37
	}
	var all []version.Line
	for l := a; !b.Before(l); l = l.Next() {
		all = append(all, l)
	}
	return all
}

// place is a node of the search: what decides which steps are possible.
type place struct {
	stamp  version.Stamp
	tail   Tail
	v2Keys bool
	behind bool
	// stubborn places are left by restores only.
	stubborn bool
	sameIDs  bool
}

type reached struct {
	place
	cost  int
	steps []Step
}

// search is Dijkstra's: a handful of places, visited in order of cost. Among
// equal ways the one found first wins, and neighbours come in a fixed order.
func search(f Facts, target version.Stamp, b Bundled) []Step {
	open := []reached{{place: place{f.At, f.Tail, f.V2Keys, f.Behind, f.Stubborn, f.SameIDs}}}
	done := map[place]bool{}
	for len(open) > 0 {
		best := 0
		for i := range open {
			if open[i].cost < open[best].cost {
				best = i
			}
		}
		at := open[best]
		open = slices.Delete(open, best, best+1)
		if done[at.place] {
			continue
		}
		done[at.place] = true
		if at.stamp == target {
			return at.steps
		}
		for _, e := range edges(at.place, target, b) {
			open = append(open, reached{e.place, at.cost + e.cost, append(slices.Clip(at.steps), e.steps...)})
		}
	}
	return nil
}

// edges are the steps that are known to work from a place.
func edges(at place, target version.Stamp, b Bundled) []reached {
	var all []reached
	add := func(kind Kind, v version.Version, p place, cost int) {
		all = append(all, reached{p, cost, []Step{{kind, v, at.stamp, p.stamp}}})
	}
	line, goal := at.stamp.Version.Line(), target.Version.Line()
	if at.stamp.Storage == target.Storage && (line == goal || line.Next() == goal) && startsOn(goal, at.tail, at.v2Keys) {
		p := at
		p.stamp = target
		add(Mark, target.Version, p, costMark)
	}
	if at.stamp.Storage == version.Etcd2 {
		if v, ok := standsFor(line30, target, b); ok && (line == line23 || line == line30) {
			add(Convert, v, place{stamp: version.Stamp{Version: v, Storage: version.Etcd3}, tail: TailOther, v2Keys: true, sameIDs: at.sameIDs}, costConvert)
		}
		return all
	}
	for _, l := range b.Lines {
		v, ok := standsFor(l, target, b)
		if !ok || l.Before(line30) {
			continue
		}
		p := place{stamp: version.Stamp{Version: v, Storage: version.Etcd3}, sameIDs: at.sameIDs}
		if canSettle(at, b) && b.Restores(v) {
			cost := costRestore
			if at.sameIDs {
				cost = costSameIDs
			}
			add(Restore, v, p, cost)
		}
		if !at.stubborn && !l.Before(line) && opensInPlace(line, l) && startsOn(l, at.tail, at.v2Keys) {
			p.tail, p.v2Keys = Leaves(l, at.v2Keys), at.v2Keys
			add(Run, v, p, costRun)
		}
	}
	if target.Storage == version.Etcd2 && goal == line23 && canSettle(at, b) {
		add(WriteV2, target.Version, place{stamp: target}, costWriteV2)
	}
	return all
}

// canSettle says whether the database can be completed from the log, if it has to be.
func canSettle(at place, b Bundled) bool {
	if !at.behind {
		return true
	}
	_, ok := b.Server(at.stamp.Version.Line())
	return ok
}

// standsFor is the version that stands for a line: the target's own in its line.
func standsFor(l version.Line, target version.Stamp, b Bundled) (version.Version, bool) {
	if !slices.Contains(b.Lines, l) {
		return version.Version{}, false
	}
	if l == target.Version.Line() {
		return target.Version, true
	}
	return b.Server(l)
}
