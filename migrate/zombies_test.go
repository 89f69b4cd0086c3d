package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/etcdimg/etcdimg/migrate/internal/etcdtest"
)

// haunt puts a member into a stopped member's database that no log knows, as
// databases have it that were once restored by a tool of 3.4 or older, or run by
// a 3.5 before 3.5.26.
func haunt(t testing.TB, dir string) {
	t.Helper()
	edit(t, dir, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("members")).Put([]byte("abc"), []byte(`{"id":2748,"peerURLs":["http://127.0.0.1:1"],"name":"gone"}`))
	})
}

// TestMembersThatARestoreLeftDoNotCount: etcdctl up to 3.4 leaves the members in
// what it restores that the database had. Up to 3.5 nobody looks at them; 3.6
// counts them, unless they are removed before. Nor do they make a cluster of
// what is a single member.
func TestMembersThatARestoreLeftDoNotCount(t *testing.T) {
	t.Parallel()
	v34, v35, v36 := version(t, "3.4"), version(t, "3.5"), version(t, "3.6")
	c := newTrio(t).new(v34)
	want := c.members[0].Seed(30)
	c.stopAll()
	peer := etcdtest.FreeURL(t)
	restored := filepath.Join(t.TempDir(), "etcd")
	cmd := exec.Command(filepath.Join(etcdtest.Binaries(t), "etcdctl-"+v34), "snapshot", "restore", filepath.Join(c.dirs[0], "member", "snap", "db"),
		"--skip-hash-check", "--data-dir", restored, "--name", "n1", "--initial-cluster", "n1="+peer, "--initial-advertise-peer-urls", peer)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(restored, "version.txt"), []byte(v34+"/etcd3"), 0o644); err != nil {
		t.Fatal(err)
	}
	if ids := memberIDs(t, restored); len(ids) < 3 {
		t.Fatalf("the tool has learnt better: it leaves the members %q only", ids)
	}
	alone := func(dir, at string) {
		t.Helper()
		m := etcdtest.Start(t, at, dir).Ready()
		etcdtest.Same(t, "what it shows", want, m.Read(want))
		if got := m.MemberNames(); !slices.Equal(got, []string{"n1"}) {
			t.Errorf("etcd %s has the members %q", at, got)
		}
		m.Stop()
	}
	for _, to := range []string{v35, v36, version(t, "3.7"), version(t, "3.3")} {
		t.Run("3.4 to "+lineOf(to), func(t *testing.T) {
			dir := copyDir(t, restored)
			mustOperate(t, dir, to, ports(t)...)
			alone(dir, to)
		})
	}
	t.Run("3.5 to 3.6", func(t *testing.T) {
		dir := copyDir(t, restored)
		mustOperate(t, dir, v35, ports(t)...)
		alone(dir, v35)
		haunt(t, dir)
		if log := mustOperate(t, dir, v36, ports(t)...); !strings.Contains(log, "kind=forget") {
			t.Errorf("nothing was removed:\n%s", log)
		}
		alone(dir, v36)
	})
}

// TestMembersOfAClusterForgetThoseThatAreNone is the same for members that go up
// one by one, and for the database that all are made from.
func TestMembersOfAClusterForgetThoseThatAreNone(t *testing.T) {
	t.Parallel()
	v35, v36 := version(t, "3.5"), version(t, "3.6")
	c := newTrio(t).new(v35)
	want := c.members[0].Seed(20)
	for i := range c.names {
		c.stop(i)
		haunt(t, c.dirs[i])
		if log := c.mustOperate(i, v36); !strings.Contains(log, "kind=forget") || !strings.Contains(log, "a cluster of 3") {
			t.Errorf("nothing was removed, or others than the three count:\n%s", log)
		}
		c.start(i, v36)
		c.linearizable(i)
	}
	c.agreed(v36)
	c.same(want)
	c.checkMembers()
	c.stopAll()

	haunt(t, c.dirs[0])
	v34 := version(t, "3.4")
	c.remake(v34)
	c.startAll(v34)
	c.same(want)
	c.checkMembers()
	c.stopAll()
}
