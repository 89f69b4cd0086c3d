// Package operator brings one data directory from the version that wrote it to
// the version that will read it: it looks, plans, says what it will do, carries
// the steps out, compares the data around each, and goes back when one fails.
//
// It must not know flags, the environment or the terminal.
package operator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/etcdimg/etcdimg/migrate/internal/bundle"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/journal"
	"github.com/etcdimg/etcdimg/migrate/internal/plan"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Errors that callers may tell apart. Nothing was changed when one is returned.
var (
	ErrNoStamp = errors.New("version.txt is missing")
	ErrStamp   = errors.New("version.txt does not fit the data")
	ErrLoss    = errors.New("this would lose data")
	ErrEmpty   = errors.New("the data directory is empty, but data of it lies elsewhere")
)

// Options say what to do.
type Options struct {
	DataDir string
	Target  version.Stamp
	// Current stands in for version.txt; the zero Stamp means to read it.
	Current version.Stamp
	Bundle  *bundle.Bundle
	// InstallPlain makes the target's etcd and etcdctl the plain ones.
	InstallPlain bool
	AcceptLoss   []string
	KeepBackups  int
	// DryRun stops Prepare and Apply before anything is changed.
	DryRun bool
	// TTLDir is the directory of v2 keys that get a lease of an hour when they
	// become v3 keys.
	TTLDir         string
	Name           string
	PeerURLs       []string // of a member that its data does not name
	Port, PeerPort int
	FixedPorts     bool
	ExtraArgs      []string
	Cluster        Cluster
	Log            *slog.Logger
	// Say is told, before anything is changed, what will be done and what can
	// not be kept.
	Say func(line string)
	// ReadyIn and StopIn bound the waiting for a server.
	ReadyIn, StopIn time.Duration
}

// Operator works on one data directory, whose lock it holds.
type Operator struct {
	Options
	dir     string
	lock    *datadir.Lock
	journal *journal.Journal
}

// DryRun says what Run would do, and changes nothing.
func DryRun(ctx context.Context, o Options) error {
	dir, err := datadir.Resolve(o.DataDir)
	if err != nil {
		return err
	}
	op := &Operator{Options: o, dir: dir}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := op.emptyIsTrue(nil); err != nil {
			return err
		}
		o.Say(fmt.Sprintf("%s is not there: it would be made, for %s", dir, o.Target))
		return nil
	}
	if err := op.open(); err != nil {
		return err
	}
	defer op.close()
	if r := op.journal.Record(); r != nil && r.Phase != journal.Between {
		o.Say(fmt.Sprintf("an earlier run from %s to %s was cut short at its step to %s (%s); that would be put right first", r.From, r.Target, r.To, r.Phase))
		return nil
	}
	w, err := op.look()
	if err != nil {
		return err
	}
	_, err = op.plan(ctx, w)
	return err
}

// Run brings the directory to the target. Whatever it returns, the directory
// holds whole data and version.txt says for which version, or the journal says
// how the next Run gets there.
func Run(ctx context.Context, o Options) error {
	dir, err := datadir.Resolve(o.DataDir)
	if err != nil {
		return err
	}
	op := &Operator{Options: o, dir: dir}
	if o.InstallPlain {
		if err := o.Bundle.CheckInstall(o.Target.Version); err != nil {
			return err
		}
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := op.emptyIsTrue(nil); err != nil {
			return err
		}
		if err := datadir.MakeDir(dir); err != nil {
			return err
		}
	}
	if err := op.open(); err != nil {
		return err
	}
	defer op.close()
	if done, err := op.journal.Recover(); err != nil {
		return err
	} else if done != "" {
		op.Log.Info("recovered", "what", done)
	}
	if err := op.bring(ctx); err != nil {
		return err
	}
	if o.InstallPlain {
		return o.Bundle.InstallPlain(o.Target.Version)
	}
	return nil
}

// open takes the lock and reads the journal.
func (o *Operator) open() error {
	// Whoever may not write here is told so before anything begins.
	if err := unix.Access(o.dir, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return &fs.PathError{Op: "writing to", Path: o.dir, Err: err}
	}
	lock, err := datadir.Acquire(o.dir)
	if err != nil {
		return err
	}
	o.lock = lock
	room, err := datadir.Room(o.dir)
	if err == nil {
		o.journal, err = journal.Open(o.dir, room)
	}
	if err != nil {
		o.close()
	}
	return err
}

// lockFile is what programs inherit, so that nobody begins before they have
// ended; nil where no directory is locked.
func (o *Operator) lockFile() *os.File {
	if o.lock == nil {
		return nil
	}
	return o.lock.File()
}

func (o *Operator) close() { _ = o.lock.Release() } // nothing was written to it

// look reads the directory, once nobody else writes to it.
func (o *Operator) look() (*datadir.State, error) {
	if err := datadir.CheckStopped(o.dir); err != nil {
		return nil, err
	}
	return datadir.Inspect(o.dir)
}

// bring is Run under the lock, from a whole directory.
func (o *Operator) bring(ctx context.Context) error {
	s, err := o.look()
	if err != nil {
		return err
	}
	if s.Empty {
		if err := o.emptyIsTrue(s); err != nil {
			return err
		}
		o.Log.Info("the data directory is empty", "dir", o.dir, "for", o.Target.String())
		return version.WriteFile(o.dir, o.Target)
	}
	if err := o.resume(s); err != nil {
		return err
	}
	steps, err := o.plan(ctx, s)
	if err != nil {
		return err
	}
	if len(steps) > 0 {
		// Before anything moves version.txt says where it moves from, so that
		// the next run knows without being told.
		if err := version.WriteFile(o.dir, steps[0].From); err != nil {
			return err
		}
		if err := o.carryOut(ctx, steps, s); err != nil {
			return err
		}
	} else if err := version.WriteFile(o.dir, o.Target); err != nil {
		return err
	}
	if err := o.journal.End(o.KeepBackups); err != nil {
		return fmt.Errorf("the data is at %s, but tidying up failed: %w", o.Target, err)
	}
	return nil
}

// resume looks whether the directory is as the last step of an unfinished move
// left it. If somebody ran a server on it since, that move is history: its
// backup is kept, but going back to it would lose what was written.
func (o *Operator) resume(s *datadir.State) error {
	r := o.journal.Record()
	if r == nil {
		return nil
	}
	if s.Stamp == nil || *s.Stamp != r.At || r.Mark != "" && r.Mark != fingerprint(s) {
		o.Log.Warn("the directory was used since the last, unfinished migration: its backup is kept", "backup", r.Backup)
		return o.journal.Forget()
	}
	o.Log.Info("going on with an unfinished migration", "from", r.From.String(), "at", r.At.String(), "to", o.Target.String())
	return o.journal.Retarget(o.Target)
}

// fingerprint changes whenever a server runs on the directory.
func fingerprint(s *datadir.State) string {
	return fmt.Sprintf("%x/%d/%d", s.Log.NodeID, s.Log.Term, s.Log.LastIndex)
}

// emptyIsTrue refuses to call a directory empty whose data was moved aside.
func (o *Operator) emptyIsTrue(s *datadir.State) error {
	// The published operator killed between its rename and its restore leaves
	// the data here, and no directory.
	bak := o.dir + ".bak"
	if _, err := os.Stat(filepath.Join(bak, datadir.MemberDir)); err == nil {
		return fmt.Errorf("%w: %s holds a member (an operator was killed while it restored?); move it back to %s, or away", ErrEmpty, bak, o.dir)
	}
	room := o.dir + datadir.RoomName
	if o.journal != nil {
		room = o.journal.Room()
	}
	j, err := journal.Open(o.dir, room)
	if err != nil {
		return err
	}
	names, err := j.Backups()
	if err != nil {
		return err
	}
	if len(names) > 0 || j.Record() != nil {
		return fmt.Errorf("%w: %s holds backups or an unfinished migration; move a backup's member and version.txt to %s, or remove %s", ErrEmpty, room, o.dir, room)
	}
	return nil
}

// current is where the directory stands: what version.txt says, as long as the
// files do not say otherwise. Current counts only where version.txt does not: a
// command line that stays as it is must not turn the clock back at the next start.
func (o *Operator) current(s *datadir.State) (version.Stamp, error) {
	given := o.Current != (version.Stamp{})
	if s.Stamp == nil {
		if given {
			return o.Current, nil
		}
		return version.Stamp{}, fmt.Errorf("%s: %w; by its files it was written by %s: if that is right, give its exact version, as in --current-version=%s", o.dir, ErrNoStamp, s.Found, o.guess(s))
	}
	at := *s.Stamp
	wrong := contradicts(at, s)
	switch {
	case wrong == "" && given && o.Current != at:
		o.Log.Warn("version.txt fits the data, so --current-version is not used", "version.txt", at.String())
		return at, nil
	case wrong == "":
		return at, nil
	case given:
		return o.Current, nil
	}
	return at, fmt.Errorf("%s: %w: it says %s, which is %s the data: that was written by %s; if you know better, give the version as in --current-version=%s", o.dir, ErrStamp, at, wrong, s.Found, o.guess(s))
}

// contradicts says in which way a stamp does not fit the files; "" if it does.
// It may be one line ahead of them: then its server has not been started yet.
func contradicts(at version.Stamp, s *datadir.State) string {
	line := at.Version.Line()
	switch {
	case line.Before(s.Found.Line) && s.Found.Known:
		return "older than"
	case at.Storage == version.Etcd3 && !s.HasDB:
		return "for another storage than that of"
	case s.Found.Known && s.Found.Line.Next().Before(line):
		return "newer than"
	}
	return ""
}

// guess is a bundled version of the line that was found, for messages.
func (o *Operator) guess(s *datadir.State) version.Stamp {
	g := version.Stamp{Version: version.Version{Major: s.Found.Line.Major, Minor: s.Found.Line.Minor}, Storage: version.Etcd3}
	if !s.HasDB {
		g.Storage = version.Etcd2
	}
	if v, ok := o.newest(s.Found.Line); ok {
		g.Version = v
	}
	return g
}

func (o *Operator) newest(l version.Line) (v version.Version, ok bool) {
	for _, b := range o.Bundle.Versions() {
		if b.Line() == l {
			v, ok = b, true // they come in ascending order
		}
	}
	return v, ok
}

// plan finds the steps, and says them and what they can not keep.
func (o *Operator) plan(ctx context.Context, s *datadir.State) ([]plan.Step, error) {
	if s.Empty {
		o.Say(fmt.Sprintf("%s is empty: it would be marked as %s", o.dir, o.Target))
		return nil, nil
	}
	at, err := o.current(s)
	if err != nil {
		return nil, err
	}
	f := o.facts(at, s)
	if err := o.clusterFacts(ctx, s, &f); err != nil {
		return nil, err
	}
	steps, err := plan.Find(f, o.Target, o.bundled())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.dir, err)
	}
	if len(steps) == 0 {
		o.Say(fmt.Sprintf("%s is at %s: nothing to do", o.dir, o.Target))
		return nil, nil
	}
	o.Say(fmt.Sprintf("%s: from %s to %s, written by %s", o.dir, at, o.Target, s.Found))
	for _, z := range s.Zombies {
		o.Say(fmt.Sprintf("the database holds member %x (%s), which its cluster does not have", z.ID, strings.Join(append([]string{z.Name}, z.PeerURLs...), " ")))
	}
	for i, step := range steps {
		o.Say(fmt.Sprintf("step %d: %s", i+1, step))
	}
	losses, err := o.losses(s, steps)
	if err != nil {
		return nil, err
	}
	if missing := o.say(losses); len(missing) > 0 {
		return nil, refuse(missing)
	}
	return steps, o.checkSpace(s, steps)
}

// say tells losses, and gives the names of those that were not accepted.
func (o *Operator) say(losses []loss) (missing []string) {
	for _, l := range losses {
		o.Say("not kept: " + l.text)
		if l.name != "" && !slices.Contains(o.AcceptLoss, l.name) {
			missing = append(missing, l.name)
		}
	}
	return missing
}

func refuse(names []string) error {
	slices.Sort(names)
	names = slices.Compact(names)
	return fmt.Errorf("%w: %s; accept it with --accept-loss=%s", ErrLoss, strings.Join(names, ", "), strings.Join(names, ","))
}

func (o *Operator) facts(at version.Stamp, s *datadir.State) plan.Facts {
	f := plan.Facts{
		At: at, V2Keys: s.V2Keys, Behind: s.Behind > 0, Voters: len(s.Log.Voters),
		Agreed: s.Found.Line, AgreedKnown: s.Found.Known, Zombies: len(s.Zombies) > 0,
	}
	f.Tail = tail(s)
	_, f.SameIDs = o.oldToken(s)
	return f
}

func (o *Operator) bundled() plan.Bundled {
	var lines []version.Line
	for _, v := range o.Bundle.Versions() {
		if l := v.Line(); !slices.Contains(lines, l) {
			lines = append(lines, l)
		}
	}
	return plan.Bundled{
		Server:   o.newest,
		Restores: func(v version.Version) bool { args, _ := o.Bundle.RestoreCommand(v); return args != nil },
		Lines:    lines,
	}
}
