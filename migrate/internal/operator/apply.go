package operator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/etcdimg/etcdimg/migrate/internal/backend"
	"github.com/etcdimg/etcdimg/migrate/internal/basis"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/journal"
	"github.com/etcdimg/etcdimg/migrate/internal/plan"
	"github.com/etcdimg/etcdimg/migrate/internal/raftlog"
	"github.com/etcdimg/etcdimg/migrate/internal/v2store"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// ErrOther says that a directory is not a member of the cluster that a database
// was prepared from. Nothing was changed.
var ErrOther = errors.New("not a member of the cluster that this was prepared from")

// Application says which prepared database a member is made from.
type Application struct {
	File  string
	Token string // of the new cluster; "" for the file's own
}

// applying is one member being made.
type applying struct {
	*Operator
	file    string
	m       *basis.Manifest
	token   string
	cluster []string // NAME=URL
	self    int      // of m.Members
	ids     []uint64
	id      uint64 // of the cluster
}

// Apply makes one member of the new cluster from the database that was prepared
// for all. It may be run again: a member that is made already is left alone.
func Apply(ctx context.Context, o Options, a Application) error {
	dir, err := datadir.Resolve(o.DataDir)
	if err != nil {
		return err
	}
	op := &applying{Operator: &Operator{Options: o, dir: dir}, file: a.File}
	if err := op.prepareMembers(a); err != nil {
		return err
	}
	if o.InstallPlain && !o.DryRun {
		if err := o.Bundle.CheckInstall(o.Target.Version); err != nil {
			return err
		}
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if o.DryRun {
			o.Say(fmt.Sprintf("%s is not there: it would be made, and member %s in it", dir, op.m.Members[op.self].Name))
			return nil
		}
		if err := datadir.MakeDir(dir); err != nil {
			return err
		}
	}
	if err := op.open(); err != nil {
		return err
	}
	defer op.close()
	if err := op.bringMember(ctx); err != nil {
		return err
	}
	if o.InstallPlain && !o.DryRun {
		return o.Bundle.InstallPlain(o.Target.Version)
	}
	return nil
}

// prepareMembers reads the file, finds this member among those of the new
// cluster, and computes what etcd will call them.
func (a *applying) prepareMembers(ap Application) (err error) {
	if a.m, err = basis.Open(ap.File); err != nil {
		return err
	}
	if len(a.Cluster.Members) > 0 {
		a.m.Members = a.Cluster.Members
	}
	a.self = -1
	for i, m := range a.m.Members {
		for _, u := range m.PeerURLs {
			a.cluster = append(a.cluster, m.Name+"="+u)
		}
		if m.Name == a.Name {
			a.self = i
		}
		if m.Name == "" || len(m.PeerURLs) == 0 {
			return fmt.Errorf("the members in %s.json are not all named (one never started?): give --initial-cluster", ap.File)
		}
	}
	if len(a.m.Members) == 0 {
		return fmt.Errorf("%s.json names no members: give --initial-cluster, the same on every member", ap.File)
	}
	if a.self < 0 {
		return fmt.Errorf("no member %q is in the new cluster (%s): give --name or --initial-cluster", a.Name, strings.Join(a.cluster, ","))
	}
	if a.token = ap.Token; a.token == "" {
		a.token = a.m.Token()
	}
	a.ids, a.id = basis.IDs(a.m.Members, a.token)
	for i, id := range a.ids {
		if slices.Contains(a.ids[:i], id) {
			return fmt.Errorf("two members of the new cluster have the same peer URLs: %s", strings.Join(a.cluster, ","))
		}
	}
	switch line := a.Target.Version.Line(); {
	case a.Target.Storage == version.Etcd2 && line != (version.Line{Major: 2, Minor: 3}):
		return fmt.Errorf("%w: v3 keys become v2 keys for etcd 2.3 only, not for %s", plan.ErrNoWay, a.Target)
	case a.Target.Storage == version.Etcd3 && line.Major != 3:
		return fmt.Errorf("%w: etcd %s has no etcd3 storage", plan.ErrNoWay, line)
	}
	return nil
}

func (a *applying) bringMember(ctx context.Context) error {
	r := a.journal.Record()
	if a.DryRun && r != nil && r.Phase != journal.Between {
		a.Say(fmt.Sprintf("an earlier run to %s was cut short at %s; that would be put right first", r.To, r.Phase))
		return nil
	}
	if !a.DryRun {
		if done, err := a.journal.Recover(); err != nil {
			return err
		} else if done != "" {
			a.Log.Info("recovered", "what", done)
		}
	}
	s, err := a.lookAt()
	if err != nil {
		return err
	}
	if !s.Empty && s.Log.ClusterID == a.id {
		return a.already(s)
	}
	from, err := a.suits(s)
	if err != nil {
		return err
	}
	db, err := a.databaseState()
	if err != nil {
		return err
	}
	step := plan.Step{Kind: plan.Restore, Version: a.Target.Version, From: from, To: a.Target}
	if a.Target.Storage == version.Etcd2 {
		step.Kind = plan.WriteV2
	}
	a.Say(fmt.Sprintf("%s: member %s of %d is made anew for %s, from %s (%d keys, revision %d, of a cluster at %s)", a.dir, a.Name, len(a.m.Members), a.Target, a.file, a.m.Content.Keys, a.m.Content.Revision, a.m.From))
	losses, err := a.lossesOf(db, a.file, []plan.Step{step})
	if err != nil {
		return err
	}
	if err := a.consent(losses); err != nil {
		return err
	}
	if err := datadir.CheckSpace(a.dir, 2*a.m.Size+segmentRoom); err != nil {
		return err
	}
	if a.DryRun {
		return nil
	}
	return a.make(ctx, s, step)
}

// lookAt reads the directory. A member directory with nothing in it, as an
// earlier run makes it where there was none, is as good as none.
func (a *applying) lookAt() (*datadir.State, error) {
	entries, err := os.ReadDir(filepath.Join(a.dir, datadir.MemberDir))
	if err == nil && len(entries) == 0 {
		return &datadir.State{Dir: a.dir, Empty: true}, nil
	}
	s, err := a.look()
	if err != nil && !errors.Is(err, datadir.ErrRunning) {
		return nil, fmt.Errorf("%w; if it is to be replaced all the same, move its member directory and version.txt away", err)
	}
	return s, err
}

// already ends what is left of an earlier run, if this member is made already.
func (a *applying) already(s *datadir.State) error {
	if s.Log.NodeID != a.ids[a.self] {
		return fmt.Errorf("%s: %w: it is another member of the new cluster, %x, and %s is %x: are two members' directories mixed up?", a.dir, ErrOther, s.Log.NodeID, a.Name, a.ids[a.self])
	}
	if s.Stamp == nil || *s.Stamp != a.Target {
		at := "no version"
		if s.Stamp != nil {
			at = s.Stamp.String()
		}
		return fmt.Errorf("%s was made from %s already, and is at %s: to bring it to %s, run migrate without apply", a.dir, a.file, at, a.Target)
	}
	a.Say(fmt.Sprintf("%s was made from %s already, and is at %s: nothing to do", a.dir, a.file, a.Target))
	if a.DryRun {
		return nil
	}
	return a.end()
}

// suits says whether the directory may be replaced, and what it was.
func (a *applying) suits(s *datadir.State) (from version.Stamp, err error) {
	from = a.m.From
	if s.Empty {
		return from, nil
	}
	if s.Stamp != nil {
		from = *s.Stamp
	}
	if id := fmt.Sprintf("%x", s.Log.ClusterID); a.m.Cluster != "" && a.m.Cluster != id {
		return from, fmt.Errorf("%s: %w: it belongs to the cluster %s, not to %s; if it is to be replaced all the same, move its member directory and version.txt away", a.dir, ErrOther, id, a.m.Cluster)
	}
	newer, err := a.newer(s)
	if err != nil || newer == "" {
		return from, err
	}
	a.Say("not kept: " + newer)
	if !slices.Contains(a.AcceptLoss, lossNewer) {
		return from, fmt.Errorf("%s: %s: %w", a.dir, newer, refuse([]string{lossNewer}))
	}
	return from, nil
}

// newer says what the directory has that the prepared database has not.
func (a *applying) newer(s *datadir.State) (string, error) {
	if s.HasDB && a.m.From.Storage == version.Etcd3 {
		sum, err := summarize(datadir.DBFile(a.dir), backend.All)
		if err != nil {
			return "", err
		}
		if sum.Revision > a.m.Content.Revision {
			return fmt.Sprintf("this member has revision %d, and the database for all ends at %d: was it started after that was prepared?", sum.Revision, a.m.Content.Revision), nil
		}
	}
	n := 0
	for _, e := range s.Log.Tail {
		if e.Index > a.m.Index && (e.Kind == raftlog.V3Change || e.Kind == raftlog.V2Other && a.m.From.Storage == version.Etcd2) {
			n++
		}
	}
	if a.m.Index > 0 && n > 0 {
		return fmt.Sprintf("this member's log has %d changes after entry %d, where the database for all ends: was it left out, or started after that was prepared?", n, a.m.Index), nil
	}
	return "", nil
}

// databaseState is as much of a state as losses are told by.
func (a *applying) databaseState() (*datadir.State, error) {
	d, err := backend.Open(a.file)
	if err != nil {
		return nil, err
	}
	marks, err := d.Marks()
	return &datadir.State{Marks: marks, HasDB: true}, errors.Join(err, d.Close())
}

// make does the one step, by the journal's rules.
func (a *applying) make(ctx context.Context, s *datadir.State, step plan.Step) error {
	if r := a.journal.Record(); r != nil && !s.Empty {
		a.Log.Warn("an unfinished migration ends here: its backup is kept", "backup", r.Backup)
		if err := a.journal.Forget(); err != nil {
			return err
		}
	}
	if err := a.journal.Begin(step.From, a.Target); err != nil {
		return err
	}
	if s.Empty {
		if err := a.emptyMember(); err != nil {
			return err
		}
	}
	err := a.build(ctx, step)
	if r := a.journal.Record(); err != nil && r.Phase == journal.Swap {
		return fmt.Errorf("the member is made but for putting it in place: %w; run this again to end that", err)
	}
	if err != nil {
		back := a.goBack()
		if s.Empty && back == nil {
			back = os.Remove(filepath.Join(a.dir, datadir.MemberDir))
		}
		if back != nil {
			return fmt.Errorf("%w; and going back failed: %v: run this again", err, back)
		}
		return fmt.Errorf("%w (the directory is as it was)", err)
	}
	return a.end()
}

// emptyMember makes the directory that the new one changes places with.
func (a *applying) emptyMember() error {
	member := filepath.Join(a.dir, datadir.MemberDir)
	if err := os.Mkdir(member, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(a.dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := os.Lchown(member, int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return datadir.SyncDir(a.dir)
}

// end ends the move. An empty directory that was exchanged is no backup.
func (a *applying) end() error {
	names, err := a.journal.Backups()
	if err != nil {
		return err
	}
	for _, name := range names {
		backup := a.journal.Backup(name)
		if entries, err := os.ReadDir(filepath.Join(backup, datadir.MemberDir)); err == nil && len(entries) == 0 {
			if err := os.RemoveAll(backup); err != nil {
				return err
			}
		}
	}
	if err := a.journal.End(a.KeepBackups); err != nil {
		return fmt.Errorf("the member is at %s, but tidying up failed: %w", a.Target, err)
	}
	return nil
}

// build makes the member in next/, compares it, and puts it in place.
func (a *applying) build(ctx context.Context, step plan.Step) error {
	if err := a.journal.Prepare(step.To); err != nil {
		return err
	}
	a.Log.Info("step begins", "step", 1, "of", 1, "kind", string(step.Kind), "to", step.To.String())
	var err error
	if step.Kind == plan.WriteV2 {
		err = a.buildV2()
	} else {
		err = a.buildV3(ctx, step.Version)
	}
	if err != nil {
		return err
	}
	if err := a.adopt(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	after, err := datadir.Inspect(a.journal.Next())
	if err != nil {
		return fmt.Errorf("reading what was made: %w", err)
	}
	if err := a.isSelf(after.Log); err != nil {
		return err
	}
	a.Log.Info("the data is the same", "keys", a.m.Content.Keys, "revision", a.m.Content.Revision, "leases", a.m.Content.Leases, "digest", a.m.Content.Live, "member", fmt.Sprintf("%x", a.ids[a.self]), "cluster", fmt.Sprintf("%x", a.id))
	return a.journal.Commit(fingerprint(after))
}

// isSelf checks that the tool made the member that was meant.
func (a *applying) isSelf(l *raftlog.Log) error {
	want := slices.Sorted(slices.Values(a.ids))
	if l.NodeID != a.ids[a.self] || l.ClusterID != a.id || !slices.Equal(l.Voters, want) {
		return fmt.Errorf("the member that was made is %x of %x in the cluster %x, not %x of %x in %x", l.NodeID, l.Voters, l.ClusterID, a.ids[a.self], want, a.id)
	}
	return nil
}

func (a *applying) buildV3(ctx context.Context, v version.Version) error {
	out := filepath.Join(a.journal.Work(), "restored")
	self := a.m.Members[a.self]
	if err := a.restoreInto(ctx, out, v, a.file, self.Name, self.PeerURLs, a.cluster, a.token); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(out, datadir.MemberDir), filepath.Join(a.journal.Next(), datadir.MemberDir)); err != nil {
		return err
	}
	after, err := summarize(datadir.DBFile(a.journal.Next()), backend.All)
	if err != nil {
		return err
	}
	return backend.Compare(a.m.Content, after)
}

// buildV2 writes the keys into a v2 store that is the same on every member: its
// raft index is the revision, and its TTLs count from when it was prepared.
func (a *applying) buildV2() error {
	d, err := backend.Open(a.file)
	if err != nil {
		return err
	}
	keys, ttl, err := d.Live()
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	var members []v2store.Member
	for i, m := range a.m.Members {
		members = append(members, v2store.Member{ID: a.ids[i], Name: m.Name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs})
	}
	b, err := v2store.NewBuilder(members[0], a.Target.Version.Line().String()+".0", members[1:]...)
	if err != nil {
		return err
	}
	want, refused := toV2(b, keys, ttl, a.m.Prepared)
	for _, r := range refused {
		a.Log.Warn("a key can not be kept", "key", string(r.key), "why", r.why)
	}
	if missing := a.unaccepted(refused); len(missing) > 0 {
		return refuse(missing)
	}
	index := uint64(a.m.Content.Revision)
	data, err := b.Marshal(index)
	if err != nil {
		return err
	}
	member := filepath.Join(a.journal.Next(), datadir.MemberDir)
	if err := makeDir(member); err != nil {
		return err
	}
	if err := raftlog.Write(member, a.ids[a.self], a.id, &raftlog.Snapshot{Term: firstTerm, Index: index, Voters: slices.Sorted(slices.Values(a.ids)), Data: data}); err != nil {
		return err
	}
	log, err := raftlog.Read(member)
	if err != nil {
		return err
	}
	c, err := v2store.Read(log.Snapshot.Data)
	if err != nil {
		return err
	}
	return sameV2(want, c.Keys)
}
