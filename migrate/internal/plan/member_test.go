package plan

import (
	"errors"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

func at3(minor int) version.Line { return version.Line{Major: 3, Minor: minor} }

// answer is what another member says: its line, and what was agreed on.
func answer(runs, agreed int) Other {
	return Other{Name: "m2", Line: at3(runs), Agreed: at3(agreed), AgreedKnown: true}
}

func TestAMemberOfAClusterMovesAsTheOthersAllow(t *testing.T) {
	all := bundle(t, catalogue...)
	without35 := bundle(t, "3.4.26", "3.6.16")
	others := func(o ...Other) Facts { return Facts{Others: o} }
	own := func(agreed int) Facts { return Facts{AgreedKnown: true, Agreed: at3(agreed)} }
	stored := func(agreed, storage int) Facts {
		return Facts{AgreedKnown: true, Agreed: at3(agreed), StorageKnown: true, Storage: at3(storage)}
	}
	with := func(f Facts, o ...Other) Facts { f.Others = o; return f }
	for _, x := range []struct {
		from, to string
		facts    Facts
		bundled  Bundled
		want     string // steps, or a part of the error
	}{
		// Up, by the member's own files.
		{"3.0.17", "3.1.20", Facts{Tail: TailOther}, all, "mark 3.1"},
		{"3.0.17", "3.1.20", own(0), all, "mark 3.1"},
		{"3.5.1", "3.5.35", Facts{}, all, "mark 3.5"},
		{"3.5.35", "3.5.1", own(5), all, "mark 3.5"},
		{"3.0.17", "3.2.32", Facts{}, all, "the next line is 3.1"},
		{"3.4.26", "3.5.35", own(3), all, "agreed on version 3.3 only"},
		{"3.6.16", "3.7.3", stored(5, 5), all, "agreed on version 3.5 only"},
		{"3.6.16", "3.7.3", own(6), all, "what it stores to 3.6"},
		{"3.6.16", "3.7.3", stored(6, 5), all, "what it stores to 3.6"},
		{"3.6.16", "3.7.3", stored(6, 6), all, "mark 3.7"},
		{"3.6.16", "3.7.3", with(stored(6, 6), answer(6, 6), Other{Name: "m3", Line: at3(6), Agreed: at3(6), AgreedKnown: true, Storage: at3(5)}), all, "member m3 has not brought"},
		// v2 requests in the log.
		{"3.5.35", "3.6.16", Facts{Tail: TailOther}, all, "cure 3.5, mark 3.6"},
		{"3.5.35", "3.6.16", Facts{Tail: TailOther}, without35, "--snapshot-count=1"},
		{"3.5.35", "3.6.16", Facts{Tail: TailAttributes}, all, "mark 3.6"},
		{"3.6.16", "3.7.3", Facts{Tail: TailAttributes}, all, "cure 3.6, mark 3.7"},
		{"3.5.35", "3.6.16", Facts{V2Keys: true}, all, "delete them by the v2 API"},
		// Up, by what the others say.
		{"3.4.26", "3.5.35", with(own(4), answer(4, 4), answer(5, 4)), all, "mark 3.5"},
		{"3.4.26", "3.5.35", with(own(4), answer(3, 3)), all, "still runs etcd 3.3"},
		{"3.4.26", "3.5.35", with(own(4), answer(4, 3)), all, "as member m2 says"},
		{"3.5.35", "3.6.16", with(own(5), answer(6, 6)), all, "an old copy"},
		{"3.5.35", "3.6.16", with(own(5), answer(7, 5)), all, "mark 3.6"},
		{"3.6.16", "3.7.3", with(stored(6, 6), answer(5, 5)), all, "still runs etcd 3.5"},
		// Never 3.5 or older beside 3.7, nor HTTP /health of 3.4 beside 3.6.
		{"3.5.35", "3.5.35", others(answer(7, 5)), all, "start this member with etcd 3.6"},
		{"3.4.26", "3.5.35", others(answer(7, 4)), all, "start this member with etcd 3.6"},
		{"3.7.3", "3.7.3", others(answer(5, 5)), all, "still runs etcd 3.5"},
		{"3.4.26", "3.4.26", others(answer(6, 4)), all, "bring this member to 3.5"},
		{"3.4.26", "3.5.35", with(own(4), answer(6, 4)), all, "mark 3.5"},
		{"3.7.3", "3.7.3", others(answer(6, 6)), all, ""},
		// A record that every server dies of.
		{"3.5.35", "3.5.35", Facts{Stuck: true}, all, "unmark 3.5"},
		{"3.5.35", "3.6.16", Facts{Stuck: true}, all, "unmark 3.5, mark 3.6"},
		{"3.5.35", "3.4.26", Facts{Stuck: true}, all, "migrate prepare"},
		// Members that are in the database only.
		{"3.5.35", "3.6.16", Facts{Zombies: true}, all, "forget 3.5, mark 3.6"},
		{"3.5.35", "3.6.16", Facts{Zombies: true, Stuck: true, Tail: TailOther}, all, "unmark 3.5, forget 3.5, cure 3.5, mark 3.6"},
		{"3.4.26", "3.5.35", Facts{Zombies: true}, all, "mark 3.5"},
		// Down.
		{"3.7.3", "3.6.16", stored(6, 6), all, "mark 3.6"},
		{"3.7.3", "3.6.16", with(stored(6, 6), answer(6, 6), answer(7, 6)), all, "mark 3.6"},
		{"3.6.16", "3.5.35", own(5), all, "mark 3.5"},
		{"3.7.3", "3.6.16", stored(7, 7), all, "downgrade enable 3.6"},
		{"3.7.3", "3.6.16", stored(6, 7), all, "downgrade enable 3.6"},
		{"3.7.3", "3.6.16", with(stored(6, 6), answer(7, 7)), all, "m2 says 3.7"},
		{"3.6.16", "3.5.35", stored(5, 6), all, "downgrade enable 3.5"},
		{"3.6.16", "3.5.35", stored(6, 6), all, "downgrade enable 3.5"},
		{"3.7.3", "3.5.35", stored(7, 7), all, "the next line down is 3.6"},
		{"3.5.35", "3.4.26", own(5), all, "migrate prepare"},
		{"3.1.20", "3.0.17", own(1), all, "migrate prepare"},
		{"3.0.17", "2.3.8", own(0), all, "migrate prepare"},
		{"2.3.8", "3.0.17", Facts{}, all, "differ for ever"},
	} {
		x.facts.At, x.facts.Voters = stamp(t, x.from), 3
		steps, err := Find(x.facts, stamp(t, x.to), x.bundled)
		got := short(steps)
		if err != nil {
			if !errors.Is(err, ErrCluster) {
				t.Errorf("%s to %s: %v", x.from, x.to, err)
			}
			got = err.Error()
		}
		if !strings.Contains(got, x.want) || x.want == "" && got != "" {
			t.Errorf("%s to %s, %+v: %q, not %q", x.from, x.to, x.facts, got, x.want)
		}
	}
}
