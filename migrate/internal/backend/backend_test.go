package backend

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/etcdimg/etcdimg/migrate/internal/wire"
)

// revisionOf is one row of the bucket of keys.
type revisionOf struct {
	main                   int64
	deleted                bool
	key, value             string
	create, version, lease int64
}

func (r revisionOf) row() (k, v []byte) {
	k = binary.BigEndian.AppendUint64(nil, uint64(r.main))
	k = append(k, '_')
	k = binary.BigEndian.AppendUint64(k, 0)
	if r.deleted {
		k = append(k, 't')
	}
	v = wire.AppendBytes(nil, 1, []byte(r.key))
	v = wire.AppendNumber(v, 2, uint64(r.create))
	v = wire.AppendNumber(v, 3, uint64(r.main))
	v = wire.AppendNumber(v, 4, uint64(r.version))
	v = wire.AppendBytes(v, 5, []byte(r.value))
	return k, wire.AppendNumber(v, 6, uint64(r.lease))
}

var history = []revisionOf{
	{main: 2, key: "a", value: "1", create: 2, version: 1},
	{main: 3, key: "b", value: "1", create: 3, version: 1, lease: 5},
	{main: 4, key: "a", value: "2", create: 2, version: 2},
	{main: 5, key: "c", value: "1", create: 5, version: 1},
	{main: 6, key: "c", deleted: true},
}

// database writes a database as etcd would.
func database(t testing.TB, rows []revisionOf, more func(tx *bbolt.Tx) error) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "db")
	db, err := bbolt.Open(name, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range []string{bucketKey, bucketMeta, bucketLease, bucketCluster, bucketMembers, bucketMembersRemoved, bucketAuth, bucketUsers, bucketRoles, bucketAlarm} {
			if _, err := tx.CreateBucket([]byte(b)); err != nil {
				return err
			}
		}
		for _, r := range rows {
			k, v := r.row()
			if err := tx.Bucket([]byte(bucketKey)).Put(k, v); err != nil {
				return err
			}
		}
		lease := wire.AppendNumber(wire.AppendNumber(nil, 1, 5), 2, 3600)
		if err := tx.Bucket([]byte(bucketLease)).Put([]byte("5"), lease); err != nil {
			return err
		}
		if more == nil {
			return nil
		}
		return more(tx)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}

func summary(t testing.TB, name string, upTo int64) Summary {
	t.Helper()
	d, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s, err := d.Summarize(upTo)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASummaryCountsWhatIsThere(t *testing.T) {
	s := summary(t, database(t, history, nil), All)
	if s.Keys != 2 || s.Revision != 6 || s.Leases != 1 {
		t.Errorf("%+v", s)
	}
}

func TestEveryDifferenceIsSeen(t *testing.T) {
	before := summary(t, database(t, history, nil), All)
	if err := Compare(before, summary(t, database(t, history, nil), All)); err != nil {
		t.Errorf("the same data differs: %v", err)
	}
	for what, change := range map[string]func(r []revisionOf) []revisionOf{
		"value":           func(r []revisionOf) []revisionOf { r[2].value = "3"; return r },
		"old value":       func(r []revisionOf) []revisionOf { r[0].value = "3"; return r },
		"create revision": func(r []revisionOf) []revisionOf { r[2].create = 3; return r },
		"version":         func(r []revisionOf) []revisionOf { r[2].version = 9; return r },
		"lease":           func(r []revisionOf) []revisionOf { r[1].lease = 0; return r },
		"deleted key":     func(r []revisionOf) []revisionOf { return r[:4] },
		"lost revision":   func(r []revisionOf) []revisionOf { return append(r[:3:3], r[4]) },
		"added key": func(r []revisionOf) []revisionOf {
			return append(r, revisionOf{main: 7, key: "d", create: 7, version: 1})
		},
	} {
		rows := change(append([]revisionOf(nil), history...))
		if err := Compare(before, summary(t, database(t, rows, nil), All)); !errors.Is(err, ErrDiffers) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, more := range map[string]func(tx *bbolt.Tx) error{
		"lease": func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(bucketLease)).Put([]byte("6"), wire.AppendNumber(wire.AppendNumber(nil, 1, 6), 2, 60))
		},
		"user":  func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketUsers)).Put([]byte("root"), []byte("x")) },
		"auth":  func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketAuth)).Put([]byte("authEnabled"), []byte{1}) },
		"alarm": func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketAlarm)).Put([]byte("x"), nil) },
	} {
		if err := Compare(before, summary(t, database(t, history, more), All)); !errors.Is(err, ErrDiffers) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestACompactionThatGoesOnIsNoDifference(t *testing.T) {
	compact := func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketMeta)).Put([]byte("scheduledCompactRev"), append(binary.BigEndian.AppendUint64(nil, 4), "_00000000"...))
	}
	before := summary(t, database(t, history, compact), All)
	after := summary(t, database(t, history[1:], compact), All)
	if err := Compare(before, after); err != nil {
		t.Error(err)
	}
}

func TestWhatCameLaterCanBeLeftOut(t *testing.T) {
	before := summary(t, database(t, history, nil), All)
	rows := append(history[:len(history):len(history)], revisionOf{main: 7, key: "b", deleted: true})
	name := database(t, rows, nil)
	if err := Compare(before, summary(t, name, 6)); err != nil {
		t.Error(err)
	}
	d, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n, only, err := d.OnlyExpired(6); n != 1 || !only || err != nil {
		t.Errorf("%d, %v, %v", n, only, err)
	}
	if n, only, err := d.OnlyExpired(4); n != 3 || only || err != nil {
		t.Errorf("%d, %v, %v", n, only, err)
	}
}

func TestStrippingTakesTheClusterAwayAndNothingElse(t *testing.T) {
	for _, list := range []bool{false, true} {
		t.Run(fmt.Sprintf("list of free pages %v", list), func(t *testing.T) { testStrip(t, list) })
	}
}

func testStrip(t *testing.T, list bool) {
	name := database(t, history, func(tx *bbolt.Tx) error {
		for _, x := range [][3]string{
			{bucketMeta, "storageVersion", "3.7.0"}, {bucketMeta, "term", "12345678"}, {bucketMeta, "confState", "{}"},
			{bucketCluster, "clusterVersion", "3.7.0"}, {bucketCluster, "downgrade", "{}"},
			{bucketMembers, "1", `{"id":1,"peerURLs":["http://a:1"],"name":"n1"}`}, {bucketMembersRemoved, "2", "removed"},
		} {
			if err := tx.Bucket([]byte(x[0])).Put([]byte(x[1]), []byte(x[2])); err != nil {
				return err
			}
		}
		return nil
	})
	// As etcd leaves its database: without a list, and with free pages.
	etcds, err := bbolt.Open(name, 0o600, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		err = errors.Join(err, etcds.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte(bucketMeta)).Put([]byte("filler"), make([]byte, 9000*i))
		}))
	}
	if err := errors.Join(err, etcds.Close()); err != nil {
		t.Fatal(err)
	}
	before := summary(t, name, All)
	if err := Strip(name, list); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(name); err != nil {
		t.Fatal(err)
	} else if _, m, _, ok := newestMeta(f); !ok || (binary.NativeEndian.Uint64(m[metaFreelist:]) == noFreelist) == list {
		t.Errorf("the meta page is %x, %v", m, ok)
	}
	// Whoever writes next finds every page that is free, and no other.
	next, err := bbolt.Open(name, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = next.View(func(tx *bbolt.Tx) error {
		for wrong := range tx.Check() {
			t.Error(wrong)
		}
		return nil
	})
	if err := errors.Join(err, next.Close()); err != nil {
		t.Fatal(err)
	}
	if err := Compare(before, summary(t, name, All)); err != nil {
		t.Error(err)
	}
	d, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m, err := d.Marks()
	if err != nil || m != (Marks{}) {
		t.Errorf("%+v, %v", m, err)
	}
	if all, err := d.Members(); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestMembersAreForgottenByTheirIDs(t *testing.T) {
	name := database(t, history, func(tx *bbolt.Tx) error {
		var wrong []error
		for id, m := range map[string]string{"1": `{"id":1,"name":"n1"}`, "abc": `{"id":2748,"name":"old"}`, "def": `{"id":3567,"name":"older"}`} {
			wrong = append(wrong, tx.Bucket([]byte(bucketMembers)).Put([]byte(id), []byte(m)))
		}
		wrong = append(wrong, tx.Bucket([]byte(bucketMeta)).Put([]byte("confState"), []byte(`{"voters":[1],"auto_leave":false}`)))
		return errors.Join(wrong...)
	})
	before := summary(t, name, All)
	if err := ForgetMembers(name, []Member{{ID: 0xabc}, {ID: 0xdef}, {ID: 0x999}}); err != nil {
		t.Fatal(err)
	}
	if err := Compare(before, summary(t, name, All)); err != nil {
		t.Error(err)
	}
	d, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if all, err := d.Members(); err != nil || len(all) != 1 || all[0].Name != "n1" {
		t.Errorf("%+v, %v", all, err)
	}
	if m, err := d.Marks(); err != nil || m.Raft == nil || !m.Raft.Has(1) || m.Raft.Has(0xabc) {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestWhatIsNoDatabaseIsRefused(t *testing.T) {
	for _, content := range []string{"", "x", strings.Repeat("no database ", 4000)} {
		name := filepath.Join(t.TempDir(), "db")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(name); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v", len(content), err)
		}
	}
}

func TestADatabaseThatAServerHoldsIsInUse(t *testing.T) {
	name := database(t, history, nil)
	db, err := bbolt.Open(name, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := Open(name); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
}

func TestLiveKeysComeInOrderOfTheirRevisions(t *testing.T) {
	d, err := Open(database(t, history, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	keys, ttl, err := d.Live()
	if err != nil || len(keys) != 2 || string(keys[0].Key) != "b" || string(keys[1].Value) != "2" || ttl[5] != 3600 {
		t.Errorf("%+v, %v, %v", keys, ttl, err)
	}
}

func TestRowsAreComparedOneByOne(t *testing.T) {
	one := database(t, history, nil)
	same := func(name string) (Counts, error) {
		t.Helper()
		a, err := Open(one)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		b, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		return Same(a, b)
	}
	if n, err := same(database(t, history, nil)); err != nil || n != (Counts{Rows: len(history), Leases: 1, Revision: 6}) {
		t.Errorf("%+v, %v", n, err)
	}
	changed := append([]revisionOf{}, history...)
	changed[2].value = "3"
	for what, name := range map[string]string{
		"a value":        database(t, changed, nil),
		"one row less":   database(t, history[:len(history)-1], nil),
		"one row more":   database(t, append(append([]revisionOf{}, history...), revisionOf{main: 7, key: "z", value: "1", create: 7, version: 1}), nil),
		"one lease less": database(t, history, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketLease)).Delete([]byte("5")) }),
		"a user":         database(t, history, func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketUsers)).Put([]byte("u"), []byte("x")) }),
	} {
		if _, err := same(name); !errors.Is(err, ErrDiffers) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
