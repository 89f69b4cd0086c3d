package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
)

// trio is a cluster of three on loopback, each member with a directory of its own.
type trio struct {
	t       testing.TB
	names   []string
	dirs    []string
	peers   []string
	members []*etcdtest.Member // nil: stopped
	more    []string           // flags for every server
}

func newTrio(t testing.TB) *trio {
	c := &trio{t: t, members: make([]*etcdtest.Member, 3)}
	base := t.TempDir()
	for i := range 3 {
		c.names = append(c.names, fmt.Sprintf("m%d", i+1))
		c.dirs = append(c.dirs, filepath.Join(base, c.names[i]))
		c.peers = append(c.peers, etcdtest.FreeURL(t))
	}
	return c
}

func (c *trio) initial() string {
	var all []string
	for i, n := range c.names {
		all = append(all, n+"="+c.peers[i])
	}
	return strings.Join(all, ",")
}

// flags are the operator's for one member.
func (c *trio) flags(i int, more []string) []string {
	return slices.Concat([]string{
		"--name", c.names[i], "--initial-cluster", c.initial(), "--initial-advertise-peer-urls", c.peers[i],
	}, ports(c.t), more)
}

// operate runs the operator for one member.
func (c *trio) operate(i int, target string, more ...string) (code int, log string) {
	return operate(c.t, c.dirs[i], target, c.flags(i, more)...)
}

func (c *trio) mustOperate(i int, target string, more ...string) string {
	c.t.Helper()
	return mustOperate(c.t, c.dirs[i], target, c.flags(i, more)...)
}

// refused runs the operator for one member, which must change nothing and say want.
func (c *trio) refused(i int, target, want string, more ...string) {
	c.t.Helper()
	before := tree(c.t, c.dirs[i])
	code, log := c.operate(i, target, more...)
	if code != 1 || !strings.Contains(log, want) {
		c.t.Fatalf("%s to %s: exit %d, and not %q:\n%s", c.names[i], target, code, want, log)
	}
	etcdtest.Same(c.t, "the directory of "+c.names[i], before, tree(c.t, c.dirs[i]))
}

// tree is what a directory holds: paths, modes and contents.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		if !d.IsDir() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = fmt.Sprintf(" %d %x", len(b), sum(b))
		}
		all[path] = info.Mode().String() + content
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (c *trio) start(i int, version string, more ...string) *etcdtest.Member {
	c.t.Helper()
	c.members[i] = etcdtest.StartMember(c.t, version, c.dirs[i], c.names[i], c.peers[i],
		slices.Concat([]string{"--initial-cluster", c.initial()}, c.more, more)...)
	return c.members[i]
}

func (c *trio) stop(i int) {
	c.members[i].Stop()
	c.members[i] = nil
}

func (c *trio) startAll(version string, more ...string) {
	c.t.Helper()
	for i := range c.names {
		c.start(i, version, more...)
	}
	c.agreed(version)
}

func (c *trio) stopAll() {
	for i := range c.names {
		c.stop(i)
	}
}

func lineOf(version string) string { return version[:strings.LastIndex(version, ".")] }

// agreed waits until all running members show a version's line as agreed, and
// serve what they show of it.
func (c *trio) agreed(version string) {
	c.t.Helper()
	for _, m := range c.members {
		if m != nil {
			m.WaitVersion(lineOf(version) + ".0")
			if etcdtest.AtLeast(version, 3, 6) {
				m.WaitStorage(lineOf(version) + ".0")
			}
		}
	}
}

// new brings three empty directories to a version and starts them.
func (c *trio) new(version string) *trio {
	c.t.Helper()
	for i := range c.names {
		c.mustOperate(i, version)
	}
	c.startAll(version)
	return c
}

// roll stops, migrates and starts each member in turn.
func (c *trio) roll(target string) {
	c.t.Helper()
	for i := range c.names {
		c.stop(i)
		c.mustOperate(i, target)
		c.start(i, target)
		c.linearizable(i)
	}
	c.agreed(target)
}

// linearizable waits until a member serves reads that need the others.
func (c *trio) linearizable(i int) {
	c.t.Helper()
	c.members[i].WaitServing()
}

// same checks that every member shows the same content.
func (c *trio) same(want etcdtest.Content) {
	c.t.Helper()
	for i, m := range c.members {
		etcdtest.Same(c.t, "what "+c.names[i]+" shows", want, m.Read(want))
	}
}

// httpHealth asks as kubelets do, which up to 3.4 leaves a v2 request in the log.
func httpHealth(t testing.TB, m *etcdtest.Member) {
	t.Helper()
	resp, err := http.Get(m.URL + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), "true") {
		t.Fatalf("/health: %s (%v)", b, err)
	}
}

// TestMembersKeepTheirKeysAsTheyGoUp is the published operator's test of a
// cluster: each member writes a key, and is stopped, migrated and started.
func TestMembersKeepTheirKeysAsTheyGoUp(t *testing.T) {
	t.Parallel()
	from, to := version(t, "3.0"), version(t, "3.1")
	c := newTrio(t).new(from)
	for i, m := range c.members {
		m.Put("/registry/"+c.names[i], c.names[i], "")
	}
	want := c.members[0].Read(etcdtest.Content{})
	c.roll(to)
	c.same(want)
	for i := range c.names {
		for name, mode := range map[string]os.FileMode{".": 0o755 | os.ModeDir, "version.txt": 0o644} {
			info, err := os.Stat(filepath.Join(c.dirs[i], name))
			if err != nil || info.Mode() != mode {
				t.Errorf("%s of %s: %v, %v", name, c.names[i], info.Mode(), err)
			}
		}
	}
	c.stopAll()
	// Not member by member: down, and across storages.
	c.refused(0, from, "migrate prepare")
	c.refused(1, version(t, "2.3"), "migrate prepare")
	c.refused(2, version(t, "3.4"), "the next line is 3.2")
}

// TestAClusterGoesUpAndDownWhileItRuns is 3.4 to 3.7 and back to 3.5, with v2
// requests in the log that 3.6 dies of unless they are taken out.
func TestAClusterGoesUpAndDownWhileItRuns(t *testing.T) {
	t.Parallel()
	c := newTrio(t).new(version(t, "3.4"))
	want := c.members[0].Seed(50)
	for _, m := range c.members {
		httpHealth(t, m)
	}
	c.roll(version(t, "3.5"))
	c.same(want)
	v36, v37 := version(t, "3.6"), version(t, "3.7")

	c.stop(0)
	if log := c.mustOperate(0, v36); !strings.Contains(log, "kind=cure") {
		t.Errorf("no v2 requests were taken out:\n%s", log)
	}
	c.start(0, v36)
	c.linearizable(0)
	// Too early for more: the others are not at 3.6 yet.
	c.stop(0)
	c.refused(0, v37, "still runs etcd 3.5")
	c.start(0, v36)
	c.linearizable(0)
	for i := 1; i < 3; i++ {
		c.stop(i)
		c.mustOperate(i, v36)
		c.start(i, v36)
		c.linearizable(i)
	}
	c.agreed(v36)
	c.same(want)
	c.roll(v37)
	c.same(want)

	// Down, which the running cluster has to be told first.
	for _, target := range []string{v36, version(t, "3.5")} {
		now := c.members[0].Version
		c.stop(1)
		c.refused(1, target, "downgrade enable "+lineOf(target))
		c.start(1, now)
		c.agreed(now)
		c.members[1].WaitServing()
		tellDown(t, c, target)
		c.roll(target)
		c.same(want)
	}
	c.stopAll()
	c.refused(0, version(t, "3.4"), "migrate prepare")
}

// tellDown tells the cluster to go down a line, as an operator would.
func tellDown(t testing.TB, c *trio, target string) {
	t.Helper()
	code, log := runOperator(t, nil, "downgrade", "--bin-dir", etcdtest.Binaries(t), "--endpoints", c.members[0].URL, "--target-version", target)
	if code != 0 {
		t.Fatalf("downgrade: exit %d\n%s", code, log)
	}
	for _, m := range c.members {
		m.WaitVersion(lineOf(target) + ".0")
	}
}

// TestARecordThatEveryServerDiesOfIsRemoved: a later etcdctl asks 3.5 to go
// down to 3.4, is told that this took too long, and the wish is recorded.
func TestARecordThatEveryServerDiesOfIsRemoved(t *testing.T) {
	t.Parallel()
	v35 := version(t, "3.5")
	c := newTrio(t).new(v35)
	c.members[0].Put("/registry/a", "1", "")
	want := c.members[0].Read(etcdtest.Content{})
	ctl := filepath.Join(etcdtest.Binaries(t), "etcdctl-"+version(t, "3.6"))
	out, err := exec.Command(ctl, "--endpoints", c.members[0].URL, "--command-timeout=2s", "downgrade", "enable", "3.4").CombinedOutput()
	if err == nil {
		t.Fatalf("etcdctl has learnt better: %s", out)
	}
	for i := range c.names {
		c.stop(i)
		if log := c.mustOperate(i, v35); !strings.Contains(log, "kind=unmark") {
			t.Errorf("the record was not found:\n%s", log)
		}
		c.start(i, v35)
		c.linearizable(i)
	}
	c.same(want)
	c.stopAll()
}

// TestAClusterGoesThroughEveryLine goes from 3.0 to the newest line while it
// runs, asked for HTTP /health wherever that does harm, and every other time
// the members are killed instead of stopped.
func TestAClusterGoesThroughEveryLine(t *testing.T) {
	t.Parallel()
	if !etcdtest.All() {
		t.Skip("NOT RUN: a cluster through every line from 3.0 on; set ETCDIMG_ALL=1")
	}
	versions := etcdtest.Versions(t)
	c := newTrio(t).new(versions[1])
	want := c.members[0].Seed(50)
	for step, v := range versions[2:] {
		for i := range c.names {
			if etcdtest.AtLeast(c.members[i].Version, 3, 1) && !etcdtest.AtLeast(c.members[i].Version, 3, 5) {
				httpHealth(t, c.members[i])
			}
			if step%2 == 1 {
				c.members[i].Kill()
			} else {
				c.stop(i)
			}
			c.mustOperate(i, v)
			c.start(i, v)
			c.linearizable(i)
		}
		c.agreed(v)
		c.same(want)
	}
	c.checkMembers()
	c.stopAll()
}

// TestACureCutShortIsDoneAgain kills the operator, and with it the server that
// takes v2 requests out of a member's log, at random moments.
func TestACureCutShortIsDoneAgain(t *testing.T) {
	t.Parallel()
	v36 := version(t, "3.6")
	c := newTrio(t).new(version(t, "3.4"))
	want := c.members[0].Seed(30)
	for _, m := range c.members {
		httpHealth(t, m)
	}
	c.roll(version(t, "3.5"))
	c.stopAll()
	old := slices.Clone(c.dirs)
	arguments := func(i int) []string {
		return slices.Concat([]string{"--bin-dir", etcdtest.Binaries(t), "--data-dir", c.dirs[i], "--target-version", v36, "--target-storage", "etcd3"}, c.flags(i, nil))
	}
	c.dirs[0] = copyDir(t, old[0])
	begun := time.Now()
	if out, err := program(arguments(0)...).CombinedOutput(); err != nil || !strings.Contains(string(out), "kind=cure") {
		t.Fatalf("%v\n%s", err, out)
	}
	took := time.Since(begun)
	tries := 3
	if etcdtest.All() {
		tries = 60
	}
	r := newRand(t)
	cut := 0
	for try := range tries {
		i := try % 3
		c.dirs[i] = copyDir(t, old[i])
		cmd := program(arguments(i)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		at := time.Duration(r.Int64N(int64(took) + 1))
		timer := time.AfterFunc(at, func() { _ = cmd.Process.Kill() }) // it may have ended
		if cmd.Wait() != nil {
			cut++
		}
		timer.Stop()
		if code, log := c.operate(i, v36); code != 0 {
			t.Fatalf("try %d, killed after %s: exit %d\n%s", try, at, code, log)
		}
		if try%3 == 2 && (try == tries-1 || try%30 == 29) {
			c.startAll(v36)
			c.same(want)
			c.stopAll()
		}
	}
	t.Logf("%d of %d were cut short", cut, tries)
	if cut == 0 {
		t.Error("no kill came in time")
	}
}
