package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/etcdimg/etcdimg/migrate/internal/backend"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/journal"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// ErrDiverged says that the sources do not belong together, or hold different
// data in the same place. Nothing was written.
var ErrDiverged = errors.New("the members' data differs")

// source is what one database can be taken from: a stopped member's directory,
// or a database file that was saved.
type source struct {
	path    string
	state   *datadir.State // nil for a file
	at      version.Stamp
	db      string // "" for a directory of 2.3
	sum     backend.Summary
	marks   backend.Marks
	members []backend.Member
	lock    *datadir.Lock
}

func closeAll(all []*source) {
	for _, s := range all {
		if s.lock != nil {
			_ = s.lock.Release() // nothing was written to it
		}
	}
}

// readSource looks at a directory or a file, whose lock the source holds.
func (o *Operator) readSource(path string) (*source, error) {
	s := &source{path: path}
	if err := o.readInto(s); err != nil {
		closeAll([]*source{s})
		return nil, err
	}
	return s, nil
}

func (o *Operator) readInto(s *source) error {
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		if err := o.readDir(s); err != nil {
			return err
		}
	} else {
		s.db = s.path
	}
	if s.db != "" {
		if err := s.readDB(); err != nil {
			return err
		}
	}
	if s.state == nil {
		s.at = o.Current
		if s.at == (version.Stamp{}) {
			s.at = o.guess(&datadir.State{HasDB: true, Found: datadir.FoundInMarks(s.marks)})
		}
	}
	return nil
}

func (o *Operator) readDir(s *source) error {
	dir, err := datadir.Resolve(s.path)
	if err != nil {
		return err
	}
	if s.lock, err = datadir.Acquire(dir); err != nil {
		return err
	}
	room, err := datadir.Room(dir)
	if err != nil {
		return err
	}
	j, err := journal.Open(dir, room)
	if err != nil {
		return err
	}
	if r := j.Record(); r != nil {
		return fmt.Errorf("%s: a migration from %s to %s is under way: run that to its end first", dir, r.From, r.Target)
	}
	one := &Operator{Options: o.Options, dir: dir}
	if s.state, err = one.look(); err != nil {
		return err
	}
	if s.state.Empty {
		return fmt.Errorf("%s: %w: it is empty", dir, datadir.ErrForeign)
	}
	if s.at, err = one.current(s.state); err != nil {
		return err
	}
	if s.state.HasDB && s.at.Storage == version.Etcd3 {
		s.db = datadir.DBFile(dir)
	}
	return nil
}

func (s *source) readDB() error {
	d, err := backend.Open(s.db)
	if err != nil {
		return err
	}
	defer d.Close()
	if s.sum, err = d.Summarize(backend.All); err != nil {
		return err
	}
	if s.marks, err = d.Marks(); err != nil {
		return err
	}
	if s.state != nil {
		s.members = s.state.Members
		return nil
	}
	all, err := d.Members()
	for _, m := range all {
		if s.marks.Raft == nil || s.marks.Raft.Has(m.ID) { // nil: nobody says
			s.members = append(s.members, m)
		}
	}
	return err
}

// behind is how many changes of the user's are in the log only.
func (s *source) behind() int {
	if s.state == nil {
		return 0
	}
	return s.state.Behind
}

func (s *source) String() string {
	if s.db == "" {
		return fmt.Sprintf("%s: %s, raft index %d of term %d", s.path, s.at, s.state.Log.LastIndex, s.state.Log.LastTerm)
	}
	text := fmt.Sprintf("%s: %s, revision %d, %d keys, %d leases, raft index %d", s.path, s.at, s.sum.Revision, s.sum.Keys, s.sum.Leases, s.marks.ConsistentIndex)
	if n := s.behind(); n > 0 {
		text += fmt.Sprintf(", and %d changes in the log that the database lacks", n)
	}
	return text
}

// furthest is the source that has everything that any client was told of, as
// far as the sources can tell: of logs the one with the newest entry, which
// could be elected by any majority (Raft §5.4); of files the newest revision.
func furthest(all []*source) *source {
	return slices.MaxFunc(all, func(a, b *source) int {
		if a.state == nil || b.state == nil {
			return cmp.Or(
				cmp.Compare(boolInt(a.state != nil), boolInt(b.state != nil)),
				cmp.Compare(a.sum.Revision, b.sum.Revision),
				cmp.Compare(a.marks.ConsistentIndex, b.marks.ConsistentIndex),
			)
		}
		return cmp.Or(
			cmp.Compare(a.state.Log.LastTerm, b.state.Log.LastTerm),
			cmp.Compare(a.state.Log.LastIndex, b.state.Log.LastIndex),
			// Of equal logs, the database that needs no server to be complete.
			cmp.Compare(b.behind(), a.behind()),
		)
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// oneCluster refuses directories of different clusters or storages, and says
// how many members of how many there are.
func oneCluster(all []*source) (given, of int, err error) {
	ids := map[uint64]bool{}
	var first *source
	for _, s := range all {
		if s.at.Storage != all[0].at.Storage {
			return 0, 0, fmt.Errorf("%w: %s is at %s, %s at %s", ErrDiverged, all[0].path, all[0].at, s.path, s.at)
		}
		if s.state == nil {
			continue
		}
		if first == nil {
			first = s
		}
		if s.state.Log.ClusterID != first.state.Log.ClusterID {
			return 0, 0, fmt.Errorf("%w: %s belongs to the cluster %x, %s to %x", ErrDiverged, first.path, first.state.Log.ClusterID, s.path, s.state.Log.ClusterID)
		}
		ids[s.state.Log.NodeID] = true
		of = max(of, len(s.state.Log.Voters))
	}
	return len(ids), of, nil
}

// compare says what is wrong with another source's database beside the one
// that was chosen and completed: "" when it is the same as of its revision.
func compare(chosen string, whole backend.Summary, picked, other *source) (lag int64, wrong string, err error) {
	upTo := other.sum.Revision
	switch {
	case upTo > whole.Revision:
		return 0, fmt.Sprintf("it has revision %d, which is newer than %d", upTo, whole.Revision), nil
	case whole.Compacted > upTo:
		return 0, fmt.Sprintf("it ends at revision %d, and what came before %d was compacted since, so that they can not be compared", upTo, whole.Compacted), nil
	}
	after := max(whole.Compacted, other.sum.Compacted)
	a, err := summarizeRange(chosen, after, upTo)
	if err != nil {
		return 0, "", err
	}
	b, err := summarizeRange(other.db, after, upTo)
	if err != nil {
		return 0, "", err
	}
	a.Compacted, b.Compacted = after, after
	if i := other.marks.ConsistentIndex; i == 0 || i != picked.marks.ConsistentIndex {
		// Leases, users and alarms are not dated: they compare only between
		// members that have applied the same.
		b.Leases, b.Leased, b.Auth, b.Alarms = a.Leases, a.Leased, a.Auth, a.Alarms
	} else {
		a.Leases, a.Leased, a.Auth, a.Alarms = picked.sum.Leases, picked.sum.Leased, picked.sum.Auth, picked.sum.Alarms
	}
	if err := backend.Compare(a, b); err != nil {
		return 0, fmt.Sprintf("as of revision %d: %v (before: %s, after: this one)", upTo, err, filepath.Base(picked.path)), nil
	}
	return whole.Revision - upTo, "", nil
}

func summarizeRange(db string, after, upTo int64) (backend.Summary, error) {
	d, err := backend.Open(db)
	if err != nil {
		return backend.Summary{}, err
	}
	s, err := d.SummarizeRange(after, upTo)
	return s, errors.Join(err, d.Close())
}

// checkOthers compares every other source, and refuses those that differ
// unless the choice was made by name.
func (o *Operator) checkOthers(ctx context.Context, chosen string, whole backend.Summary, picked *source, all []*source, told bool) error {
	var bad []error
	for _, s := range all {
		if s == picked {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		lag, wrong, err := compare(chosen, whole, picked, s)
		switch {
		case err != nil:
			return err
		case wrong == "" && lag == 0:
			o.Say(fmt.Sprintf("%s has the same", s.path))
		case wrong == "":
			o.Say(fmt.Sprintf("%s has the same as of its revision %d, and lacks %d more", s.path, s.sum.Revision, lag))
		case told:
			o.Say(fmt.Sprintf("%s differs, and is left out as was told: %s", s.path, wrong))
		default:
			bad = append(bad, fmt.Errorf("%s: %s", s.path, wrong))
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("%w: %w; look at what each holds (etcdutl hashkv, etcdctl get --rev), and name the one to keep with --choose=%s", ErrDiverged, errors.Join(bad...), picked.path)
	}
	return nil
}
