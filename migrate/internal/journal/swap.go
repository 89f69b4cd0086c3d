package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Recover brings a directory that a crash left to the nearest whole state, as
// the package's table says. done tells what was done, "" for nothing.
func (j *Journal) Recover() (done string, err error) {
	if j.rec == nil {
		return "", nil
	}
	switch j.rec.Phase {
	case Prepare:
		if err := j.Abandon(); err != nil {
			return "", err
		}
		return fmt.Sprintf("a step to %s was cut short before anything was put in place: it is done again", j.rec.To), nil
	case Swap:
		to := j.rec.To
		return fmt.Sprintf("the step to %s was complete but for its end: ended it", to), j.finishSwap(true)
	case Back:
		if err := j.takeBackup(); err != nil {
			return "", err
		}
		return fmt.Sprintf("the way back to %s was cut short: ended it", j.rec.To), j.finishSwap(false)
	}
	return "", j.clean()
}

// GoBack puts the directory that the move began with in place again, and drops
// what its steps made.
func (j *Journal) GoBack() error {
	if j.rec == nil || j.rec.Backup == "" {
		return nil // nothing was put in place yet
	}
	if err := j.empty(true); err != nil {
		return err
	}
	j.rec.To, j.rec.Phase, j.rec.Mark = j.rec.From, Back, ""
	j.rec.Step++
	if err := j.write(); err != nil {
		return err
	}
	if err := j.takeBackup(); err != nil {
		return err
	}
	return j.finishSwap(false)
}

// takeBackup makes the backup the prepared directory, if it is not that, or in
// place, already.
func (j *Journal) takeBackup() error {
	backup := filepath.Join(j.room, backupsDir, j.rec.Backup)
	from, to := filepath.Join(backup, datadir.MemberDir), filepath.Join(j.Next(), datadir.MemberDir)
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	// The file goes in before the rename: with it the directory is known
	// wherever it is.
	if err := os.WriteFile(filepath.Join(from, markerName), []byte(j.stepName()), 0o600); err != nil {
		return err
	}
	if err := datadir.Sync(from); err != nil {
		return err
	}
	if err := j.reach("before the backup is taken"); err != nil {
		return err
	}
	if err := os.MkdirAll(j.Next(), 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(datadir.SyncDir(backup), datadir.SyncDir(j.Next()))
}

// finishSwap does what is left of a swap, from wherever a crash left it.
func (j *Journal) finishSwap(keep bool) error {
	if err := j.exchange(); err != nil {
		return err
	}
	if err := j.reach("before version.txt"); err != nil {
		return err
	}
	if err := version.WriteFile(j.dir, j.rec.To); err != nil {
		return err
	}
	if err := j.reach("before the old directory is kept or dropped"); err != nil {
		return err
	}
	if keep {
		if err := j.keepOld(); err != nil {
			return err
		}
	}
	if !keep {
		if err := os.RemoveAll(filepath.Join(j.room, backupsDir, j.rec.Backup)); err != nil {
			return err
		}
		j.rec.Backup = ""
	}
	j.rec.At, j.rec.Phase = j.rec.To, Between
	if err := j.write(); err != nil {
		return err
	}
	return j.clean()
}

// clean removes what a step that is over may have left.
func (j *Journal) clean() error {
	if err := j.reach("before the step's file is removed"); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(j.dir, datadir.MemberDir, markerName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return j.empty(false)
}

// exchange puts next/member in place and the other one in next/member.
func (j *Journal) exchange() error {
	live, next, old := filepath.Join(j.dir, datadir.MemberDir), filepath.Join(j.Next(), datadir.MemberDir), filepath.Join(j.Next(), oldDir)
	liveIs, err := j.carries(live)
	if err != nil {
		return err
	}
	nextIs, err := j.carries(next)
	if err != nil {
		return err
	}
	oldIs, err := j.carries(old)
	if err != nil {
		return err
	}
	switch {
	case liveIs == ours && oldIs == absent: // exchanged already
	case liveIs == ours && oldIs == other && nextIs == absent: // both renames done
		if err := os.Rename(old, next); err != nil {
			return err
		}
	case liveIs == other && nextIs == ours && oldIs == absent:
		if err := j.reach("before the exchange"); err != nil {
			return err
		}
		ok, err := j.swapNames(live, next)
		if err != nil {
			return err
		}
		if !ok {
			if err := os.Rename(live, old); err != nil {
				return err
			}
			return j.secondRename(live, next, old)
		}
	case liveIs == absent && nextIs == ours && oldIs == other:
		return j.secondRename(live, next, old)
	default:
		return fmt.Errorf("%w: step %s to %s: %s %s, %s %s, %s %s; put a whole member directory at %s by hand (backups are in %s), then remove %s",
			ErrLost, j.stepName(), j.rec.To, live, liveIs, next, nextIs, old, oldIs, live, filepath.Join(j.room, backupsDir), filepath.Join(j.room, fileName))
	}
	return j.syncNames()
}

// swapNames is an exchange; a test stands in for file systems without it.
func (j *Journal) swapNames(a, b string) (bool, error) {
	if err := j.reach("no exchange"); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			return false, nil
		}
		return false, err
	}
	return datadir.Exchange(a, b)
}

func (j *Journal) secondRename(live, next, old string) error {
	if err := j.syncNames(); err != nil {
		return err
	}
	if err := j.reach("between the renames"); err != nil {
		return err
	}
	if err := os.Rename(next, live); err != nil {
		return err
	}
	if err := j.syncNames(); err != nil {
		return err
	}
	if err := j.reach("after both renames"); err != nil {
		return err
	}
	if err := os.Rename(old, next); err != nil {
		return err
	}
	return j.syncNames()
}

func (j *Journal) syncNames() error {
	err := datadir.SyncDir(j.Next())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // the end of a swap, come to a second time
	}
	return errors.Join(datadir.SyncDir(j.dir), err)
}

// carrier is what a directory says about a step.
type carrier string

const (
	absent carrier = "is not there"
	ours   carrier = "is the step's"
	other  carrier = "is not the step's"
)

func (j *Journal) carries(member string) (carrier, error) {
	if _, err := os.Lstat(member); errors.Is(err, fs.ErrNotExist) {
		return absent, nil
	} else if err != nil {
		return absent, err
	}
	b, err := os.ReadFile(filepath.Join(member, markerName))
	if errors.Is(err, fs.ErrNotExist) {
		return other, nil
	}
	if err != nil {
		return other, err
	}
	if string(b) == j.stepName() {
		return ours, nil
	}
	return other, nil
}

// keepOld makes what was there before the move its backup, and drops what an
// earlier step made.
func (j *Journal) keepOld() error {
	backup := filepath.Join(j.room, backupsDir, j.rec.Backup)
	from, to := filepath.Join(j.Next(), datadir.MemberDir), filepath.Join(backup, datadir.MemberDir)
	if _, err := os.Lstat(to); err == nil {
		return os.RemoveAll(j.Next())
	}
	if err := os.MkdirAll(backup, 0o700); err != nil {
		return err
	}
	if err := version.WriteFile(backup, j.rec.From); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(datadir.SyncDir(backup), datadir.SyncDir(filepath.Dir(backup)), datadir.SyncDir(j.Next()))
}

func (j *Journal) backupName() (string, error) {
	names, err := j.Backups()
	if err != nil {
		return "", err
	}
	n := 0
	if len(names) > 0 {
		_, _ = fmt.Sscanf(names[len(names)-1], "%d-", &n) // a name of another form counts as none
	}
	return fmt.Sprintf("%04d-%s-%s", n+1, j.rec.From.Version, j.rec.From.Storage), nil
}

// Backup is the path of a backup.
func (j *Journal) Backup(name string) string { return filepath.Join(j.room, backupsDir, name) }

// Backups are the names of the backups in the room, oldest first.
func (j *Journal) Backups() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(j.room, backupsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}

// End ends the move and keeps the newest backups. A room that holds nothing any
// more is removed.
func (j *Journal) End(keepBackups int) error {
	if j.rec != nil {
		if err := j.empty(false); err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(j.room, fileName)); err != nil {
			return err
		}
		if err := datadir.SyncDir(j.room); err != nil {
			return err
		}
		j.rec = nil
	}
	names, err := j.Backups()
	if err != nil {
		return err
	}
	for _, name := range names[:max(0, len(names)-keepBackups)] {
		// Out of the backups first: half of one must not look like one.
		if err := os.RemoveAll(j.Work()); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(j.room, backupsDir, name), j.Work()); err != nil {
			return err
		}
		if err := os.RemoveAll(j.Work()); err != nil {
			return err
		}
	}
	// Both fail while they hold something, as they should.
	_ = os.Remove(filepath.Join(j.room, backupsDir))
	_ = os.Remove(j.room)
	return nil
}

// Forget ends the record of a move but keeps its backup: somebody wrote to the
// directory since, so going back would lose that.
func (j *Journal) Forget() error {
	if err := os.Remove(filepath.Join(j.room, fileName)); err != nil {
		return err
	}
	j.rec = nil
	return datadir.SyncDir(j.room)
}
