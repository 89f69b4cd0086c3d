package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/etcdimg/etcdimg/migrate/internal/backend"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/plan"
	"github.com/etcdimg/etcdimg/migrate/internal/raftlog"
	"github.com/etcdimg/etcdimg/migrate/internal/v2store"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// ttlLease is the lease that keys below the TTL directory get, as people know
// it of the published operator.
const ttlLease = time.Hour

// convert turns v2 keys into v3 keys. The server runs first, for two reasons:
// keys whose time is up go, that would come back otherwise; and its raft
// snapshot tells every v2 key, hidden ones too, to compare with.
func (o *Operator) convert(ctx context.Context, step plan.Step, s *datadir.State) (*result, error) {
	next := o.journal.Next()
	if err := o.copyMember(ctx, s, next); err != nil {
		return nil, err
	}
	if err := o.pass(ctx, step.Version, next, s); err != nil {
		return nil, err
	}
	log, err := raftlog.Read(filepath.Join(next, datadir.MemberDir))
	if err != nil {
		return nil, err
	}
	if log.Snapshot == nil {
		return nil, errors.New("etcd made no raft snapshot, so its v2 keys can not be compared")
	}
	content, err := v2store.Read(log.Snapshot.Data)
	if err != nil {
		return nil, err
	}
	if err := o.refuseHidden(content); err != nil {
		return nil, err
	}
	if err := o.command(ctx, []string{o.Bundle.Program("etcdctl", step.Version), "migrate", "--data-dir", next}, []string{"ETCDCTL_API=3"}); err != nil {
		return nil, err
	}
	db := datadir.DBFile(next)
	if err := sameAsV2(content, db); err != nil {
		return nil, err
	}
	before, err := summarize(db, backend.All)
	if err != nil {
		return nil, err
	}
	leased, err := o.lease(ctx, step.Version, next, s, content)
	if err != nil {
		return nil, err
	}
	// The leases' puts come after everything; what was there before them must
	// not have changed.
	at, err := summarize(db, before.Revision)
	if err != nil {
		return nil, err
	}
	at.Leases, at.Leased = before.Leases, before.Leased
	if err := backend.Compare(before, at); err != nil {
		return nil, err
	}
	after, err := summarize(db, backend.All)
	if err != nil {
		return nil, err
	}
	if after.Keys != before.Keys || after.Revision != before.Revision+int64(leased) {
		return nil, fmt.Errorf("%w: %d keys and revision %d before %d keys got a lease, %d and %d after", backend.ErrDiffers, before.Keys, before.Revision, leased, after.Keys, after.Revision)
	}
	return resultOf(after), nil
}

// refuseHidden refuses to leave hidden keys behind unless that is accepted.
func (o *Operator) refuseHidden(c *v2store.Content) error {
	var hidden []string
	for _, k := range c.Keys {
		if k.Hidden {
			hidden = append(hidden, k.Path)
		}
	}
	if len(hidden) == 0 {
		return nil
	}
	o.Log.Warn("hidden v2 keys do not become v3 keys", "keys", len(hidden), "first", hidden[0])
	for _, a := range o.AcceptLoss {
		if a == lossHidden {
			return nil
		}
	}
	return fmt.Errorf("%d hidden v2 keys, the first is %s: %w", len(hidden), hidden[0], refuse([]string{lossHidden}))
}

// sameAsV2 compares every v2 key that is not hidden with the database: value,
// create and mod revision.
func sameAsV2(c *v2store.Content, db string) error {
	d, err := backend.Open(db)
	if err != nil {
		return err
	}
	defer d.Close()
	live, _, err := d.Live()
	if err != nil {
		return err
	}
	at := map[string]backend.KeyValue{}
	for _, kv := range live {
		at[string(kv.Key)] = kv
	}
	n := 0
	for _, k := range c.Keys {
		if k.Hidden {
			continue
		}
		n++
		kv, ok := at[k.Path]
		switch {
		case !ok:
			return fmt.Errorf("%w: the v2 key %s did not become a v3 key", backend.ErrDiffers, k.Path)
		case string(kv.Value) != k.Value:
			return fmt.Errorf("%w: the value of %s", backend.ErrDiffers, k.Path)
		case kv.Create != int64(k.Created) || kv.Mod != int64(k.Modified):
			return fmt.Errorf("%w: %s has revisions %d and %d, had indices %d and %d", backend.ErrDiffers, k.Path, kv.Create, kv.Mod, k.Created, k.Modified)
		}
	}
	if n != len(live) {
		return fmt.Errorf("%w: %d v2 keys became %d v3 keys", backend.ErrDiffers, n, len(live))
	}
	return nil
}

// lease runs the server once more, gives the keys below the TTL directory a
// lease, and says how many there were.
func (o *Operator) lease(ctx context.Context, v version.Version, dir string, s *datadir.State, c *v2store.Content) (n int, err error) {
	srv, err := o.start(ctx, v, dir, s)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, srv.Stop()) }()
	id := ""
	for _, k := range c.Keys {
		if k.Hidden || !strings.HasPrefix(k.Path, strings.TrimSuffix(o.TTLDir, "/")+"/") {
			continue
		}
		if id == "" {
			if id, err = srv.Grant(ctx, ttlLease); err != nil {
				return n, err
			}
		}
		if err := srv.Put(ctx, []byte(k.Path), []byte(k.Value), id); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// firstTerm is the raft term of a written directory: above 1, as a snapshot's is.
const firstTerm = 2

// writeV2 writes the live keys into a v2 store and a log that begins with it.
// The member keeps its ID and its cluster's.
func (o *Operator) writeV2(ctx context.Context, step plan.Step, s *datadir.State) (*result, error) {
	db, err := o.settled(ctx, s, step.From.Version)
	if err != nil {
		return nil, err
	}
	sum, err := summarize(db, backend.All)
	if err != nil {
		return nil, err
	}
	d, err := backend.Open(db)
	if err != nil {
		return nil, err
	}
	keys, ttl, err := d.Live()
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	m := v2store.Member{ID: s.Log.NodeID}
	m.Name, m.PeerURLs = o.identity(s)
	if len(s.Members) == 1 {
		m.ClientURLs = s.Members[0].ClientURLs
	}
	b, err := v2store.NewBuilder(m, step.To.Version.Line().String()+".0")
	if err != nil {
		return nil, err
	}
	want, refused := toV2(b, keys, ttl, time.Now())
	for _, r := range refused {
		o.Log.Warn("a key can not be kept", "key", string(r.key), "why", r.why)
	}
	if missing := o.unaccepted(refused); len(missing) > 0 {
		return nil, refuse(missing)
	}
	data, err := b.Marshal(uint64(sum.Revision))
	if err != nil {
		return nil, err
	}
	snap := &raftlog.Snapshot{Term: max(firstTerm, s.Log.Term), Index: max(uint64(sum.Revision), s.Log.LastIndex), Voters: []uint64{s.Log.NodeID}, Data: data}
	member := filepath.Join(o.journal.Next(), datadir.MemberDir)
	if err := makeDir(member); err != nil {
		return nil, err
	}
	if err := raftlog.Write(member, s.Log.NodeID, s.Log.ClusterID, snap); err != nil {
		return nil, err
	}
	if err := o.readBackV2(ctx, step.To.Version, s, want); err != nil {
		return nil, err
	}
	return &result{what: "keys", count: len(want), revision: sum.Revision, digest: "v2"}, nil
}

// readBackV2 compares what was written with what was meant, and lets the
// version itself read it where it is bundled.
func (o *Operator) readBackV2(ctx context.Context, v version.Version, s *datadir.State, want []v2store.Key) error {
	check := func() error {
		log, err := raftlog.Read(filepath.Join(o.journal.Next(), datadir.MemberDir))
		if err != nil {
			return err
		}
		if log.Snapshot == nil {
			return errors.New("the log begins with no snapshot")
		}
		c, err := v2store.Read(log.Snapshot.Data)
		if err != nil {
			return err
		}
		return sameV2(want, c.Keys)
	}
	if err := check(); err != nil {
		return fmt.Errorf("reading back the v2 store: %w", err)
	}
	if o.Bundle.Program("etcd", v) == "" {
		return nil
	}
	if err := o.pass(ctx, v, o.journal.Next(), s); err != nil {
		return err
	}
	return check()
}

func sameV2(want, got []v2store.Key) error {
	at := map[string]v2store.Key{}
	for _, k := range got {
		at[k.Path] = k
	}
	now := time.Now()
	for _, w := range want {
		g, ok := at[w.Path]
		if !ok && !w.Expires.IsZero() && w.Expires.Before(now.Add(time.Second)) {
			continue // its time ran out meanwhile
		}
		if !ok || g.Value != w.Value || g.Created != w.Created || g.Modified != w.Modified || g.Expires.IsZero() != w.Expires.IsZero() {
			return fmt.Errorf("%w: the v2 key %s", backend.ErrDiffers, w.Path)
		}
	}
	if len(got) > len(want) {
		return fmt.Errorf("%w: %d v2 keys instead of %d", backend.ErrDiffers, len(got), len(want))
	}
	return nil
}

// refusal is a key that a v2 store can not hold.
type refusal struct {
	key       []byte
	loss, why string
}

// toV2 puts keys into a builder, in order of their mod revisions.
func toV2(b *v2store.Builder, keys []backend.KeyValue, ttl map[int64]int64, now time.Time) (kept []v2store.Key, refused []refusal) {
	for _, kv := range keys {
		if !utf8.Valid(kv.Key) || !utf8.Valid(kv.Value) {
			refused = append(refused, refusal{kv.Key, lossNotUTF8, "it is not UTF-8"})
			continue
		}
		p := string(kv.Key)
		if path.Clean(p) != p || p[0] != '/' || p == "/" || bytes.IndexByte(kv.Key, 0) >= 0 {
			refused = append(refused, refusal{kv.Key, lossPaths, "a v2 store would give it another name"})
			continue
		}
		k := v2store.Key{Path: p, Value: string(kv.Value), Created: uint64(kv.Create), Modified: uint64(kv.Mod)}
		if seconds, ok := ttl[kv.Lease]; ok {
			k.Expires = now.Add(time.Duration(seconds) * time.Second)
		}
		if err := b.Put(k); err != nil {
			refused = append(refused, refusal{kv.Key, lossPaths, err.Error()})
			continue
		}
		kept = append(kept, k)
	}
	return kept, refused
}
