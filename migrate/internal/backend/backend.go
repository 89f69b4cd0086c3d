// Package backend reads etcd's database file (member/snap/db, a bbolt file) of
// every 3.x line without etcd: which version wrote it, what it holds, and a
// digest over all of that. It can also strip a copy of what ties it to its
// cluster.
//
// It must not know directories, versions' abilities, or running servers.
package backend

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"github.com/etcdimg/etcdimg/migrate/internal/wire"
)

// Errors that Open tells apart.
var (
	ErrInUse   = errors.New("a running etcd holds the database")
	ErrDamaged = errors.New("not a database that etcd wrote")
)

// lockTimeout is how long Open waits for a server that is on its way out.
const lockTimeout = 2 * time.Second

// Buckets of the database, as etcd's server/storage/schema names them.
const (
	bucketKey            = "key"
	bucketMeta           = "meta"
	bucketLease          = "lease"
	bucketCluster        = "cluster"
	bucketMembers        = "members"
	bucketMembersRemoved = "members_removed"
	bucketAuth           = "auth"
	bucketUsers          = "authUsers"
	bucketRoles          = "authRoles"
	bucketAlarm          = "alarm"
)

// DB is an open database file. It holds the file's lock: no server can open it.
type DB struct {
	bolt *bbolt.DB
	name string
}

// Open opens a database to read it. The error is ErrInUse while a server runs
// on it.
func Open(name string) (*DB, error) { return open(name, bbolt.Options{ReadOnly: true}) }

func open(name string, o bbolt.Options) (db *DB, err error) {
	// bbolt panics on some files that it did not write, and reading a mapped
	// file beyond its end is a fault.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%s: %w: %v", name, ErrDamaged, p)
		}
	}()
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return nil, fmt.Errorf("%s: %w: empty file", name, ErrDamaged)
	}
	o.Timeout = lockTimeout
	b, err := bbolt.Open(name, 0o600, &o)
	var path *fs.PathError
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s: %w: stop it first", name, ErrInUse)
	case errors.As(err, &path):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %v", name, ErrDamaged, err)
	}
	d := &DB{b, name}
	err = d.view(func(tx *bbolt.Tx) error {
		if have := info.Size(); tx.Size() > have {
			return fmt.Errorf("%w: it is cut short: %d bytes of %d", ErrDamaged, have, tx.Size())
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return d, nil
}

// letGo takes the pages that were read out of this process's memory; they are
// the page cache's, and come back when they are read again.
func (d *DB) letGo() {
	info, err := os.Stat(d.name)
	if err != nil || info.Size() == 0 {
		return
	}
	start := d.bolt.Info().Data
	size := min(uintptr(info.Size()), maxMapped)
	// An error means that memory stays in use, which is no harm.
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, size&^(uintptr(os.Getpagesize())-1), unix.MADV_DONTNEED)
}

// maxMapped is far above what etcd's databases may grow to.
const maxMapped = 1 << 40

// Close lets go of the file.
func (d *DB) Close() error { return d.bolt.Close() }

// view is bbolt's View with damage told as an error.
func (d *DB) view(f func(tx *bbolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %w: %v", d.name, ErrDamaged, p)
		}
	}()
	if err := d.bolt.View(f); err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	return nil
}

// Marks are what a database says about the etcd that wrote it.
type Marks struct {
	StorageVersion  string // own minor of 3.6 and later, "3.6.0"
	ClusterVersion  string // the agreed minor, "3.4.0"
	Downgrade       string // a downgrade under way, as JSON
	ConsistentIndex uint64 // the last raft entry applied
	HasTerm         bool   // written by 3.5 or later
	HasAuthRevision bool   // written by 3.1 or later
	AuthEnabled     bool
	// Raft is who raft counts as members; nil where the database does not say,
	// as before 3.5.
	Raft *ConfState
}

// ConfState are the IDs of members, as raft has them.
type ConfState struct {
	Voters   []uint64 `json:"voters"`
	Learners []uint64 `json:"learners"`
}

// Has says whether a member is among them.
func (c *ConfState) Has(id uint64) bool {
	return slices.Contains(c.Voters, id) || slices.Contains(c.Learners, id)
}

// Marks reads the marks.
func (d *DB) Marks() (m Marks, err error) {
	err = d.view(func(tx *bbolt.Tx) error {
		get := func(bucket, key string) []byte {
			if b := tx.Bucket([]byte(bucket)); b != nil {
				return b.Get([]byte(key))
			}
			return nil
		}
		if tx.Bucket([]byte(bucketMeta)) == nil || tx.Bucket([]byte(bucketKey)) == nil {
			return fmt.Errorf("%w: it has no bucket for keys", ErrDamaged)
		}
		m = Marks{
			StorageVersion:  string(get(bucketMeta, "storageVersion")),
			ClusterVersion:  string(get(bucketCluster, "clusterVersion")),
			Downgrade:       string(get(bucketCluster, "downgrade")),
			HasTerm:         get(bucketMeta, "term") != nil,
			HasAuthRevision: get(bucketAuth, "authRevision") != nil,
		}
		if b := get(bucketMeta, "consistent_index"); len(b) == 8 {
			m.ConsistentIndex = binary.BigEndian.Uint64(b)
		}
		if b := get(bucketAuth, "authEnabled"); len(b) == 1 {
			m.AuthEnabled = b[0] == 1
		}
		if b := get(bucketMeta, "confState"); b != nil {
			var c ConfState
			if err := json.Unmarshal(b, &c); err != nil {
				return fmt.Errorf("%w: raft's state: %v", ErrDamaged, err)
			}
			if len(c.Voters) > 0 {
				m.Raft = &c
			}
		}
		return nil
	})
	return m, err
}

// Member is a member of the cluster, as the database knows it.
type Member struct {
	ID         uint64   `json:"id"`
	PeerURLs   []string `json:"peerURLs"`
	IsLearner  bool     `json:"isLearner,omitempty"`
	Name       string   `json:"name,omitempty"`
	ClientURLs []string `json:"clientURLs,omitempty"`
}

// Members are the members, in order of their IDs.
func (d *DB) Members() (all []Member, err error) {
	err = d.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucketMembers))
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			var m Member
			if err := json.Unmarshal(v, &m); err != nil {
				return fmt.Errorf("member %s: %w", k, err)
			}
			all = append(all, m)
			return nil
		})
	})
	return all, err
}

// Strip removes from a copy of a database what would tie a member restored
// from it to its old cluster or version: the marks of versions, a downgrade
// under way, the members, and raft's state. Keys, leases, users and alarms stay.
// With list set the copy has a list of its free pages, which etcd before 3.4 can
// not do without; making one brings the whole file into memory. The copy is not
// made durable.
func Strip(name string, list bool) (err error) {
	if !list {
		if err := assumeFull(name); err != nil {
			return err
		}
	}
	db, err := open(name, bbolt.Options{NoFreelistSync: !list, NoGrowSync: true})
	if err != nil {
		return err
	}
	db.bolt.NoSync = true
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %w: %v", name, ErrDamaged, p)
		}
	}()
	err = db.bolt.Update(func(tx *bbolt.Tx) error {
		for _, x := range [][2]string{
			{bucketMeta, "storageVersion"}, {bucketMeta, "confState"}, {bucketMeta, "term"},
			{bucketCluster, "clusterVersion"}, {bucketCluster, "downgrade"},
		} {
			if b := tx.Bucket([]byte(x[0])); b != nil {
				if err := b.Delete([]byte(x[1])); err != nil {
					return err
				}
			}
		}
		for _, name := range []string{bucketMembers, bucketMembersRemoved} {
			if tx.Bucket([]byte(name)) == nil {
				continue
			}
			if err := tx.DeleteBucket([]byte(name)); err != nil {
				return err
			}
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, db.Close())
}

// ForgetMembers removes some members, and nothing else, in one transaction.
func ForgetMembers(name string, members []Member) error {
	db, err := open(name, bbolt.Options{})
	if err != nil {
		return err
	}
	err = db.bolt.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(bucketMembers))
		for _, m := range members {
			if b == nil {
				break
			}
			if err := b.Delete(strconv.AppendUint(nil, m.ID, 16)); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, db.Close())
}

// ForgetDowngrade removes the record of a downgrade under way, and nothing else,
// in one transaction.
func ForgetDowngrade(name string) error {
	db, err := open(name, bbolt.Options{})
	if err != nil {
		return err
	}
	err = db.bolt.Update(func(tx *bbolt.Tx) error {
		if b := tx.Bucket([]byte(bucketCluster)); b != nil {
			return b.Delete([]byte("downgrade"))
		}
		return nil
	})
	return errors.Join(err, db.Close())
}

// KeyValue is one revision of a key (mvccpb.KeyValue). Its slices share the
// database's memory.
type KeyValue struct {
	Key, Value           []byte
	Create, Mod, Version int64
	Lease                int64
}

func parseKeyValue(b []byte) (kv KeyValue, err error) {
	err = wire.Each(b, func(f wire.Field) error {
		switch f.ID {
		case 1:
			kv.Key = f.Bytes
		case 2:
			kv.Create = int64(f.Number)
		case 3:
			kv.Mod = int64(f.Number)
		case 4:
			kv.Version = int64(f.Number)
		case 5:
			kv.Value = f.Bytes
		case 6:
			kv.Lease = int64(f.Number)
		}
		return nil
	})
	if err == nil && len(kv.Key) == 0 {
		err = fmt.Errorf("%w: a revision without a key", ErrDamaged)
	}
	return kv, err
}

// revision takes the key of a revision apart: big-endian main, '_', big-endian
// sub, and 't' for a deletion.
func revision(k []byte) (main, sub int64, deleted bool, err error) {
	if len(k) < 17 {
		return 0, 0, false, fmt.Errorf("%w: a revision of %d bytes", ErrDamaged, len(k))
	}
	return int64(binary.BigEndian.Uint64(k[:8])), int64(binary.BigEndian.Uint64(k[9:17])), len(k) == 18 && k[17] == 't', nil
}
