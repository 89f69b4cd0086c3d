package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// catalogue are the nine lines, one version of each.
var catalogue = []string{"2.3.8", "3.0.17", "3.1.20", "3.2.32", "3.3.27", "3.4.26", "3.5.35", "3.6.16", "3.7.3"}

func stamp(t testing.TB, s string) version.Stamp {
	t.Helper()
	v, err := version.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	if v.Major == 2 {
		return version.Stamp{Version: v, Storage: version.Etcd2}
	}
	return version.Stamp{Version: v, Storage: version.Etcd3}
}

// bundle has servers and tools of some versions.
func bundle(t testing.TB, versions ...string) Bundled {
	t.Helper()
	var all []version.Version
	b := Bundled{Restores: func(v version.Version) bool { return slices.Contains(all, v) && v.Major == 3 }}
	for _, s := range versions {
		v := stamp(t, s).Version
		all = append(all, v)
		if !slices.Contains(b.Lines, v.Line()) {
			b.Lines = append(b.Lines, v.Line())
		}
	}
	b.Server = func(l version.Line) (version.Version, bool) {
		for _, v := range all {
			if v.Line() == l {
				return v, true
			}
		}
		return version.Version{}, false
	}
	return b
}

func short(steps []Step) string {
	var parts []string
	for _, s := range steps {
		parts = append(parts, string(s.Kind)+" "+s.To.Version.Line().String())
	}
	return strings.Join(parts, ", ")
}

func TestTheShortestWayAmongThoseThatWork(t *testing.T) {
	all := bundle(t, catalogue...)
	for _, x := range []struct {
		from, to string
		facts    Facts
		want     string
	}{
		{"3.5.35", "3.5.35", Facts{}, ""},
		{"3.5.1", "3.5.35", Facts{}, "mark 3.5"},
		{"3.5.35", "3.5.1", Facts{}, "mark 3.5"},
		{"3.4.26", "3.5.35", Facts{Tail: TailOther}, "mark 3.5"},
		{"3.0.17", "3.5.35", Facts{Tail: TailOther}, "run 3.5"},
		{"3.0.17", "3.6.16", Facts{Tail: TailOther}, "run 3.5, mark 3.6"},
		{"3.0.17", "3.7.3", Facts{Tail: TailOther}, "run 3.5, run 3.6, mark 3.7"},
		{"3.5.35", "3.6.16", Facts{Tail: TailAttributes}, "mark 3.6"},
		{"3.5.35", "3.6.16", Facts{Tail: TailOther}, "run 3.5, mark 3.6"},
		{"3.5.35", "3.7.3", Facts{}, "run 3.7"},
		{"3.5.35", "3.7.3", Facts{Tail: TailAttributes}, "run 3.6, mark 3.7"},
		{"3.6.16", "3.7.3", Facts{}, "mark 3.7"},
		{"3.6.16", "3.7.3", Facts{Tail: TailAttributes}, "run 3.6, mark 3.7"},
		{"3.5.35", "3.6.16", Facts{V2Keys: true}, "restore 3.6"},
		{"3.4.26", "3.7.3", Facts{V2Keys: true}, "restore 3.7"},
		{"3.5.35", "3.6.16", Facts{Tail: TailOther, Stubborn: true}, "restore 3.6"},
		{"3.5.35", "3.7.3", Facts{Tail: TailOther, Stubborn: true}, "restore 3.7"},
		{"3.7.3", "3.6.16", Facts{}, "restore 3.6"},
		{"3.7.3", "3.0.17", Facts{}, "restore 3.0"},
		{"3.0.17", "3.7.3", Facts{Tail: TailOther, SameIDs: true}, "restore 3.7"},
		{"3.0.17", "3.6.16", Facts{Tail: TailOther, SameIDs: true}, "run 3.5, mark 3.6"},
		{"2.3.8", "3.7.3", Facts{Tail: TailOther, V2Keys: true, SameIDs: true}, "convert 3.0, restore 3.7"},
		{"3.7.3", "2.3.8", Facts{}, "write-v2 2.3"},
		{"2.3.8", "3.0.17", Facts{Tail: TailOther, V2Keys: true}, "convert 3.0"},
		{"2.3.8", "3.5.35", Facts{Tail: TailOther, V2Keys: true}, "convert 3.0, run 3.5"},
		{"2.3.8", "3.7.3", Facts{Tail: TailOther, V2Keys: true}, "convert 3.0, restore 3.7"},
		// Members that are in the database only count from 3.6 on.
		{"3.5.35", "3.6.16", Facts{Zombies: true}, "forget 3.5, mark 3.6"},
		{"3.0.17", "3.6.16", Facts{Tail: TailOther, Zombies: true}, "forget 3.0, run 3.5, mark 3.6"},
		{"3.6.16", "3.7.3", Facts{Zombies: true}, "forget 3.6, mark 3.7"},
		{"3.5.35", "3.5.35", Facts{Zombies: true}, ""},
		{"3.4.26", "3.5.35", Facts{Zombies: true}, "mark 3.5"},
		{"3.4.26", "3.7.3", Facts{Tail: TailOther, Zombies: true, SameIDs: true}, "restore 3.7"},
		{"3.7.3", "3.6.16", Facts{Zombies: true}, "restore 3.6"},
	} {
		x.facts.At = stamp(t, x.from)
		steps, err := Find(x.facts, stamp(t, x.to), all)
		if err != nil {
			t.Errorf("%s to %s: %v", x.from, x.to, err)
		} else if got := short(steps); got != x.want {
			t.Errorf("%s to %s: %q instead of %q", x.from, x.to, got, x.want)
		}
	}
}

// Every way is made of steps that are each known to work, and ends where it should.
func TestEveryStepOfEveryWayIsKnownToWork(t *testing.T) {
	for _, missing := range append([]string{""}, catalogue...) {
		var versions []string
		for _, v := range catalogue {
			if v != missing {
				versions = append(versions, v)
			}
		}
		b := bundle(t, versions...)
		for _, from := range versions {
			for _, to := range versions {
				for _, f := range []Facts{{}, {Tail: TailAttributes}, {Tail: TailOther}, {Tail: TailOther, V2Keys: true}, {Behind: true}, {Tail: TailOther, Behind: true}, {Tail: TailOther, SameIDs: true}, {Tail: TailOther, Stubborn: true}, {Zombies: true}, {Tail: TailOther, SameIDs: true, Zombies: true}} {
					f.At = stamp(t, from)
					if v := f.At.Version.Line(); !v.Before(line36) && f.V2Keys || v == line37 && f.Tail != TailClean {
						continue // no server leaves that
					}
					steps, err := Find(f, stamp(t, to), b)
					if err != nil {
						if from == "2.3.8" && missing == "3.0.17" && errors.Is(err, ErrNotBundled) {
							continue // only 3.0 turns v2 keys into v3 keys
						}
						t.Errorf("%s to %s without %q, %+v: %v", from, to, missing, f, err)
						continue
					}
					checkWay(t, f, stamp(t, to), b, steps)
				}
			}
		}
	}
}

func checkWay(t *testing.T, f Facts, target version.Stamp, b Bundled, steps []Step) {
	t.Helper()
	at, tail, keys, zombies := f.At, f.Tail, f.V2Keys, f.Zombies
	for _, s := range steps {
		from, to := at.Version.Line(), s.To.Version.Line()
		if s.From != at {
			t.Errorf("%v begins at %s, not at %s", s, s.From, at)
		}
		switch s.Kind {
		case Mark:
			if from != to && from.Next() != to || !startsOn(to, tail, keys) {
				t.Errorf("%s to %s (tail %d, keys %v): the server would not start", at, s.To, tail, keys)
			}
		case Run:
			if !opensInPlace(from, to) || !startsOn(to, tail, keys) {
				t.Errorf("%s to %s (tail %d, keys %v): the server would not start", at, s.To, tail, keys)
			}
			tail = Leaves(to, keys)
		case Forget:
			zombies = false
		case Restore:
			tail, keys, zombies = TailClean, false, false
		case Convert:
			if from != line23 && from != line30 || to != line30 {
				t.Errorf("%s converts to %s", at, s.To)
			}
			tail, keys = TailOther, true
		case WriteV2:
			if to != line23 {
				t.Errorf("a v2 store for %s", s.To)
			}
		}
		if at = s.To; zombies && s.Kind != WriteV2 && !at.Version.Line().Before(line36) {
			t.Errorf("%v: members that are none would count", s)
		}
	}
	if at != target {
		t.Errorf("the way ends at %s instead of %s", at, target)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	b := bundle(t, "3.4.26", "3.6.16")
	b.Restores = func(version.Version) bool { return false }
	_, err := Find(Facts{At: stamp(t, "3.4.26"), Tail: TailOther}, stamp(t, "3.6.16"), b)
	if !errors.Is(err, ErrNotBundled) || !strings.Contains(err.Error(), "run etcd 3.5, mark as 3.6") {
		t.Error(err)
	}
}

func TestVersionsThatNothingIsKnownAboutAreRefused(t *testing.T) {
	b := bundle(t, catalogue...)
	for _, x := range [][2]string{
		{"2.2.1/etcd2", "3.0.17/etcd3"}, {"3.5.35/etcd3", "3.6.16/etcd2"}, {"3.5.35/etcd3", "4.0.0/etcd3"},
		{"2.3.8/etcd3", "3.0.17/etcd3"}, {"3.4.26/etcd3", "3.4.26/etcd2"}, {"3.4.26/etcd2", "3.5.35/etcd3"},
	} {
		from, err := version.ParseStamp(x[0])
		if err != nil {
			t.Fatal(err)
		}
		to, err := version.ParseStamp(x[1])
		if err != nil {
			t.Fatal(err)
		}
		if steps, err := Find(Facts{At: from}, to, b); !errors.Is(err, ErrNoWay) {
			t.Errorf("%s to %s: %v, %v", from, to, steps, err)
		}
	}
}

// A later line is reached step by step, since that is what etcd promises.
func TestALineThatIsNotOutYetIsReachedFromTheOneBefore(t *testing.T) {
	b := bundle(t, append(slices.Clone(catalogue), "3.8.0")...)
	steps, err := Find(Facts{At: stamp(t, "3.6.16")}, stamp(t, "3.8.0"), b)
	if err != nil || short(steps) != "run 3.7, mark 3.8" {
		t.Errorf("%s, %v", short(steps), err)
	}
}

func FuzzPlan(f *testing.F) {
	f.Add(uint8(1), uint8(8), uint8(2), true, true, uint16(0x1ff))
	f.Add(uint8(8), uint8(0), uint8(0), false, false, uint16(0x101))
	f.Fuzz(func(t *testing.T, from, to, tail uint8, keys, behind bool, have uint16) {
		var versions []string
		for i, v := range catalogue {
			if have>>i&1 == 1 {
				versions = append(versions, v)
			}
		}
		target := catalogue[int(to)%len(catalogue)]
		if !slices.Contains(versions, target) {
			versions = append(versions, target)
		}
		b := bundle(t, versions...)
		facts := Facts{At: stamp(t, catalogue[int(from)%len(catalogue)]), Tail: Tail(tail % 3), V2Keys: keys, Behind: behind, SameIDs: tail&4 != 0, Stubborn: tail&8 != 0, Zombies: tail&16 != 0}
		steps, err := Find(facts, stamp(t, target), b)
		if err != nil {
			return
		}
		for _, s := range steps {
			if s.Kind != Mark && s.Kind != WriteV2 && s.Kind != Forget && !slices.Contains(versions, s.Version.String()) {
				t.Errorf("%v needs a version that is not bundled", s)
			}
		}
		checkWay(t, facts, stamp(t, target), b, steps)
	})
}
