package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
)

// operate runs the operator in this process, as its main function would.
func operate(t testing.TB, dir, target string, more ...string) (code int, log string) {
	t.Helper()
	storage := "etcd3"
	if strings.HasPrefix(target, "2.") {
		storage = "etcd2"
	}
	env := map[string]string{"DO_NOT_MOVE_BINARIES": "true", "ETCD_NAME": "n1"}
	var out, errs bytes.Buffer
	code = run(append([]string{
		"--data-dir", dir, "--bin-dir", etcdtest.Binaries(t),
		"--target-version", target, "--target-storage", storage,
	}, more...), func(k string) string { return env[k] }, &out, &errs)
	return code, out.String() + errs.String()
}

func mustOperate(t testing.TB, dir, target string, more ...string) string {
	t.Helper()
	code, log := operate(t, dir, target, more...)
	if code != 0 {
		t.Fatalf("migrate to %s: exit %d\n%s", target, code, log)
	}
	storage := "etcd3"
	if strings.HasPrefix(target, "2.") {
		storage = "etcd2"
	}
	b, err := os.ReadFile(filepath.Join(dir, "version.txt"))
	if err != nil || string(b) != target+"/"+storage {
		t.Fatalf("version.txt is %q (%v) after a migration to %s\n%s", b, err, target, log)
	}
	return log
}

// seeded is a stopped directory of a version, with what it showed while it ran.
type seeded struct {
	dir string
	v3  etcdtest.Content
	v2  []etcdtest.V2KV
}

func seed(t testing.TB, version string, keys int, stop func(*etcdtest.Member)) seeded {
	t.Helper()
	s := seeded{dir: filepath.Join(t.TempDir(), "etcd")}
	mustOperate(t, s.dir, version)
	m := etcdtest.Start(t, version, s.dir).Ready()
	if strings.HasPrefix(version, "2.") {
		s.v2 = m.V2Seed(keys)
	} else {
		s.v3 = m.Seed(keys)
	}
	stop(m)
	return s
}

// TestEveryPair moves a directory between any two lines, in both directions,
// and lets the target's server show what is there afterwards. By default a
// sample of pairs is drawn; ETCDIMG_ALL=1 runs all of them, on more keys.
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
		seed := uint64(time.Now().UnixNano())
		t.Logf("a sample of 8 of %d pairs, drawn with seed %d", len(pairs), seed)
		r := rand.New(rand.NewPCG(seed, 0))
		r.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
		pairs = pairs[:8]
	}
	for i, p := range pairs {
		t.Run(p[0]+" to "+p[1], func(t *testing.T) {
			stop := (*etcdtest.Member).Stop
			if i%2 == 0 {
				stop = (*etcdtest.Member).Kill
			}
			s := seed(t, p[0], keys, stop)
			begun := time.Now()
			log := mustOperate(t, s.dir, p[1])
			took := time.Since(begun)
			checkShown(t, s, p[0], p[1])
			t.Logf("| %s | %s | %s | %s |", p[0], p[1], took.Round(10*time.Millisecond), stepsOf(log))
		})
	}
}

// stepsOf are the kinds of steps that a log tells of.
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

// checkShown starts the target's server and compares.
func checkShown(t testing.TB, s seeded, from, to string) {
	t.Helper()
	m := etcdtest.Start(t, to, s.dir).Ready()
	defer m.Stop()
	two := func(v string) bool { return strings.HasPrefix(v, "2.") }
	switch {
	case two(from) && two(to):
		etcdtest.Same(t, "the v2 keys", s.v2, m.V2Read())
	case two(from):
		etcdtest.Same(t, "the keys", fromV2(s.v2), values(m.Read("").Keys))
	case two(to):
		var got []shown
		for _, k := range m.V2Read() {
			got = append(got, shown{k.Key, k.Value, fmt.Sprint(k.Created), fmt.Sprint(k.Modified), k.TTL})
		}
		var want []shown
		for _, k := range s.v3.Keys {
			want = append(want, shown{k.Key, k.Value, k.Create, k.Mod, k.Lease != ""})
		}
		etcdtest.Same(t, "the keys", want, got)
	default:
		etcdtest.Same(t, "what the API shows", s.v3, m.Read(s.v3.OldRevision))
	}
}

type shown struct {
	Key, Value, Created, Modified string
	TTL                           bool
}

func fromV2(keys []etcdtest.V2KV) (all []shown) {
	for _, k := range keys {
		x := shown{k.Key, k.Value, fmt.Sprint(k.Created), fmt.Sprint(k.Modified), k.TTL}
		if strings.HasPrefix(k.Key, "/registry/events/") {
			x.Modified = "" // written again, to get its lease
		}
		all = append(all, x)
	}
	return all
}

func values(keys []etcdtest.KV) (all []shown) {
	for _, k := range keys {
		x := shown{k.Key, k.Value, k.Create, k.Mod, k.Lease != ""}
		if strings.HasPrefix(k.Key, "/registry/events/") {
			x.Modified = ""
		}
		all = append(all, x)
	}
	return all
}
