package backend

import (
	"bytes"
	"cmp"
	"slices"

	"go.etcd.io/bbolt"
)

// Live are the keys that are there now, in order of their mod revisions, and
// the TTL in seconds of each lease that is there. Everything is copied: this is
// for moves that rewrite the data, and costs as much memory as the keys do.
func (d *DB) Live() (keys []KeyValue, ttl map[int64]int64, err error) {
	ttl = map[int64]int64{}
	err = d.view(func(tx *bbolt.Tx) error {
		at := map[string][]byte{} // key → the newest revision that has it
		err := tx.Bucket([]byte(bucketKey)).ForEach(func(k, v []byte) error {
			_, _, deleted, err := revision(k)
			if err != nil {
				return err
			}
			kv, err := parseKeyValue(v)
			if err != nil {
				return err
			}
			if deleted {
				delete(at, string(kv.Key))
			} else {
				at[string(kv.Key)] = bytes.Clone(k)
			}
			return nil
		})
		if err != nil {
			return err
		}
		bucket := tx.Bucket([]byte(bucketKey))
		for _, k := range at {
			kv, err := parseKeyValue(bytes.Clone(bucket.Get(k)))
			if err != nil {
				return err
			}
			keys = append(keys, kv)
		}
		slices.SortFunc(keys, func(a, b KeyValue) int {
			return cmp.Or(cmp.Compare(a.Mod, b.Mod), bytes.Compare(a.Key, b.Key))
		})
		return eachLease(tx, func(id, seconds int64) { ttl[id] = seconds })
	})
	return keys, ttl, err
}
