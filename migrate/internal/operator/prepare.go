package operator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/backend"
	"github.com/etcdimg/etcdimg/migrate/internal/basis"
	"github.com/etcdimg/etcdimg/migrate/internal/cluster"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/plan"
	"github.com/etcdimg/etcdimg/migrate/internal/raftlog"

	"github.com/etcdimg/etcdimg/migrate/internal/server"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Preparation says what to make one database of, and where.
type Preparation struct {
	Sources []string // data directories of stopped members, or saved databases
	Choose  string   // the source to take, whatever the others hold; "" for the furthest
	Out     string   // the file to write
}

// Prepare picks and checks one database for all members, and writes it with
// everything removed that ties it to its cluster. The sources are not changed.
func Prepare(ctx context.Context, o Options, p Preparation) error {
	op := &Operator{Options: o}
	out, err := filepath.Abs(p.Out)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(out)); err != nil {
		return err
	}
	var all []*source
	defer func() { closeAll(all) }()
	for _, path := range p.Sources {
		s, err := op.readSource(path)
		if err != nil {
			return err
		}
		all = append(all, s)
		o.Say(s.String())
	}
	picked, err := op.pick(all, p.Choose)
	if err != nil {
		return err
	}
	if err := op.lossesOfAll(picked); err != nil {
		return err
	}
	work := out + ".work"
	if o.DryRun {
		o.Say(fmt.Sprintf("%s would be taken, and %s made of it", picked.path, out))
		return nil
	}
	if err := os.RemoveAll(work); err != nil { // of a run that was cut short
		return err
	}
	if err := os.Mkdir(work, 0o700); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	db, err := op.complete(ctx, picked, work)
	if err != nil {
		return err
	}
	whole, err := summarize(db, backend.All)
	if err != nil {
		return err
	}
	if picked.db != "" {
		if err := op.checkOthers(ctx, db, whole, picked, all, p.Choose != ""); err != nil {
			return err
		}
	}
	return op.write(ctx, out, db, whole, picked)
}

// pick takes the source that was chosen, or the furthest.
func (o *Operator) pick(all []*source, choose string) (*source, error) {
	given, of, err := oneCluster(all)
	if err != nil && choose == "" {
		return nil, err
	}
	if choose != "" {
		i := slices.IndexFunc(all, func(s *source) bool { return filepath.Clean(s.path) == filepath.Clean(choose) })
		if i < 0 {
			return nil, fmt.Errorf("--choose=%s is none of the sources", choose)
		}
		o.Say(fmt.Sprintf("%s is taken, as was told", all[i].path))
		return all[i], nil
	}
	picked := furthest(all)
	if picked.state != nil && 2*given <= of {
		o.Say(fmt.Sprintf("not kept: what only members know that are not given (%d of %d are)", given, of))
		if !slices.Contains(o.AcceptLoss, lossAbsent) {
			return nil, refuse([]string{lossAbsent})
		}
	}
	switch {
	case picked.state == nil:
		o.Say(fmt.Sprintf("%s is taken: it has the highest revision, and what was written after it was saved is not in it", picked.path))
	default:
		o.Say(fmt.Sprintf("%s is taken: its log is the furthest", picked.path))
	}
	return picked, nil
}

// lossesOfAll says what the target can not keep, and wants it accepted.
func (o *Operator) lossesOfAll(s *source) error {
	if s.db == "" {
		if o.Target.Storage == version.Etcd2 {
			return fmt.Errorf("%w: %s to %s needs no new database: bring the members there one by one", ErrNothing, s.at, o.Target)
		}
		return nil // the move of the copy says it
	}
	state := &datadir.State{Marks: s.marks, HasDB: true}
	step := plan.Step{Kind: plan.Restore, Version: o.Target.Version, From: s.at, To: o.Target}
	if o.Target.Storage == version.Etcd2 {
		if o.Target.Version.Line() != (version.Line{Major: 2, Minor: 3}) {
			return fmt.Errorf("%w: v3 keys become v2 keys for etcd 2.3 only, not for %s", plan.ErrNoWay, o.Target)
		}
		step.Kind = plan.WriteV2
	}
	losses, err := o.lossesOf(state, s.db, []plan.Step{step})
	if err != nil {
		return err
	}
	return o.consent(losses)
}

// ErrNothing says that what was asked for is not needed.
var ErrNothing = errors.New("nothing to prepare")

// consent says losses, and refuses those that were not accepted.
func (o *Operator) consent(losses []loss) error {
	var missing []string
	for _, l := range losses {
		o.Say("not kept: " + l.text)
		if l.name != "" && !slices.Contains(o.AcceptLoss, l.name) {
			missing = append(missing, l.name)
		}
	}
	if len(missing) > 0 {
		return refuse(missing)
	}
	return nil
}

// complete gives a copy of a source's database that has everything its log
// has, as v3 keys.
func (o *Operator) complete(ctx context.Context, s *source, work string) (db string, err error) {
	db = filepath.Join(work, "db")
	if s.db != "" && s.behind() == 0 {
		info, err := os.Stat(s.db)
		if err != nil {
			return "", err
		}
		if err := datadir.CheckSpace(work, 2*info.Size()); err != nil {
			return "", err
		}
		return db, datadir.CopyFile(ctx, s.db, db)
	}
	size, err := datadir.Size(filepath.Join(s.state.Dir, datadir.MemberDir))
	if err != nil {
		return "", err
	}
	if err := datadir.CheckSpace(work, 3*size+segmentRoom); err != nil {
		return "", err
	}
	dir := filepath.Join(work, "etcd")
	if err := o.alone(ctx, s, dir); err != nil {
		return "", err
	}
	if s.db == "" {
		one := o.Options
		one.DataDir, one.Current, one.KeepBackups, one.InstallPlain, one.Cluster = dir, s.at, 0, false, Cluster{}
		if err := Run(ctx, one); err != nil {
			return "", err
		}
	}
	after, err := datadir.Inspect(dir)
	if err != nil {
		return "", err
	}
	if s.db != "" && after.Behind > 0 {
		return "", fmt.Errorf("etcd %s was run on a copy of %s, and did not apply %d changes", s.at.Version, s.path, after.Behind)
	}
	return datadir.DBFile(dir), nil
}

// alone makes a copy of a member the only one of its cluster, with everything
// that its log has.
func (o *Operator) alone(ctx context.Context, s *source, dir string) error {
	v, ok := o.newest(s.at.Version.Line())
	if !ok {
		return fmt.Errorf("%s: its log has to be applied by etcd %s, which is not bundled", s.path, s.at.Version.Line())
	}
	o.Say(fmt.Sprintf("etcd %s applies the log of %s, on a copy", v, s.path))
	if err := makeDir(dir); err != nil {
		return err
	}
	member := filepath.Join(dir, datadir.MemberDir)
	if err := datadir.CopyTree(ctx, filepath.Join(s.state.Dir, datadir.MemberDir), member); err != nil {
		return err
	}
	if err := raftlog.CommitAll(member); err != nil {
		return err
	}
	srv, err := server.Start(ctx, server.Config{
		Binary: o.Bundle.Program("etcd", v), Version: v, DataDir: dir, Name: o.Name, ForceNewCluster: true,
		Port: o.Port, PeerPort: o.PeerPort, Fixed: o.FixedPorts,
		ExtraArgs: o.ExtraArgs, Inherit: o.lockFile(), Log: o.Log, ReadyIn: o.ReadyIn, StopIn: o.StopIn,
	})
	if err != nil {
		return err
	}
	// Not Ready: the cluster's version may be one that it was told to go down to.
	err = srv.Until(ctx, o.ReadyIn, func() (bool, error) { return srv.Serving(ctx) == nil, nil })
	if err != nil {
		srv.Kill()
		return err
	}
	return srv.Stop()
}

// write strips the database and writes the file and its manifest.
func (o *Operator) write(ctx context.Context, out, db string, whole backend.Summary, s *source) error {
	if err := backend.Strip(db, true); err != nil {
		return err
	}
	stripped, err := summarize(db, backend.All)
	if err != nil {
		return err
	}
	if err := backend.Compare(whole, stripped); err != nil {
		return err
	}
	m := basis.Manifest{From: s.at, Content: stripped, Members: o.Cluster.Members, Prepared: time.Now().UTC().Truncate(time.Second), Index: s.marks.ConsistentIndex}
	if s.state != nil {
		m.Cluster = fmt.Sprintf("%x", s.state.Log.ClusterID)
		m.Index = s.state.Log.LastIndex
	}
	if len(m.Members) == 0 {
		for _, x := range s.members {
			m.Members = append(m.Members, cluster.Member{Name: x.Name, PeerURLs: x.PeerURLs, ClientURLs: x.ClientURLs})
		}
	}
	if m, err = basis.Write(ctx, out, db, m); err != nil {
		return err
	}
	o.Log.Info("one database for all members", "file", out, "sha256", m.Digest, "revision", m.Content.Revision, "keys", m.Content.Keys, "leases", m.Content.Leases, "digest", m.Content.Live)
	o.Say(fmt.Sprintf("copy %s and %s.json to every member, and there run: migrate apply --from=%s", out, out, filepath.Base(out)))
	return nil
}
