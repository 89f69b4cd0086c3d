package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
	"github.com/etcdimg/etcdimg/migrate/internal/plan"
)

// operate runs the operator in this process, as its main function would.
func operate(t testing.TB, dir, target string, more ...string) (code int, log string) {
	t.Helper()
	env := map[string]string{"DO_NOT_MOVE_BINARIES": "true", "ETCD_NAME": "n1"}
	var out, errs bytes.Buffer
	code = run(append([]string{
		"--data-dir", dir, "--bin-dir", etcdtest.Binaries(t),
		"--target-version", target, "--target-storage", storageOf(target),
	}, more...), func(k string) string { return env[k] }, &out, &errs)
	return code, out.String() + errs.String()
}

// storageOf is the storage that a line is known by.
func storageOf(v string) string {
	if strings.HasPrefix(v, "2.") {
		return "etcd2"
	}
	return "etcd3"
}

func mustOperate(t testing.TB, dir, target string, more ...string) string {
	t.Helper()
	code, log := operate(t, dir, target, more...)
	if code != 0 {
		t.Fatalf("migrate to %s: exit %d\n%s", target, code, log)
	}
	b, err := os.ReadFile(filepath.Join(dir, "version.txt"))
	if err != nil || string(b) != target+"/"+storageOf(target) {
		t.Fatalf("version.txt is %q (%v) after a migration to %s\n%s", b, err, target, log)
	}
	return log
}

// seeded is a stopped directory of a version, with what it showed while it ran.
type seeded struct {
	dir, version string
	peer         string // peer URL
	ids          etcdtest.IDs
	v3           etcdtest.Content
	v2           []etcdtest.V2KV
}

func seed(t testing.TB, version string, keys int, stop func(*etcdtest.Member), more ...string) seeded {
	t.Helper()
	s := seeded{dir: filepath.Join(t.TempDir(), "etcd"), version: version}
	mustOperate(t, s.dir, version)
	m := etcdtest.Start(t, version, s.dir, more...).Ready()
	if storageOf(version) == "etcd2" {
		s.v2 = m.V2Seed(keys)
	} else {
		s.v3 = m.Seed(keys)
	}
	s.ids, s.peer = m.IDs(), m.PeerURL
	stop(m)
	return s
}

// TestEveryPair moves a directory between any two lines, in both directions,
// lets the target's server show what is there afterwards, and compares that
// with what the plan promised and the documentation tells. By default a sample
// of pairs is drawn; ETCDIMG_ALL=1 runs all of them, on more keys.
func TestEveryPair(t *testing.T) {
	versions := etcdtest.Versions(t)
	var pairs [][2]string
	for _, a := range versions {
		for _, b := range versions {
			if a != b {
				pairs = append(pairs, [2]string{a, b})
			}
		}
	}
	keys := 1000
	if !etcdtest.All() {
		keys = 60
		r := newRand(t)
		t.Logf("a sample of 8 of %d pairs", len(pairs))
		r.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
		pairs = pairs[:8]
	}
	for i, p := range pairs {
		t.Run(p[0]+" to "+p[1], func(t *testing.T) {
			t.Parallel()
			stop := (*etcdtest.Member).Stop
			if i%2 == 0 {
				stop = (*etcdtest.Member).Kill
			}
			s := seed(t, p[0], keys, stop)
			begun := time.Now()
			log := mustOperate(t, s.dir, p[1], "--initial-advertise-peer-urls", s.peer)
			took := time.Since(begun)
			kinds := kindsOf(log)
			got := shown(t, s, p[1])
			if want := plan.Keeps(kinds, true); got != want {
				t.Errorf("by %s it kept %+v, not %+v", stepsOf(log), got, want)
			}
			if want := keptBy(usualFacts(t, lineOf(p[0])), usualWay(t, lineOf(p[0]), lineOf(p[1]))); got != want {
				t.Errorf("by %s it kept %+v, the documentation says %+v", stepsOf(log), got, want)
			}
			t.Logf("| %s | %s | %s | %s | %+v |", p[0], p[1], took.Round(10*time.Millisecond), stepsOf(log), got)
		})
	}
}

// otherToken makes IDs that a restore can not make again.
var otherToken = []string{"--initial-cluster-token", "some-other"}

// Where a restore would make the membership new, far moves up are made in place,
// and those down say so.
func TestPairsOfMembersWhoseIDsCanNotBeMadeAgain(t *testing.T) {
	for _, x := range []struct{ from, to, steps string }{
		{"3.0", "3.7", "run 3.5, run 3.6, mark 3.7"},
		{"3.4", "3.7", "run 3.5, run 3.6, mark 3.7"},
		{"3.7", "3.4", "restore 3.4"},
		{"2.3", "3.7", "convert 3.0, restore 3.7"},
	} {
		t.Run(x.from+" to "+x.to, func(t *testing.T) {
			s := seed(t, version(t, x.from), 60, (*etcdtest.Member).Stop, otherToken...)
			log := mustOperate(t, s.dir, version(t, x.to), "--initial-advertise-peer-urls", s.peer)
			var steps []string
			for step := range strings.SplitSeq(stepsOf(log), ", ") {
				steps = append(steps, lineOf(step))
			}
			if got := strings.Join(steps, ", "); got != x.steps {
				t.Errorf("%s instead of %s", got, x.steps)
			}
			got := shown(t, s, version(t, x.to))
			if want := plan.Keeps(kindsOf(log), false); got != want {
				t.Errorf("it kept %+v, not %+v", got, want)
			}
			if said := strings.Contains(log, "the member's ID and the cluster's ID"); said == got.Membership {
				t.Errorf("it said that the IDs are made new: %v", said)
			}
		})
	}
}

// newRand is seeded anew each time, or by ETCDIMG_SEED; the seed is printed, so
// that a failure can be played again.
func newRand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("ETCDIMG_SEED"); s != "" {
		if _, err := fmt.Sscan(s, &seed); err != nil {
			t.Fatalf("ETCDIMG_SEED: %v", err)
		}
	}
	t.Logf("seed %d (set ETCDIMG_SEED to play it again)", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// stepsOf are the steps that a log tells of, as "run 3.5.35, mark 3.6.16".
func stepsOf(log string) string {
	var kinds []string
	for line := range strings.SplitSeq(log, "\n") {
		if strings.Contains(line, `msg="step begins"`) {
			_, rest, _ := strings.Cut(line, "kind=")
			kinds = append(kinds, strings.Replace(strings.Replace(rest, " to=", " ", 1), "/etcd3", "", 1))
		}
	}
	return strings.Join(kinds, ", ")
}

func kindsOf(log string) (kinds []plan.Kind) {
	for step := range strings.SplitSeq(stepsOf(log), ", ") {
		kind, _, _ := strings.Cut(step, " ")
		kinds = append(kinds, plan.Kind(kind))
	}
	return kinds
}

// shown starts the target's server, fails the test where a key is not what it
// was, and gives what else was kept.
func shown(t testing.TB, s seeded, to string) (kept plan.Kept) {
	t.Helper()
	m := etcdtest.Start(t, to, s.dir).Ready()
	defer m.Stop()
	kept.Membership = m.IDs() == s.ids
	two := func(v string) bool { return storageOf(v) == "etcd2" }
	switch {
	case two(s.version) && two(to):
		etcdtest.Same(t, "the v2 keys", s.v2, m.V2Read())
		kept.Revisions, kept.History, kept.Leases, kept.TTLs = true, true, true, true
	case two(s.version):
		want, got := fromV2(s.v2), fromV3(m.Read(etcdtest.Content{}).Keys)
		etcdtest.Same(t, "the keys", values(want), values(got))
		// Those below the TTL directory are written again, to get their lease.
		notEvent := func(all []keyShown) []keyShown {
			return slices.DeleteFunc(slices.Clone(all), func(k keyShown) bool { return strings.HasPrefix(k.Key, "/registry/events/") })
		}
		for _, k := range got {
			if leased := strings.HasPrefix(k.Key, "/registry/events/"); leased != k.TTL {
				t.Errorf("%s has a lease: %v", k.Key, k.TTL)
			}
		}
		kept.Revisions = slices.Equal(revisions(notEvent(want)), revisions(notEvent(got)))
		kept.TTLs = slices.Equal(ttls(want), ttls(got))
	case two(to):
		var got []keyShown
		for _, k := range m.V2Read() {
			got = append(got, keyShown{k.Key, k.Value, fmt.Sprint(k.Created), fmt.Sprint(k.Modified), k.TTL})
		}
		want := fromV3(s.v3.Keys)
		etcdtest.Same(t, "the keys", values(want), values(got))
		kept.Revisions = slices.Equal(revisions(want), revisions(got))
		kept.TTLs = slices.Equal(ttls(want), ttls(got))
	default:
		got := m.Read(s.v3)
		etcdtest.Same(t, "what the API shows", s.v3, got)
		kept.Revisions, kept.History, kept.Leases, kept.TTLs = true, true, true, true
	}
	return kept
}

// checkShown is shown for tests that ask for no more than the keys.
func checkShown(t testing.TB, s seeded, to string) {
	t.Helper()
	shown(t, s, to)
}

// keyShown is a key in the form that both APIs can show.
type keyShown struct {
	Key, Value, Created, Modified string
	TTL                           bool
}

func fromV2(keys []etcdtest.V2KV) (all []keyShown) {
	for _, k := range keys {
		all = append(all, keyShown{k.Key, k.Value, fmt.Sprint(k.Created), fmt.Sprint(k.Modified), k.TTL})
	}
	return all
}

func fromV3(keys []etcdtest.KV) (all []keyShown) {
	for _, k := range keys {
		all = append(all, keyShown{k.Key, k.Value, k.Create, k.Mod, k.Lease != ""})
	}
	return all
}

func values(keys []keyShown) (all [][2]string) {
	for _, k := range keys {
		all = append(all, [2]string{k.Key, k.Value})
	}
	return all
}

func revisions(keys []keyShown) (all [][3]string) {
	for _, k := range keys {
		all = append(all, [3]string{k.Key, k.Created, k.Modified})
	}
	return all
}

func ttls(keys []keyShown) (all []string) {
	for _, k := range keys {
		if k.TTL {
			all = append(all, k.Key)
		}
	}
	return all
}
