package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
)

var quiet = map[string]string{"DO_NOT_MOVE_BINARIES": "true"}

// prepare runs migrate prepare on directories or files.
func (c *trio) prepare(target, out string, sources []string, more ...string) (code int, log string) {
	c.t.Helper()
	return runOperator(c.t, quiet, slices.Concat([]string{"prepare",
		"--bin-dir", etcdtest.Binaries(c.t), "--target-version", target, "--target-storage", storageOf(target), "--out", out,
	}, ports(c.t), more, sources)...)
}

// apply runs migrate apply for one member.
func (c *trio) apply(i int, target, file string, more ...string) (code int, log string) {
	c.t.Helper()
	return runOperator(c.t, quiet, slices.Concat([]string{"apply",
		"--bin-dir", etcdtest.Binaries(c.t), "--target-version", target, "--target-storage", storageOf(target),
		"--from", file, "--data-dir", c.dirs[i], "--name", c.names[i],
	}, more)...)
}

func (c *trio) must(code int, log string) string {
	c.t.Helper()
	if code != 0 {
		c.t.Fatalf("exit %d\n%s", code, log)
	}
	return log
}

// remake prepares one database of all directories and applies it to all.
func (c *trio) remake(target string, more ...string) {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "all.db")
	old := memberIDs(c.t, c.dirs[0])
	c.must(c.prepare(target, file, c.dirs, more...))
	for i := range c.names {
		c.must(c.apply(i, target, file))
		for _, id := range memberIDs(c.t, c.dirs[i]) {
			if slices.Contains(old, id) {
				c.t.Errorf("the old member %s is in the new database", id)
			}
		}
		b, err := os.ReadFile(filepath.Join(c.dirs[i], "version.txt"))
		if err != nil || string(b) != target+"/"+storageOf(target) {
			c.t.Fatalf("version.txt is %q (%v)", b, err)
		}
	}
}

// memberIDs are the members, and removed ones, that a database knows. Tools up
// to 3.4 leave them in what they restore, and 3.6 counts them among the members.
func memberIDs(t testing.TB, dir string) (ids []string) {
	t.Helper()
	name := filepath.Join(dir, "member", "snap", "db")
	if _, err := os.Stat(name); err != nil {
		return nil // 2.3 has none
	}
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		for _, bucket := range []string{"members", "members_removed"} {
			if b := tx.Bucket([]byte(bucket)); b != nil {
				if err := b.ForEach(func(k, _ []byte) error { ids = append(ids, string(k)); return nil }); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// checkMembers fails unless each member knows the three, and no others.
func (c *trio) checkMembers() {
	c.t.Helper()
	for i, m := range c.members {
		if got := m.MemberNames(); !slices.Equal(got, c.names) {
			c.t.Errorf("%s knows the members %q", c.names[i], got)
		}
	}
}

// TestAllMembersAreMadeFromOneDatabase goes down where no running cluster can,
// and to where the old members would show up again.
func TestAllMembersAreMadeFromOneDatabase(t *testing.T) {
	t.Parallel()
	pairs := [][2]string{{"3.5", "3.4"}, {"3.7", "3.4"}}
	if etcdtest.All() {
		pairs = append(pairs, [][2]string{{"3.4", "3.6"}, {"3.0", "3.7"}, {"3.3", "3.0"}, {"3.7", "3.6"}, {"3.7", "3.0"}, {"3.6", "3.1"}}...)
	}
	for _, p := range pairs {
		t.Run(p[0]+" to "+p[1], func(t *testing.T) {
			t.Parallel()
			from, to := version(t, p[0]), version(t, p[1])
			c := newTrio(t).new(from)
			want := c.members[0].Seed(40)
			c.stopAll()
			c.remake(to)
			c.startAll(to)
			c.same(want)
			c.checkMembers()
			c.members[1].Put("/registry/after", "it", "")
			want = c.members[1].Read(want)
			c.same(want)
			// On to where members that were left in the database would show.
			if p[1] == "3.4" {
				c.roll(version(t, "3.5"))
				c.same(want)
				c.checkMembers()
			}
			c.stopAll()
		})
	}
}

// TestWritesThatOnlyLogsHaveAreKept kills all members at once: each database
// lacks the newest writes, and no follower knows that the last is committed.
func TestWritesThatOnlyLogsHaveAreKept(t *testing.T) {
	t.Parallel()
	from, to := version(t, "3.5"), version(t, "3.4")
	c := newTrio(t).new(from)
	for i := range 60 {
		c.members[i%3].Put(fmt.Sprintf("/registry/%02d", i), "v", "")
	}
	// The last word is heard by two only.
	c.members[2].Kill()
	c.members[0].WaitServing()
	c.members[0].Put("/registry/last", "v", "")
	want := c.members[0].Read(etcdtest.Content{})
	c.members[0].Kill()
	c.members[1].Kill()
	// One directory of three does not know what the others do.
	file := filepath.Join(t.TempDir(), "all.db")
	if code, log := c.prepare(to, file, c.dirs[2:]); code != 1 || !strings.Contains(log, "--accept-loss=absent-members") {
		t.Fatalf("exit %d\n%s", code, log)
	}
	// The follower of the two is enough, with the one that lags.
	c.must(c.prepare(to, file, c.dirs[1:]))
	for i := range c.names {
		code, log := c.apply(i, to, file)
		c.must(code, log)
	}
	c.startAll(to)
	c.same(want)
	c.stopAll()
}

// TestAClusterOfV2KeysBecomesOneOfV3KeysAndBack: one member's keys are turned
// into v3 keys, and all members made of that; and back.
func TestAClusterOfV2KeysBecomesOneOfV3KeysAndBack(t *testing.T) {
	t.Parallel()
	v23 := version(t, "2.3")
	targets := []string{"3.5"}
	if etcdtest.All() {
		targets = []string{"3.0", "3.4", "3.5", "3.7"}
	}
	for _, line := range targets {
		t.Run("2.3 to "+line, func(t *testing.T) {
			t.Parallel()
			to := version(t, line)
			c := newTrio(t).new(v23)
			c.members[0].V2Seed(60)
			// The last word is heard by two only, and all are killed.
			c.members[2].Kill()
			c.members[0].WaitServing()
			c.members[0].V2Put("/registry/last", "v", 0)
			v2 := c.members[0].V2Read()
			c.members[0].Kill()
			c.members[1].Kill()
			c.refused(0, to, "migrate prepare")
			c.remake(to, "--initial-cluster", c.initial())
			c.startAll(to)
			for _, m := range c.members {
				etcdtest.Same(t, "the keys", carried(fromV2(v2), true), carried(fromV3(m.Read(etcdtest.Content{}).Keys), false))
			}
			c.checkMembers()
			content := c.members[1].Read(etcdtest.Content{})
			c.same(content)
			c.stopAll()

			// And back to v2 keys.
			c.refused(0, v23, "migrate prepare")
			c.remake(v23)
			c.startAll(v23)
			for _, m := range c.members {
				var got []keyShown
				for _, k := range m.V2Read() {
					got = append(got, keyShown{k.Key, k.Value, fmt.Sprint(k.Created), fmt.Sprint(k.Modified), k.TTL})
				}
				var want []keyShown
				for _, k := range content.Keys {
					want = append(want, keyShown{k.Key, k.Value, k.Create, k.Mod, k.Lease != ""})
				}
				etcdtest.Same(t, "the v2 keys", want, got)
			}
			c.checkMembers()
			c.members[1].V2Put("/registry/after", "it", 0)
			for _, m := range c.members {
				etcdtest.Same(t, "the v2 keys after a write", c.members[1].V2Read(), m.V2Read())
			}
			c.stopAll()
		})
	}
}

// carried are keys that were v2 keys, without what changed on the way: those
// below the TTL directory are written again to get a lease, and the TTLs that
// the others had before end.
func carried(keys []keyShown, before bool) (all []keyShown) {
	for _, k := range keys {
		event := strings.HasPrefix(k.Key, "/registry/events/")
		if event {
			k.Modified = ""
		}
		if before {
			k.TTL = event
		}
		all = append(all, k)
	}
	return all
}
