package operator_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/backend"
	"github.com/etcdimg/etcdimg/migrate/internal/bundle"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir/datadirtest"
	"github.com/etcdimg/etcdimg/migrate/internal/operator"
	"github.com/etcdimg/etcdimg/migrate/internal/plan"
	"github.com/etcdimg/etcdimg/migrate/internal/raftlog"
	"github.com/etcdimg/etcdimg/migrate/internal/v2store"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// lab is a data directory of a 3.5, and programs that play 3.4 to 3.6.
type lab struct {
	t       *testing.T
	dir     string
	bin     string
	said    []string
	options operator.Options
}

var somewhat = []datadirtest.Key{{Key: "/registry/a", Value: "1"}, {Key: "/registry/events/b", Value: "2", Lease: 7}}

func newLab(t *testing.T, d datadirtest.Dir) *lab {
	t.Helper()
	l := &lab{t: t, dir: filepath.Join(t.TempDir(), "data"), bin: t.TempDir()}
	datadirtest.Write(t, l.dir, d)
	template := filepath.Join(t.TempDir(), "template")
	datadirtest.Write(t, template, datadirtest.Dir{})
	// What a restore makes: a log of its own, and the database as it was given.
	l.program("etcdctl-3.4.26", `cp -r `+template+` "$6" && cp "$3" "$6"/member/snap/db`)
	for _, p := range []string{"etcd-3.4.26", "etcd-3.5.35", "etcdctl-3.5.35"} {
		l.program(p, "exit 1")
	}
	l.options = operator.Options{
		DataDir: l.dir, KeepBackups: 1, TTLDir: "/registry/events", Name: "n1",
		PeerURLs: []string{"http://localhost:2380"}, Port: 18629, PeerPort: 2380,
		Log: slog.New(slog.DiscardHandler), Say: func(line string) { l.said = append(l.said, line) },
		ReadyIn: 10 * time.Second, StopIn: 10 * time.Second,
	}
	return l
}

func (l *lab) program(name, body string) {
	l.t.Helper()
	p := filepath.Join(l.bin, name)
	if err := os.WriteFile(p, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) stamp(s string) version.Stamp {
	l.t.Helper()
	x, err := version.ParseStamp(s)
	if err != nil {
		l.t.Fatal(err)
	}
	return x
}

func (l *lab) run(target string) error {
	return l.runContext(l.t.Context(), target)
}

func (l *lab) runContext(ctx context.Context, target string) error {
	l.t.Helper()
	l.open(target)
	return operator.Run(ctx, l.options)
}

func (l *lab) open(target string) {
	l.t.Helper()
	b, err := bundle.Open(l.t.Context(), l.bin, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	l.options.Bundle, l.options.Target, l.said = b, l.stamp(target), nil
}

// files is every file around the data directory with its content.
func (l *lab) files() string {
	l.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(filepath.Dir(l.dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, content)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return b.String()
}

// refused runs the operator and checks that it left all as it was.
func (l *lab) refused(target string, want error, says string) {
	l.t.Helper()
	before := l.files()
	err := l.run(target)
	if want != nil && !errors.Is(err, want) || err == nil || !strings.Contains(err.Error(), says) {
		l.t.Errorf("%v, not %v (%s)", err, want, says)
	}
	if l.files() != before {
		l.t.Error("it changed something")
	}
}

func (l *lab) versionText() string {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.dir, "version.txt"))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b)
}

func from35() datadirtest.Dir {
	return datadirtest.Dir{ClusterVersion: "3.5.0", Stamp: "3.5.35/etcd3", Keys: somewhat}
}

func TestARestoreIsPutInPlaceAndTheOldDirectoryKept(t *testing.T) {
	l := newLab(t, from35())
	if err := l.run("3.4.26/etcd3"); err != nil {
		t.Fatal(err)
	}
	if l.versionText() != "3.4.26/etcd3" {
		t.Error(l.versionText())
	}
	d, err := backend.Open(datadir.DBFile(l.dir))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s, err := d.Summarize(backend.All)
	if err != nil || s.Keys != 2 || s.Leases != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	marks, err := d.Marks()
	if err != nil || marks.ClusterVersion != "" {
		t.Errorf("the old version's mark is left: %+v, %v", marks, err)
	}
	backup := filepath.Join(l.dir+datadir.RoomName, "backups", "0001-3.5.35-etcd3")
	if b, err := os.ReadFile(filepath.Join(backup, "version.txt")); err != nil || string(b) != "3.5.35/etcd3" {
		t.Errorf("%s, %v", b, err)
	}
	if !slices.ContainsFunc(l.said, func(s string) bool { return strings.HasPrefix(s, "not kept: the raft log") }) {
		t.Errorf("it did not say what is lost: %q", l.said)
	}
}

func TestARestoreKeepsTheIDsThatEtcdWouldMakeAgain(t *testing.T) {
	says := func(l *lab) bool {
		return slices.ContainsFunc(l.said, func(s string) bool { return strings.HasPrefix(s, "not kept: the member's ID") })
	}
	token := filepath.Join(t.TempDir(), "arguments")
	record := func(l *lab) {
		b, err := os.ReadFile(filepath.Join(l.bin, "etcdctl-3.4.26"))
		if err != nil {
			t.Fatal(err)
		}
		l.program("etcdctl-3.4.26", `echo "$@" > `+token+"\n"+string(b))
	}
	for _, x := range []struct {
		what  string
		other bool
		extra []string
		token string
		said  bool
	}{
		{"the default token", false, nil, "--initial-cluster-token etcd-cluster", false},
		{"another token beside it", false, []string{"--initial-cluster-token=mine"}, "--initial-cluster-token etcd-cluster", false},
		{"IDs of unknown origin", true, nil, "--initial-cluster-token migrate-", true},
	} {
		d := from35()
		d.OtherIDs = x.other
		l := newLab(t, d)
		l.options.ExtraArgs = x.extra
		record(l)
		if err := l.run("3.4.26/etcd3"); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(token)
		if err != nil || !strings.Contains(string(b), x.token) || says(l) != x.said {
			t.Errorf("%s: %s, %v, said %v", x.what, b, err, says(l))
		}
	}
	// A tool that makes others in spite of all.
	l := newLab(t, from35())
	others := filepath.Join(t.TempDir(), "others")
	datadirtest.Write(t, others, datadirtest.Dir{OtherIDs: true})
	l.program("etcdctl-3.4.26", `cp -r `+others+` "$6" && cp "$3" "$6"/member/snap/db`)
	l.refused("3.4.26/etcd3", backend.ErrDiffers, "the member and its cluster were 8e9e05c52164694d and cdf818194e3a8c32")
}

func TestHowManyBackupsAreKept(t *testing.T) {
	for keep, want := range []int{0, 1, 2} {
		l := newLab(t, from35())
		l.options.KeepBackups = keep
		for range 3 {
			if err := l.run("3.4.26/etcd3"); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(l.dir, "version.txt"), []byte("3.5.35/etcd3"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		names, err := filepath.Glob(filepath.Join(l.dir+datadir.RoomName, "backups", "*"))
		if err != nil || len(names) != want {
			t.Errorf("%d to be kept, there are %v", keep, names)
		}
	}
}

func TestADifferenceStopsTheMove(t *testing.T) {
	l := newLab(t, from35())
	wrong := filepath.Join(t.TempDir(), "wrong")
	keys := slices.Clone(somewhat)
	keys[0].Value = "another"
	datadirtest.Write(t, wrong, datadirtest.Dir{Keys: keys})
	l.program("etcdctl-3.4.26", `cp -r `+wrong+` "$6"`)
	l.refused("3.4.26/etcd3", backend.ErrDiffers, "as it was before")
}

func TestAToolThatFailsLeavesItsLastWords(t *testing.T) {
	l := newLab(t, from35())
	l.program("etcdctl-3.4.26", `echo half a restore > "$6"; echo the disk is on fire >&2; exit 3`)
	l.refused("3.4.26/etcd3", nil, "the disk is on fire")
}

func TestAServerThatDiesLeavesItsLastWords(t *testing.T) {
	d := from35()
	d.ClusterVersion, d.Stamp = "3.3.0", "3.3.27/etcd3"
	l := newLab(t, d)
	l.program("etcd-3.5.35", `echo can not read this >&2; exit 2`)
	l.refused("3.5.35/etcd3", nil, "can not read this")
}

func TestMarksMoveNothing(t *testing.T) {
	d := from35()
	d.Stamp, d.ClusterVersion = "3.4.26/etcd3", "3.4.0"
	l := newLab(t, d)
	before, err := os.Stat(datadir.DBFile(l.dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.run("3.5.35/etcd3"); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(datadir.DBFile(l.dir))
	if err != nil || l.versionText() != "3.5.35/etcd3" || !os.SameFile(before, after) {
		t.Errorf("%s, %v", l.versionText(), err)
	}
	if _, err := os.Stat(l.dir + datadir.RoomName); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a room for nothing")
	}
}

func TestAV2StoreIsWrittenWithTheMembersOwnID(t *testing.T) {
	l := newLab(t, from35())
	if err := l.run("2.3.8/etcd2"); err != nil {
		t.Fatal(err)
	}
	log, err := raftlog.Read(filepath.Join(l.dir, datadir.MemberDir))
	if err != nil || log.NodeID != datadirtest.MemberID || log.ClusterID != datadirtest.ClusterID {
		t.Fatalf("%+v, %v", log, err)
	}
	c, err := v2store.Read(log.Snapshot.Data)
	if err != nil || len(c.Keys) != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	for i, k := range c.Keys {
		if k.Path != somewhat[i].Key || k.Value != somewhat[i].Value || k.Modified != uint64(i+2) || k.Expires.IsZero() != (somewhat[i].Lease == 0) {
			t.Errorf("%+v", k)
		}
	}
}

func TestEachLossHasAName(t *testing.T) {
	for _, x := range []struct {
		name string
		make func(d *datadirtest.Dir)
	}{
		{"not-utf8", func(d *datadirtest.Dir) { d.Keys = append(d.Keys, datadirtest.Key{Key: "/x", Value: "\xff"}) }},
		{"v2-paths", func(d *datadirtest.Dir) { d.Keys = append(d.Keys, datadirtest.Key{Key: "no/slash", Value: "1"}) }},
		{"v2-paths", func(d *datadirtest.Dir) {
			d.Keys = append(d.Keys, datadirtest.Key{Key: "/registry/a/below", Value: "1"})
		}},
		{"auth", func(d *datadirtest.Dir) { d.Auth = true }},
	} {
		d := from35()
		d.Keys = slices.Clone(d.Keys)
		x.make(&d)
		l := newLab(t, d)
		l.refused("2.3.8/etcd2", operator.ErrLoss, "--accept-loss="+x.name)
		for _, other := range operator.Losses() {
			if other != x.name {
				l.options.AcceptLoss = append(l.options.AcceptLoss, other)
			}
		}
		l.refused("2.3.8/etcd2", operator.ErrLoss, "--accept-loss="+x.name)
		l.options.AcceptLoss = []string{x.name}
		if err := l.run("2.3.8/etcd2"); err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

func TestUsersThatNobodyAsksForAreALoss(t *testing.T) {
	d := from35()
	d.Auth = true
	l := newLab(t, d)
	l.program("etcd-3.0.17", "exit 1")
	l.program("etcdctl-3.0.17", "exit 1")
	l.refused("3.0.17/etcd3", operator.ErrLoss, "--accept-loss=auth")
}

func TestWhatVersionTxtSaysMustFitTheFiles(t *testing.T) {
	for _, x := range []struct {
		what  string
		dir   datadirtest.Dir
		want  error
		says  string
		given string // --current-version
		ok    bool   // with it
	}{
		{"nothing", datadirtest.Dir{ClusterVersion: "3.5.0"}, operator.ErrNoStamp, "--current-version=3.5.35/etcd3", "3.5.35/etcd3", true},
		{"nothing, and no marks", datadirtest.Dir{}, operator.ErrNoStamp, "etcd 3.0 or later", "3.5.35/etcd3", true},
		{"older", datadirtest.Dir{ClusterVersion: "3.5.0", Stamp: "3.4.26/etcd3"}, operator.ErrStamp, "older than the data", "3.5.35/etcd3", true},
		{"newer", datadirtest.Dir{ClusterVersion: "3.3.0", Stamp: "3.5.35/etcd3"}, operator.ErrStamp, "newer than the data", "3.4.26/etcd3", true},
		{"a later storage version", datadirtest.Dir{ClusterVersion: "3.5.0", StorageVersion: "3.6.0", Stamp: "3.5.35/etcd3"}, operator.ErrStamp, "older than the data", "3.6.16/etcd3", true},
	} {
		t.Run(x.what, func(t *testing.T) {
			l := newLab(t, x.dir)
			l.refused("3.4.26/etcd3", x.want, x.says)
			l.options.Current = l.stamp(x.given)
			if err := l.run("3.4.26/etcd3"); (err == nil) != x.ok {
				t.Error(err)
			}
		})
	}
}

// A command line stays as it is over many starts: --current-version counts only
// where version.txt does not.
func TestCurrentVersionDoesNotBeatAStampThatFits(t *testing.T) {
	l := newLab(t, datadirtest.Dir{ClusterVersion: "3.5.0"})
	l.options.Current = l.stamp("3.5.35/etcd3")
	for range 2 {
		if err := l.run("3.4.26/etcd3"); err != nil {
			t.Fatal(err)
		}
	}
	names, err := filepath.Glob(filepath.Join(l.dir+datadir.RoomName, "backups", "*"))
	if err != nil || len(names) != 1 {
		t.Errorf("the second start migrated again: %v", names)
	}
}

func TestAWayThatNeedsWhatIsNotBundledIsToldWhole(t *testing.T) {
	d := from35()
	d.ClusterVersion, d.Stamp = "3.0.0", "3.0.17/etcd3"
	l := newLab(t, d)
	l.program("etcd-3.7.3", "exit 1")
	l.program("etcdctl-3.7.3", "exit 1")
	for _, p := range []string{"etcd-3.5.35", "etcdctl-3.5.35"} {
		if err := os.Remove(filepath.Join(l.bin, p)); err != nil {
			t.Fatal(err)
		}
	}
	l.refused("3.7.3/etcd3", plan.ErrNotBundled, "restore by etcdutl")
}

func TestOnlyOneAtATime(t *testing.T) {
	l := newLab(t, from35())
	lock, err := datadir.Acquire(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	l.refused("3.4.26/etcd3", datadir.ErrLocked, "another migration")
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if err := l.run("3.4.26/etcd3"); err != nil {
		t.Error(err)
	}
}

func TestToldToStopItGoesOnTheNextTime(t *testing.T) {
	l := newLab(t, from35())
	ctx, cancel := context.WithCancel(t.Context())
	good, err := os.ReadFile(filepath.Join(l.bin, "etcdctl-3.4.26"))
	if err != nil {
		t.Fatal(err)
	}
	began := filepath.Join(t.TempDir(), "began")
	l.program("etcdctl-3.4.26", "touch "+began+"; exec sleep 60")
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(began); err == nil {
				cancel()
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if err := l.runContext(ctx, "3.4.26/etcd3"); err == nil || !strings.Contains(err.Error(), "run this again to go on") {
		t.Fatal(err)
	}
	if l.versionText() != "3.5.35/etcd3" {
		t.Error(l.versionText())
	}
	if err := os.WriteFile(filepath.Join(l.bin, "etcdctl-3.4.26"), good, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := l.run("3.4.26/etcd3"); err != nil || l.versionText() != "3.4.26/etcd3" {
		t.Errorf("%v, %s", err, l.versionText())
	}
}

func TestADryRunSaysAndChangesNothing(t *testing.T) {
	l := newLab(t, from35())
	l.open("3.4.26/etcd3")
	before := l.files()
	if err := operator.DryRun(t.Context(), l.options); err != nil {
		t.Fatal(err)
	}
	said := strings.Join(l.said, "\n")
	for _, want := range []string{"from 3.5.35/etcd3 to 3.4.26/etcd3", "step 1: restore", "not kept: "} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in\n%s", want, said)
		}
	}
	if l.files() != before {
		t.Error("it changed something")
	}
}

func TestAnEmptyDirectoryBecomesTheTargets(t *testing.T) {
	l := newLab(t, from35())
	for _, name := range []string{"absent", "deep/er/absent"} {
		l.dir = filepath.Join(t.TempDir(), name)
		l.options.DataDir = l.dir + "/" // as people write it
		if err := l.run("3.5.35/etcd3"); err != nil || l.versionText() != "3.5.35/etcd3" {
			t.Error(err)
		}
	}
}
