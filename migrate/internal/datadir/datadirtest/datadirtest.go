// Package datadirtest makes small data directories as etcd would, for tests that
// run no etcd.
package datadirtest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/etcdimg/etcdimg/migrate/internal/raftlog"
	"github.com/etcdimg/etcdimg/migrate/internal/wire"
)

// IDs of the only member and of its cluster: what every etcd computes for
// http://localhost:2380 and its default token.
const (
	MemberID  = 0x8e9e05c52164694d
	ClusterID = 0xcdf818194e3a8c32
)

// Key is a key that was written once.
type Key struct {
	Key, Value string
	Lease      int64 // of an hour; 0 for none
}

// Dir is what a directory is to hold.
type Dir struct {
	ClusterVersion string // "3.5.0"; "" for no mark
	StorageVersion string
	Stamp          string // version.txt; "" for none
	Keys           []Key
	Auth           bool
	OtherIDs       bool // ones that no restore makes
}

// Write makes the directory.
func Write(t testing.TB, dir string, d Dir) {
	t.Helper()
	member := filepath.Join(dir, "member")
	if err := os.MkdirAll(member, 0o700); err != nil {
		t.Fatal(err)
	}
	index := uint64(len(d.Keys) + 10)
	id, cluster := uint64(MemberID), uint64(ClusterID)
	if d.OtherIDs {
		id, cluster = 0xabc, 0xdef
	}
	s := &raftlog.Snapshot{Term: 2, Index: index, Voters: []uint64{id}, Data: []byte(`{"Root":{"Children":{}}}`)}
	if err := raftlog.Write(member, id, cluster, s); err != nil {
		t.Fatal(err)
	}
	database(t, filepath.Join(member, "snap", "db"), id, index, d)
	if d.Stamp != "" {
		if err := os.WriteFile(filepath.Join(dir, "version.txt"), []byte(d.Stamp), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func database(t testing.TB, name string, id, index uint64, d Dir) {
	t.Helper()
	db, err := bbolt.Open(name, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		put := func(bucket string, k, v []byte) error {
			b, err := tx.CreateBucketIfNotExists([]byte(bucket))
			if err != nil || k == nil {
				return err
			}
			return b.Put(k, v)
		}
		var wrong []error
		for _, b := range []string{"key", "meta", "lease", "cluster", "members", "members_removed", "auth", "authUsers", "authRoles", "alarm"} {
			wrong = append(wrong, put(b, nil, nil))
		}
		wrong = append(wrong, put("meta", []byte("consistent_index"), binary.BigEndian.AppendUint64(nil, index)))
		if d.ClusterVersion != "" {
			wrong = append(wrong, put("cluster", []byte("clusterVersion"), []byte(d.ClusterVersion)))
		}
		if d.StorageVersion != "" {
			wrong = append(wrong, put("meta", []byte("storageVersion"), []byte(d.StorageVersion)))
		}
		if d.Auth {
			wrong = append(wrong, put("auth", []byte("authEnabled"), []byte{1}))
		}
		m, err := json.Marshal(map[string]any{"id": id, "name": "n1", "peerURLs": []string{"http://localhost:2380"}})
		wrong = append(wrong, err, put("members", []byte(strconv.FormatUint(id, 16)), m))
		for i, key := range d.Keys {
			rev := uint64(i + 2)
			k := append(binary.BigEndian.AppendUint64(nil, rev), '_')
			k = binary.BigEndian.AppendUint64(k, 0)
			v := wire.AppendBytes(nil, 1, []byte(key.Key))
			v = wire.AppendNumber(wire.AppendNumber(wire.AppendNumber(v, 2, rev), 3, rev), 4, 1)
			v = wire.AppendBytes(v, 5, []byte(key.Value))
			wrong = append(wrong, put("key", k, wire.AppendNumber(v, 6, uint64(key.Lease))))
			if key.Lease != 0 {
				lease := wire.AppendNumber(wire.AppendNumber(nil, 1, uint64(key.Lease)), 2, 3600)
				wrong = append(wrong, put("lease", binary.BigEndian.AppendUint64(nil, uint64(key.Lease)), lease))
			}
		}
		return errors.Join(wrong...)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}
