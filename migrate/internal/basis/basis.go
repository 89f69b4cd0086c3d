// Package basis holds the one database that all members of a cluster are made
// from: a file such as "etcdctl snapshot save" writes (the database, then its
// SHA-256), and beside it FILE.json, which says where it comes from, what is in
// it, and who the members are to be.
//
// Members that were each made from a database of their own may look healthy and
// differ for ever; hence one file, whose digest every member checks.
//
// It must not know how a database is found or a member made.
package basis

import (
	"context"
	"crypto/sha1" // etcd's own IDs are made with it
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/backend"
	"github.com/etcdimg/etcdimg/migrate/internal/cluster"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// ErrFile is in every error about a file that is not what was prepared.
var ErrFile = errors.New("not a database that was prepared for all members")

const (
	format  = 1
	suffix  = ".json"
	maxJSON = 1 << 20
)

// Manifest is what FILE.json holds.
type Manifest struct {
	Format int    `json:"format"`
	Digest string `json:"sha256"` // of the database, in hexadecimal
	Size   int64  `json:"size"`   // of the database, without the digest after it
	// From is what the members were, and Cluster the ID of their cluster as
	// etcd prints it; "" where a saved snapshot does not tell.
	From    version.Stamp `json:"from"`
	Cluster string        `json:"cluster,omitempty"`
	// Index is the last raft entry that is in the database.
	Index uint64 `json:"index,omitempty"`
	// Prepared is when TTLs begin anew where a lease can not be kept: all
	// members have to count from the same moment.
	Prepared time.Time        `json:"prepared"`
	Content  backend.Summary  `json:"content"`
	Members  []cluster.Member `json:"members,omitempty"` // as they were, or as was told
}

// Write makes FILE from a database, and FILE.json. Both are durable and whole,
// or not there. The file that is there already, if it is the same, stays.
func Write(ctx context.Context, file, db string, m Manifest) (Manifest, error) {
	next := file + "-next"
	if err := os.RemoveAll(next); err != nil {
		return m, err
	}
	if err := datadir.CopyFile(ctx, db, next); err != nil {
		return m, err
	}
	f, err := os.OpenFile(next, os.O_RDWR, 0)
	if err != nil {
		return m, err
	}
	h := sha256.New()
	m.Format = format
	m.Size, err = io.Copy(h, f)
	m.Digest = hex.EncodeToString(h.Sum(nil))
	if err == nil {
		_, err = f.Write(h.Sum(nil))
	}
	if err == nil {
		err = f.Chmod(0o600) // it holds every secret of the cluster
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return m, err
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	if err := os.WriteFile(next+suffix, append(b, '\n'), 0o600); err != nil {
		return m, err
	}
	if err := syncFile(next + suffix); err != nil {
		return m, err
	}
	// The manifest goes last: without one there is nothing to apply.
	for _, end := range []string{"", suffix} {
		if err := os.Rename(next+end, file+end); err != nil {
			return m, err
		}
	}
	return m, datadir.SyncDir(filepath.Dir(file))
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Open reads FILE.json and checks FILE against it.
func Open(file string) (*Manifest, error) {
	b, err := readSmall(file + suffix)
	if err != nil {
		return nil, fmt.Errorf("%w (migrate prepare writes %s and %s: copy both)", err, filepath.Base(file), filepath.Base(file)+suffix)
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("%s: %w: %v", file+suffix, ErrFile, err)
	}
	if m.Format != format {
		return nil, fmt.Errorf("%s: %w: written in format %d, and this operator knows %d", file+suffix, ErrFile, m.Format, format)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyN(h, f, m.Size); err != nil {
		return nil, fmt.Errorf("%s: %w: %v", file, ErrFile, err)
	}
	tail, err := io.ReadAll(io.LimitReader(f, sha256.Size+1))
	if err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != m.Digest || hex.EncodeToString(tail) != m.Digest {
		return nil, fmt.Errorf("%s: %w: its digest is %s, %s%s says %s", file, ErrFile, got, filepath.Base(file), suffix, m.Digest)
	}
	return &m, nil
}

func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJSON+1))
	if err == nil && len(b) > maxJSON {
		err = fmt.Errorf("%s: %w: too long", name, ErrFile)
	}
	return b, err
}

// Token is the token of the new cluster: the same for all who use the file, and
// another than any cluster before.
func (m *Manifest) Token() string { return "migrate-" + m.Digest[:16] }

// IDs are what etcd calls the members of a cluster of this token, in their
// order, and the cluster.
func IDs(members []cluster.Member, token string) (ids []uint64, clusterID uint64) {
	for _, m := range members {
		urls := slices.Clone(m.PeerURLs)
		slices.Sort(urls)
		ids = append(ids, first8([]byte(strings.Join(urls, "")+token)))
	}
	sorted := slices.Sorted(slices.Values(ids))
	var all []byte
	for _, id := range sorted {
		all = binary.BigEndian.AppendUint64(all, id)
	}
	return ids, first8(all)
}

func first8(b []byte) uint64 {
	h := sha1.Sum(b)
	return binary.BigEndian.Uint64(h[:8])
}
