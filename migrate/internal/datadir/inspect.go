// Package datadir knows etcd's data directories on disk: what is in one and
// which etcd wrote it, whether a server runs on it, how to copy and move its
// parts, and how much room they take.
//
// It must not know how data gets from one version to another.
package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/migrate/internal/backend"
	"github.com/etcdimg/etcdimg/migrate/internal/raftlog"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Names below a data directory.
const (
	MemberDir = "member"
	// RoomName is the operator's own directory, where it stands inside a data
	// directory.
	RoomName = ".migrate"
)

// Errors that Inspect tells apart. Nothing was changed when one is returned.
var (
	ErrForeign = errors.New("not an etcd data directory")
	ErrHalf    = errors.New("half of an etcd data directory")
)

// State is what a data directory holds.
type State struct {
	Dir   string
	Empty bool           // nothing of etcd's, and nothing else either
	Stamp *version.Stamp // version.txt; nil when there is none
	Found Found

	Log     *raftlog.Log
	HasDB   bool
	Marks   backend.Marks
	Members []backend.Member // from the database, so 3.x only
	// Zombies are members in the database that the log does not have any more:
	// restores by old tools left them there. Up to 3.5 servers do not look at
	// them; to later ones they are members.
	Zombies []backend.Member
	V2Keys  bool // the v2 store holds keys of the user's
	Behind  int  // changes that the database has not applied yet
}

// Found is what the files themselves say about the etcd that wrote them.
type Found struct {
	Line  version.Line
	Known bool   // Line was written by etcd; else it is the oldest it can be
	Why   string // what was read
}

// DBFile is the database below a data directory.
func DBFile(dir string) string { return filepath.Join(dir, MemberDir, "snap", "db") }

// lostAndFound is at the root of file systems, and lost nothing of etcd's.
const lostAndFound = "lost+found"

// Inspect reads a data directory. It changes nothing.
func Inspect(dir string) (*State, error) {
	s := &State{Dir: dir}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		s.Empty = true
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if n := e.Name(); n != RoomName && n != lostAndFound && n != version.NextName {
			names = append(names, n)
		}
	}
	stamp, err := version.ReadFile(dir)
	switch {
	case err == nil:
		s.Stamp = &stamp
		names = slices.DeleteFunc(names, func(n string) bool { return n == version.FileName })
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if len(names) == 0 {
		s.Empty = true
		return s, nil
	}
	if !slices.Contains(names, MemberDir) {
		return nil, fmt.Errorf("%s: %w: %s", dir, ErrForeign, stranger(names))
	}
	return s, s.readMember()
}

// stranger says what a directory without member/ seems to be.
func stranger(names []string) string {
	switch {
	case slices.Contains(names, "proxy"):
		return "it is that of an etcd proxy, which keeps no keys; empty it"
	case slices.Contains(names, "wal") || slices.Contains(names, "snap"):
		return "it has the layout of etcd 2.0 or older (snap and wal without member); start etcd 2.3 on it once"
	}
	if len(names) > 3 {
		names = append(names[:3:3], "…")
	}
	return "it has no member directory, but holds " + strings.Join(names, ", ")
}

func (s *State) readMember() error {
	member := filepath.Join(s.Dir, MemberDir)
	walExists, err := hasFiles(filepath.Join(member, "wal"))
	if err != nil {
		return err
	}
	db := DBFile(s.Dir)
	_, err = os.Stat(db)
	s.HasDB = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case !walExists && s.HasDB:
		return fmt.Errorf("%s: %w: a database without a write-ahead log, as a restore leaves that was cut short; restore it again", s.Dir, ErrHalf)
	case !walExists:
		return fmt.Errorf("%s: %w: member holds neither a write-ahead log nor a database (is --wal-dir in use? it is not supported)", s.Dir, ErrHalf)
	}
	if s.Log, err = raftlog.Read(member); err != nil {
		return err
	}
	if s.V2Keys, err = s.Log.V2Keys(); err != nil {
		return err
	}
	if !s.HasDB {
		s.Found = foundWithoutDB(s.Log)
		return nil
	}
	d, err := backend.Open(db)
	if err != nil {
		return err
	}
	defer d.Close()
	if s.Marks, err = d.Marks(); err != nil {
		return err
	}
	all, err := d.Members()
	if err != nil {
		return err
	}
	for _, m := range all {
		if is, known := s.Log.IsMember(m.ID); known && !is && m.ID != s.Log.NodeID {
			s.Zombies = append(s.Zombies, m)
		} else {
			s.Members = append(s.Members, m)
		}
	}
	s.Found = foundInDB(s.Marks, s.Log)
	s.Behind = s.Log.Behind(s.Marks.ConsistentIndex)
	return nil
}

func hasFiles(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(entries) > 0, err
}

func foundWithoutDB(l *raftlog.Log) Found {
	f := Found{Line: version.Line{Major: 2, Minor: 3}, Known: true, Why: "there is no database, as before etcd 3.0"}
	if line, err := version.ParseLine(l.Version); l.Version != "" && err == nil && line.Before(version.Line{Major: 3}) {
		f.Line, f.Why = line, "the log sets the cluster version "+l.Version
	}
	return f
}

// FoundInMarks is what a database alone says about the etcd that wrote it.
func FoundInMarks(m backend.Marks) Found { return foundInDB(m, &raftlog.Log{}) }

// foundInDB reads the marks in the order of how much they tell. The agreed
// cluster version is as old as the oldest member, never newer than the writer.
func foundInDB(m backend.Marks, l *raftlog.Log) Found {
	for _, x := range []struct{ what, value string }{
		{"the database's storage version is ", m.StorageVersion},
		{"the database's cluster version is ", m.ClusterVersion},
		{"the log sets the cluster version ", l.Version},
	} {
		if line, err := version.ParseLine(x.value); x.value != "" && err == nil {
			return Found{Line: line, Known: true, Why: x.what + x.value}
		}
	}
	for _, x := range []struct {
		is   bool
		line version.Line
		why  string
	}{
		{m.HasTerm, version.Line{Major: 3, Minor: 5}, "the database keeps raft's term, as etcd 3.5 and later do"},
		{m.HasAuthRevision, version.Line{Major: 3, Minor: 1}, "the database has a revision of users, as etcd 3.1 and later write"},
	} {
		if x.is {
			return Found{Line: x.line, Why: x.why}
		}
	}
	return Found{Line: version.Line{Major: 3}, Why: "there is a database, as since etcd 3.0"}
}

func (f Found) String() string {
	if f.Known {
		return fmt.Sprintf("etcd %s (%s)", f.Line, f.Why)
	}
	return fmt.Sprintf("etcd %s or later (%s)", f.Line, f.Why)
}
