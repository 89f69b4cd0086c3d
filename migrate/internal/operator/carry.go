package operator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/backend"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/journal"
	"github.com/etcdimg/etcdimg/migrate/internal/plan"
	"github.com/etcdimg/etcdimg/migrate/internal/raftlog"
	"github.com/etcdimg/etcdimg/migrate/internal/server"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// carryOut does the steps from a directory's state. When one fails the directory
// that the move began with is put back; when the operator is told to stop, the
// steps that are done stay, and the next run goes on.
func (o *Operator) carryOut(ctx context.Context, steps []plan.Step, s *datadir.State) error {
	for i := 0; i < len(steps); {
		group := steps[i : i+together(steps[i:])]
		first, last := group[0], group[len(group)-1]
		log := o.Log.With("step", i+1, "of", len(steps))
		for k, step := range group {
			o.Log.Info("step begins", "step", i+k+1, "of", len(steps), "kind", string(step.Kind), "to", step.To.String())
		}
		begun := time.Now()
		done, after, err := o.step(ctx, group, s)
		if err == nil {
			i += done
			log.Info("step done", "to", steps[i-1].To.String(), "took", time.Since(begun).Round(time.Millisecond).String())
			var rest []plan.Step
			if rest, err = o.reroute(steps[i-1], after, steps[i:]); err == nil {
				steps, s = append(slices.Clip(steps[:i]), rest...), after
				continue
			}
		}
		if ctx.Err() != nil {
			return errors.Join(fmt.Errorf("stopped during step %d (%s to %s): the directory is as it was before the step; run this again to go on", i+1, first.Kind, last.To), o.abandon())
		}
		if first.Kind.WhereItStands() {
			return err // of which nothing has to be undone
		}
		err = fmt.Errorf("step %d (%s to %s): %w", i+1, first.Kind, last.To, err)
		if back := o.goBack(); back != nil {
			return fmt.Errorf("%w; and going back failed: %v: run this again to end that", err, back)
		}
		return fmt.Errorf("%w (the directory is as it was before the migration)", err)
	}
	return nil
}

// together is how many of the steps are done at once: runs in a row share one
// copy, which is put in place after the last of them.
func together(steps []plan.Step) int {
	n := 1
	for steps[0].Kind == plan.Run && n < len(steps) && steps[n].Kind == plan.Run {
		n++
	}
	return n
}

// reroute is what is left to do after a step: what was planned, unless a run
// left v2 requests in the log that the next server would die of.
func (o *Operator) reroute(done plan.Step, after *datadir.State, rest []plan.Step) ([]plan.Step, error) {
	if len(rest) == 0 || done.Kind != plan.Run || asPlanned(done, after) {
		return rest, nil
	}
	f := o.facts(done.To, after)
	f.Stubborn = true
	rest, err := plan.Find(f, o.Target, o.bundled())
	if err != nil {
		return nil, fmt.Errorf("v2 requests are left in the log, which later lines can not read: %w", err)
	}
	for _, step := range rest {
		o.Log.Warn("v2 requests are left in the log, which later lines can not read: the way changes", "step", step.String())
	}
	losses, err := o.losses(after, rest)
	if err != nil {
		return nil, err
	}
	if missing := o.say(losses); len(missing) > 0 {
		return nil, refuse(missing)
	}
	return rest, o.checkSpace(after, rest)
}

// asPlanned says whether a run left no more v2 requests than its line does.
func asPlanned(step plan.Step, after *datadir.State) bool {
	return tail(after) <= plan.Leaves(step.Version.Line(), after.V2Keys)
}

// abandon brings the directory to the nearest whole state, as after a crash.
func (o *Operator) abandon() error {
	// What failed may be the writing of the journal: only the file counts.
	j, err := journal.Open(o.dir, o.journal.Room())
	if err != nil {
		return err
	}
	o.journal = j
	_, err = j.Recover()
	return err
}

// goBack puts the first directory back and closes the move. What a failed step
// prepared goes first: that makes room for the journal, even on a full disk.
func (o *Operator) goBack() error {
	if err := o.abandon(); err != nil {
		return err
	}
	if o.journal.Record() == nil {
		return nil
	}
	if err := o.journal.GoBack(); err != nil {
		return err
	}
	return o.journal.End(o.KeepBackups)
}

// step does steps that are done together, from the state of the directory (nil:
// to be read), and gives how many it did and what they left; after a mark, which
// leaves all, that is nil.
func (o *Operator) step(ctx context.Context, group []plan.Step, s *datadir.State) (done int, after *datadir.State, err error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	step := group[0]
	switch step.Kind {
	case plan.Mark:
		return 1, nil, version.WriteFile(o.dir, step.To)
	case plan.Cure:
		return 1, nil, o.cure(ctx, step, o.Target.Version.Line())
	case plan.Unmark:
		return 1, nil, backend.ForgetDowngrade(datadir.DBFile(o.dir)) // in one transaction
	case plan.Forget:
		return 1, nil, o.forget(s)
	}
	if s == nil {
		if s, err = datadir.Inspect(o.dir); err != nil {
			return 0, nil, err
		}
	}
	if o.journal.Record() == nil {
		if err := o.journal.Begin(step.From, o.Target); err != nil {
			return 0, nil, err
		}
	}
	if err := o.journal.Prepare(group[len(group)-1].To); err != nil {
		return 0, nil, err
	}
	done = 1
	var made *result
	switch step.Kind {
	case plan.Run:
		done, made, err = o.run(ctx, group, s)
	case plan.Restore:
		made, err = o.restore(ctx, step, s)
	case plan.Convert:
		made, err = o.convert(ctx, step, s)
	case plan.WriteV2:
		made, err = o.writeV2(ctx, step, s)
	default:
		err = fmt.Errorf("no such step")
	}
	if err != nil {
		return 0, nil, err
	}
	if err := o.adopt(); err != nil {
		return 0, nil, err
	}
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	o.Log.Info("the data is the same", made.what, made.count, "revision", made.revision, "leases", made.leases, "digest", made.digest)
	if after, err = o.whole(); err != nil {
		return 0, nil, err
	}
	if to := group[done-1].To; to != group[len(group)-1].To {
		if err := o.journal.Reached(to); err != nil {
			return 0, nil, err
		}
	}
	if err := o.journal.Commit(fingerprint(after)); err != nil {
		return 0, nil, err
	}
	after.Dir = o.dir
	return done, after, nil
}

// whole reads what was prepared, without the segments of the log that nobody
// needs any more: the backup has them, and they would only be written to disk.
func (o *Operator) whole() (*datadir.State, error) {
	after, err := datadir.Inspect(o.journal.Next())
	if err != nil {
		return nil, fmt.Errorf("reading what the step made: %w", err)
	}
	old, err := after.Log.Superfluous(filepath.Join(o.journal.Next(), datadir.MemberDir))
	if err != nil {
		return nil, err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return nil, err
		}
	}
	return after, nil
}

// result is what a step made, for the log.
type result struct {
	what          string // that count is of
	count, leases int
	revision      int64
	digest        string
}

func resultOf(s backend.Summary) *result {
	return &result{"keys", s.Keys, s.Leases, s.Revision, s.Live}
}

func tail(s *datadir.State) plan.Tail {
	switch {
	case s.Log.Count(raftlog.V2Other) > 0:
		return plan.TailOther
	case s.Log.Count(raftlog.V2Attributes) > 0:
		return plan.TailAttributes
	}
	return plan.TailClean
}

// adopt gives what a step made to the owner of what is there, so that a root
// operator does not lock an unprivileged server out.
func (o *Operator) adopt() error { return o.adoptIn(o.journal.Next()) }

func (o *Operator) adoptIn(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Join(o.dir, datadir.MemberDir))
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	member := filepath.Join(dir, datadir.MemberDir)
	return filepath.WalkDir(member, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(st.Uid), int(st.Gid))
	})
}

// start starts a bundled server on a directory and waits until it is ready.
func (o *Operator) start(ctx context.Context, v version.Version, dir string, s *datadir.State) (*server.Server, error) {
	binary := o.Bundle.Program("etcd", v)
	if binary == "" {
		return nil, fmt.Errorf("etcd %s is not bundled", v)
	}
	c := server.Config{
		Binary: binary, Version: v, DataDir: dir, Name: o.Name,
		Port: o.Port, PeerPort: o.PeerPort, Fixed: o.FixedPorts,
		ExtraArgs: o.ExtraArgs, Alone: len(s.Log.Voters) < 2, Inherit: o.lockFile(), Log: o.Log, ReadyIn: o.ReadyIn, StopIn: o.StopIn,
	}
	if len(s.Members) == 1 {
		c.AdvertisedClientURLs = s.Members[0].ClientURLs
		if s.Members[0].Name != "" {
			c.Name = s.Members[0].Name
		}
	}
	for try := 1; ; try++ {
		srv, err := server.Start(ctx, c)
		if err != nil {
			return nil, err
		}
		if err = srv.Ready(ctx); err == nil {
			return srv, nil
		}
		// Of two errors the first says what is wrong; a server that does not
		// get ready may not stop by itself either, and its copy is dropped.
		srv.Kill()
		if try == startTries || c.Fixed || !errors.Is(err, server.ErrPortTaken) {
			return nil, err
		}
		o.Log.Info("somebody took a port meanwhile: trying others")
		c.Port, c.PeerPort = 0, 0
	}
}

// startTries is how often a server is started whose ports somebody else takes
// between being found free and being used.
const startTries = 4

// pass lets a server take a directory over and stops it.
func (o *Operator) pass(ctx context.Context, v version.Version, dir string, s *datadir.State) error {
	srv, err := o.start(ctx, v, dir, s)
	if err != nil {
		return err
	}
	return srv.Stop()
}

// settled gives a copy of the database that has everything the log has: of the
// whole directory, passed through the version that wrote it, if the database
// lacks something; else of the one file.
func (o *Operator) settled(ctx context.Context, s *datadir.State, writer version.Version) (db string, err error) {
	if s.Behind == 0 {
		db = filepath.Join(o.journal.Work(), "db")
		return db, datadir.CopyFile(ctx, datadir.DBFile(o.dir), db)
	}
	v, ok := o.newest(writer.Line())
	if !ok {
		return "", fmt.Errorf("%d changes are in the log only, and no etcd %s is bundled to apply them", s.Behind, writer.Line())
	}
	o.Log.Info("the database lacks changes that are in the log: its own version applies them first", "changes", s.Behind, "version", v.String())
	copied := filepath.Join(o.journal.Work(), "settle")
	if err := o.copyMember(ctx, s, copied); err != nil {
		return "", err
	}
	return datadir.DBFile(copied), o.pass(ctx, v, copied, s)
}

// inBackground reads a database that nobody changes, and gives the summary when
// it is asked for.
func inBackground(db string) func() (backend.Summary, error) {
	type outcome struct {
		sum backend.Summary
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		sum, err := summarize(db, backend.All)
		done <- outcome{sum, err}
	}()
	return sync.OnceValues(func() (backend.Summary, error) {
		o := <-done
		return o.sum, o.err
	})
}

// copyMember copies the directory, without the segments of its log that a start
// does not need.
func (o *Operator) copyMember(ctx context.Context, s *datadir.State, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	member := filepath.Join(o.dir, datadir.MemberDir)
	old, err := s.Log.Superfluous(member)
	if err != nil {
		return err
	}
	return datadir.CopyTree(ctx, member, filepath.Join(to, datadir.MemberDir), old...)
}

func summarize(db string, upTo int64) (backend.Summary, error) {
	d, err := backend.Open(db)
	if err != nil {
		return backend.Summary{}, err
	}
	s, err := d.Summarize(upTo)
	return s, errors.Join(err, d.Close())
}

func sameRows(before, after string) (backend.Counts, error) {
	a, err := backend.Open(before)
	if err != nil {
		return backend.Counts{}, err
	}
	defer a.Close()
	b, err := backend.Open(after)
	if err != nil {
		return backend.Counts{}, err
	}
	defer b.Close()
	return backend.Same(a, b)
}
