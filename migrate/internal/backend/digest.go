package backend

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/etcdimg/etcdimg/migrate/internal/wire"
)

// Summary is what a database holds of the user's, in a form that two databases
// can be compared by.
type Summary struct {
	Revision  int64 `json:"revision"`  // of the newest change
	Compacted int64 `json:"compacted"` // history up to it is gone, or going
	Keys      int   `json:"keys"`      // that are there now
	Leases    int   `json:"leases"`
	// Live is over key, value, create and mod revision, version and lease of
	// every key that is there now, in the bytes that etcd keeps them in and
	// copies as they are, whatever order it is read in.
	Live string `json:"live"`
	// History is over every revision after Compacted, in order.
	History string `json:"history"`
	// Leased is over the leases: ID and TTL.
	Leased string `json:"leased"`
	// Auth is over users, roles, and whether they are asked for.
	Auth string `json:"auth"`
	// Alarms is over the alarms that are raised.
	Alarms string `json:"alarms"`
}

// All is the revision that leaves nothing out.
const All = int64(math.MaxInt64)

// Summarize reads the database once, as it stood at revision upTo as far as
// keys go. Memory grows by some 50 bytes per key, not with the values: pages
// that were read are let go.
func (d *DB) Summarize(upTo int64) (s Summary, err error) { return d.SummarizeRange(0, upTo) }

// SummarizeRange is Summarize with a History that is over the revisions after a
// given one only, so that databases that were compacted differently compare.
func (d *DB) SummarizeRange(after, upTo int64) (s Summary, err error) {
	err = d.view(func(tx *bbolt.Tx) error {
		s.Compacted = compacted(tx)
		history := sha256.New()
		live := map[[16]byte][16]byte{}
		var sum [2]uint64
		read := 0
		err := tx.Bucket([]byte(bucketKey)).ForEach(func(k, v []byte) error {
			main, _, deleted, err := revision(k)
			if err != nil || main > upTo {
				return err
			}
			s.Revision = max(s.Revision, main)
			kv, err := parseKeyValue(v)
			if err != nil {
				return fmt.Errorf("revision %d: %w", main, err)
			}
			whole := sha256.Sum256(v)
			if main > max(after, s.Compacted) {
				part(history, k)
				history.Write(whole[:])
			}
			name := short(kv.Key)
			if old, ok := live[name]; ok {
				add(&sum, old, -1)
				delete(live, name)
			}
			if !deleted {
				record := [16]byte(whole[:16])
				add(&sum, record, 1)
				live[name] = record
			}
			if read += len(v); read > letGoEvery {
				read = 0
				d.letGo()
			}
			return nil
		})
		if err != nil {
			return err
		}
		s.Keys = len(live)
		s.Live = hex.EncodeToString(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, sum[0]), sum[1]))
		s.History = hex.EncodeToString(history.Sum(nil))
		return s.small(tx)
	})
	return s, err
}

// small fills in what is not about keys.
func (s *Summary) small(tx *bbolt.Tx) error {
	leased := sha256.New()
	if err := eachLease(tx, func(id, ttl int64) {
		s.Leases++
		leased.Write(number(id))
		leased.Write(number(ttl))
	}); err != nil {
		return err
	}
	s.Leased = hex.EncodeToString(leased.Sum(nil))
	s.Auth = buckets(tx, "authEnabled", bucketAuth, bucketUsers, bucketRoles)
	s.Alarms = buckets(tx, "", bucketAlarm)
	return nil
}

// Counts say how much was compared.
type Counts struct {
	Rows, Leases int
	Revision     int64
}

// Same compares two databases that should hold the very same rows, one by one:
// that is as strict as comparing digests, and takes a fraction of the time. The
// error says in words how they differ.
func Same(before, after *DB) (n Counts, err error) {
	var was, is Summary
	same := false
	err = before.view(func(tx *bbolt.Tx) error {
		return after.view(func(otherTx *bbolt.Tx) error {
			a, b := tx.Bucket([]byte(bucketKey)).Cursor(), otherTx.Bucket([]byte(bucketKey)).Cursor()
			read := 0
			k, v := a.First()
			x, y := b.First()
			for k != nil && bytes.Equal(k, x) && bytes.Equal(v, y) {
				main, _, _, err := revision(k)
				if err != nil {
					return err
				}
				n.Rows, n.Revision = n.Rows+1, max(n.Revision, main)
				if read += len(v); read > letGoEvery {
					read = 0
					before.letGo()
					after.letGo()
				}
				k, v = a.Next()
				x, y = b.Next()
			}
			same = k == nil && x == nil
			was.Compacted, is.Compacted = compacted(tx), compacted(otherTx)
			return errors.Join(was.small(tx), is.small(otherTx))
		})
	})
	if err != nil {
		return n, err
	}
	n.Leases = was.Leases
	if same {
		return n, Compare(was, is)
	}
	if was, err = before.Summarize(All); err != nil {
		return n, err
	}
	if is, err = after.Summarize(All); err != nil {
		return n, err
	}
	if err := Compare(was, is); err != nil {
		return n, err
	}
	return n, fmt.Errorf("%w: after row %d, of revision %d", ErrDiffers, n.Rows, n.Revision)
}

// letGoEvery is how many bytes of values are read before their pages are let go.
const letGoEvery = 32 << 20

// compacted is the revision up to which a compaction was asked for: what is
// below may be there or not.
func compacted(tx *bbolt.Tx) (rev int64) {
	for _, name := range []string{"scheduledCompactRev", "finishedCompactRev"} {
		if b := tx.Bucket([]byte(bucketMeta)).Get([]byte(name)); len(b) >= 8 {
			rev = max(rev, int64(binary.BigEndian.Uint64(b[:8])))
		}
	}
	return rev
}

func eachLease(tx *bbolt.Tx, f func(id, ttl int64)) error {
	b := tx.Bucket([]byte(bucketLease))
	if b == nil {
		return nil
	}
	return b.ForEach(func(_, v []byte) error {
		var id, ttl int64
		err := wire.Each(v, func(f wire.Field) error {
			switch f.ID {
			case 1:
				id = int64(f.Number)
			case 2:
				ttl = int64(f.Number)
			}
			return nil
		})
		f(id, ttl)
		return err
	})
}

// buckets is a digest over whole buckets; of the first one only the key named
// counts, when one is.
func buckets(tx *bbolt.Tx, only string, names ...string) string {
	h := sha256.New()
	for i, name := range names {
		b := tx.Bucket([]byte(name))
		if b == nil {
			continue
		}
		_ = b.ForEach(func(k, v []byte) error { // the function returns no error
			if i == 0 && only != "" && string(k) != only {
				return nil
			}
			// Lines write "auth is off" as nothing, or as a zero.
			if i == 0 && only != "" && string(v) == "\x00" {
				return nil
			}
			part(h, []byte(name))
			part(h, k)
			part(h, v)
			return nil
		})
	}
	return hex.EncodeToString(h.Sum(nil))
}

func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// part adds b so that no two rows of parts look the same.
func part(h hash.Hash, b []byte) {
	h.Write(number(int64(len(b))))
	h.Write(b)
}

func short(parts ...[]byte) (d [16]byte) {
	h := sha256.New()
	for _, p := range parts {
		part(h, p)
	}
	copy(d[:], h.Sum(nil))
	return d
}

func add(sum *[2]uint64, d [16]byte, sign int) {
	a, b := binary.BigEndian.Uint64(d[:8]), binary.BigEndian.Uint64(d[8:])
	if sign < 0 {
		a, b = -a, -b
	}
	sum[0] += a
	sum[1] += b
}

// ErrDiffers is in every error about two databases that are not the same.
var ErrDiffers = errors.New("the data differs")

// Compare says how after differs from before, in words; nil when it does not.
// A compaction that was asked for before may have gone on.
func Compare(before, after Summary) error {
	var parts []string
	diff := func(what string, a, b any) {
		if a != b {
			parts = append(parts, fmt.Sprintf("%s %v before, %v after", what, a, b))
		}
	}
	diff("revision", before.Revision, after.Revision)
	diff("compacted revision", before.Compacted, after.Compacted)
	diff("keys", before.Keys, after.Keys)
	diff("digest of keys, values, revisions and versions", before.Live, after.Live)
	diff("digest of the history", before.History, after.History)
	diff("leases", before.Leases, after.Leases)
	diff("digest of leases", before.Leased, after.Leased)
	diff("digest of users and roles", before.Auth, after.Auth)
	diff("digest of alarms", before.Alarms, after.Alarms)
	if len(parts) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDiffers, strings.Join(parts, "; "))
}

// OnlyExpired says whether the database holds, after revision, nothing but
// deletions: what a server does by itself when a lease runs out.
func (d *DB) OnlyExpired(after int64) (keys int, only bool, err error) {
	only = true
	err = d.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketKey)).Cursor()
		for k, _ := c.Seek(number(after + 1)); k != nil; k, _ = c.Next() {
			_, _, deleted, err := revision(k)
			if err != nil {
				return err
			}
			keys++
			only = only && deleted
		}
		return nil
	})
	return keys, only, err
}
