// Package journal puts a prepared member directory in the place of the one that
// is there, so that no crash at any moment leaves less than one whole directory
// and a record of which one it is.
//
// # What is where
//
// DIR/member is etcd's data, DIR/version.txt says for which version. The room
// (DIR.migrate, or DIR/.migrate) holds
//
//	journal.json   what is going on; absent when nothing is
//	next/member    the directory that a step prepares
//	work/          scratch of a step
//	backups/NNNN-VERSION-STORAGE/{member,version.txt}   whole data directories
//
// A prepared directory carries a file member/.migrate-step with the step's name
// from before it is put in place until the step is over: where that file is
// tells whether the exchange has happened.
//
// # What survives which crash
//
//	phase     the crash came                    found afterwards            Recover
//	prepare   while next/ was made              DIR untouched               empties next/ and work/; the step is done again
//	swap      before the exchange               next/member carries the     exchanges: next/ was whole, compared and durable
//	                                            step's file                 before the phase was written
//	swap      between the two renames, where    DIR/member absent, old one  renames next/member
//	          the file system has no exchange   in next/old
//	swap      after the exchange, before        DIR/member carries the      writes version.txt, keeps the old one as the
//	          version.txt or the backup         step's file                 backup, ends the step
//	back      while the backup was put back     as swap                     as swap
//	between   between two steps                 DIR whole, version.txt      removes what the step left; the move goes
//	                                            says so                     on from there
//
// Every line of this table is a test that stops there. Each change is made
// durable before the next: data by syncing each file, names by syncing their
// directories, journal.json by a rename.
//
// The package must not know versions' abilities or how a directory is prepared.
package journal

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// ErrLost says that neither the old nor the new directory is where the journal
// has it: somebody moved things by hand. Nothing was touched.
var ErrLost = errors.New("the journal does not fit the directory")

// Names in the room.
const (
	fileName    = "journal.json"
	nextDir     = "next"
	workDir     = "work"
	backupsDir  = "backups"
	oldDir      = "old"
	markerName  = ".migrate-step"
	format      = 1
	maxFileSize = 1 << 16
)

// Phase is how far a step is.
type Phase string

// The phases, as the table above has them.
const (
	Prepare Phase = "prepare"
	Swap    Phase = "swap"
	Back    Phase = "back"
	Between Phase = "between"
)

// Record is what journal.json holds.
type Record struct {
	Format int           `json:"format"`
	Move   string        `json:"move"`   // random name of the whole move
	From   version.Stamp `json:"from"`   // where the move began
	Target version.Stamp `json:"target"` // where it goes
	At     version.Stamp `json:"at"`     // what DIR holds
	To     version.Stamp `json:"to"`     // what the step makes of it
	Step   int           `json:"step"`
	Phase  Phase         `json:"phase"`
	// Backup is the name of the directory that DIR held when the move began;
	// "" until it is to be kept.
	Backup string `json:"backup,omitempty"`
	// Mark is the caller's own fingerprint of DIR after the last step.
	Mark string `json:"mark,omitempty"`
}

// Journal is a room and what is going on in it.
type Journal struct {
	dir, room string
	rec       *Record // nil: nothing is going on
	// reach is asked before each change that a crash could come before; tests
	// stop there.
	reach func(point string) error
}

// Open reads the journal of a data directory in its room. It changes nothing.
func Open(dir, room string) (*Journal, error) {
	j := &Journal{dir: dir, room: room, reach: func(string) error { return nil }}
	name := filepath.Join(room, fileName)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, err
	}
	if j.rec, err = parse(b); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return j, nil
}

func parse(b []byte) (*Record, error) {
	if len(b) > maxFileSize {
		return nil, errors.New("longer than any journal")
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	if r.Format != format {
		return nil, fmt.Errorf("written in format %d, which this operator does not know (it knows %d): use the one that wrote it", r.Format, format)
	}
	switch r.Phase {
	case Prepare, Swap, Back, Between:
	default:
		return nil, fmt.Errorf("unknown phase %q", r.Phase)
	}
	if r.Move == "" || r.Backup != filepath.Base(r.Backup) && r.Backup != "" || r.Backup == ".." {
		return nil, errors.New("it names no move, or a backup outside its room")
	}
	return &r, nil
}

// Record is a copy of what is going on, or nil.
func (j *Journal) Record() *Record {
	if j.rec == nil {
		return nil
	}
	r := *j.rec
	return &r
}

// Room is the directory that the journal is in.
func (j *Journal) Room() string { return j.room }

// Next is where a step prepares its data directory: Next()/member is put in place.
func (j *Journal) Next() string { return filepath.Join(j.room, nextDir) }

// Work is a step's scratch directory.
func (j *Journal) Work() string { return filepath.Join(j.room, workDir) }

// Begin starts a move, or one more after steps that are done.
func (j *Journal) Begin(from, target version.Stamp) error {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	if err := os.MkdirAll(j.room, 0o700); err != nil {
		return err
	}
	if err := datadir.SyncDir(filepath.Dir(j.room)); err != nil {
		return err
	}
	j.rec = &Record{Format: format, Move: hex.EncodeToString(id[:]), From: from, Target: target, At: from, To: from, Phase: Between}
	return j.write()
}

// Retarget gives a move that goes on another target.
func (j *Journal) Retarget(target version.Stamp) error {
	j.rec.Target = target
	return j.write()
}

// Prepare begins a step that leads to a stamp: next and work are there and empty.
func (j *Journal) Prepare(to version.Stamp) error {
	j.rec.To, j.rec.Phase = to, Prepare
	j.rec.Step++
	if err := j.write(); err != nil {
		return err
	}
	return j.empty(true)
}

// Reached says that the step led to another stamp than it was to.
func (j *Journal) Reached(to version.Stamp) error {
	j.rec.To = to
	return j.write()
}

// Abandon ends a step that failed before it was put in place.
func (j *Journal) Abandon() error {
	if err := j.empty(false); err != nil {
		return err
	}
	j.rec.To, j.rec.Phase = j.rec.At, Between
	return j.write()
}

// Commit puts next/member in place and makes version.txt say so. What was there
// before the move is kept as its backup; what an earlier step of the move made
// is removed. mark is the caller's fingerprint of the new directory.
func (j *Journal) Commit(mark string) error {
	if err := os.WriteFile(filepath.Join(j.Next(), datadir.MemberDir, markerName), []byte(j.stepName()), 0o600); err != nil {
		return err
	}
	if err := j.reach("data is not durable yet"); err != nil {
		return err
	}
	if err := datadir.Sync(j.Next()); err != nil {
		return err
	}
	if j.rec.Backup == "" {
		name, err := j.backupName()
		if err != nil {
			return err
		}
		j.rec.Backup = name
	}
	j.rec.Phase, j.rec.Mark = Swap, mark
	if err := j.write(); err != nil {
		return err
	}
	return j.finishSwap(true)
}

func (j *Journal) stepName() string { return fmt.Sprintf("%s-%d", j.rec.Move, j.rec.Step) }

// write makes rec the journal, durably, in one rename.
func (j *Journal) write() error {
	if err := j.reach("before journal.json says " + string(j.rec.Phase)); err != nil {
		return err
	}
	b, err := json.MarshalIndent(j.rec, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(j.room, fileName), append(b, '\n'))
}

func writeFile(name string, b []byte) error {
	next := name + "-next"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, name); err != nil {
		return err
	}
	return datadir.SyncDir(filepath.Dir(name))
}

// empty removes next and work, and makes them anew if they are wanted.
func (j *Journal) empty(anew bool) error {
	for _, dir := range []string{j.Next(), j.Work()} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if anew {
			if err := os.Mkdir(dir, 0o700); err != nil {
				return err
			}
		}
	}
	return nil
}
