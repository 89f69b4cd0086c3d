package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

var (
	stampA = version.Stamp{Version: version.Version{Major: 3, Minor: 0, Patch: 17}, Storage: version.Etcd3}
	stampB = version.Stamp{Version: version.Version{Major: 3, Minor: 5, Patch: 35}, Storage: version.Etcd3}
	stampC = version.Stamp{Version: version.Version{Major: 3, Minor: 7, Patch: 3}, Storage: version.Etcd3}
)

var errCut = errors.New("the power is gone")

// place is a data directory with its room.
type place struct {
	t         *testing.T
	dir, room string
	points    []string // that the run came by
	// cutAt is how many points the run survives; -1 for all.
	cutAt      int
	noExchange bool
}

func newPlace(t *testing.T, inside bool) *place {
	p := &place{t: t, dir: filepath.Join(memoryDir(t), "etcd"), cutAt: -1}
	p.room = p.dir + ".migrate"
	if inside {
		p.room = filepath.Join(p.dir, ".migrate")
	}
	p.fill(p.dir, "A")
	if err := version.WriteFile(p.dir, stampA); err != nil {
		t.Fatal(err)
	}
	return p
}

// memoryDir is a temporary directory in memory where the system has one: the
// cuts are played, and hundreds of real syncs would only take time.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "journal-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (p *place) fill(dir, content string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "member", "snap"), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "member", "snap", "db"), []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) open() *Journal {
	p.t.Helper()
	j, err := Open(p.dir, p.room)
	if err != nil {
		p.t.Fatal(err)
	}
	j.reach = func(point string) error {
		if point == "no exchange" {
			if p.noExchange {
				return errors.ErrUnsupported
			}
			return nil
		}
		if len(p.points) == p.cutAt {
			return errCut
		}
		p.points = append(p.points, point)
		return nil
	}
	return j
}

// content is what the directory holds, and for which version.
func (p *place) content() (data, stamp string) {
	b, err := os.ReadFile(filepath.Join(p.dir, "member", "snap", "db"))
	if err != nil {
		return "nothing", ""
	}
	s, err := version.ReadFile(p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b), s.String()
}

// wants are the pairs that are whole.
var wants = map[string]string{"A": stampA.String(), "B": stampB.String(), "C": stampC.String()}

// move goes from A over B to C, going on from wherever the journal says it is.
func (p *place) move() error {
	j := p.open()
	if _, err := j.Recover(); err != nil {
		return err
	}
	if data, stamp := p.content(); wants[data] != stamp {
		p.t.Errorf("after Recover the data is %s and version.txt %s", data, stamp)
	}
	data, _ := p.content()
	for _, step := range []struct {
		from, to string
		stamp    version.Stamp
	}{{"A", "B", stampB}, {"B", "C", stampC}} {
		if data != step.from {
			continue
		}
		if j.Record() == nil {
			if err := j.Begin(stampA, stampC); err != nil {
				return err
			}
		}
		if err := j.Prepare(step.stamp); err != nil {
			return err
		}
		p.fill(j.Next(), step.to)
		if err := j.Commit(step.to); err != nil {
			return err
		}
		data = step.to
	}
	return j.End(1)
}

func (p *place) checkDone(want string) {
	p.t.Helper()
	if data, stamp := p.content(); data != want || stamp != wants[want] {
		p.t.Errorf("the data is %s and version.txt %s", data, stamp)
	}
	if entries, _ := os.ReadDir(filepath.Join(p.dir, "member")); len(entries) != 1 {
		p.t.Errorf("member holds %v", entries)
	}
	for _, name := range []string{"journal.json", "next", "work"} {
		if _, err := os.Lstat(filepath.Join(p.room, name)); !errors.Is(err, os.ErrNotExist) {
			p.t.Errorf("%s is left", name)
		}
	}
}

func (p *place) checkBackup() {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.room, "backups", "0001-3.0.17-etcd3", "member", "snap", "db"))
	if err != nil || string(b) != "A" {
		p.t.Errorf("the backup holds %q (%v)", b, err)
	}
	s, err := version.ReadFile(filepath.Join(p.room, "backups", "0001-3.0.17-etcd3"))
	if err != nil || s != stampA {
		p.t.Errorf("the backup is for %s (%v)", s, err)
	}
}

func variants(t *testing.T, f func(t *testing.T, p *place)) {
	for _, inside := range []bool{false, true} {
		for _, noExchange := range []bool{false, true} {
			t.Run(fmt.Sprintf("room inside %v, exchange %v", inside, !noExchange), func(t *testing.T) {
				p := newPlace(t, inside)
				p.noExchange = noExchange
				f(t, p)
			})
		}
	}
}

func TestAMoveEndsWithTheNewDataAndABackupOfTheOld(t *testing.T) {
	variants(t, func(t *testing.T, p *place) {
		if err := p.move(); err != nil {
			t.Fatal(err)
		}
		p.checkDone("C")
		p.checkBackup()
	})
}

func TestAPowerCutAnywhereIsMadeGoodByTheNextRun(t *testing.T) {
	variants(t, func(t *testing.T, p *place) {
		inside, noExchange := filepath.Dir(p.room) == p.dir, p.noExchange
		if err := p.move(); err != nil {
			t.Fatal(err)
		}
		for cut := range p.points {
			t.Run(fmt.Sprintf("%02d %s", cut, p.points[cut]), func(t *testing.T) {
				q := newPlace(t, inside)
				q.noExchange, q.cutAt = noExchange, cut
				if err := q.move(); !errors.Is(err, errCut) {
					t.Fatalf("the cut did not happen: %v", err)
				}
				q.cutAt = -1
				if err := q.move(); err != nil {
					t.Fatal(err)
				}
				q.checkDone("C")
				q.checkBackup()
			})
		}
	})
}

// A second cut, while the first is being made good.
func TestTwoPowerCutsAreMadeGood(t *testing.T) {
	p := newPlace(t, false)
	p.noExchange = true
	if err := p.move(); err != nil {
		t.Fatal(err)
	}
	n := len(p.points)
	for first := range n {
		for second := first % 3; second < n; second += 3 {
			q := newPlace(t, false)
			q.noExchange, q.cutAt = true, first
			if err := q.move(); !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			q.points, q.cutAt = nil, second
			if err := q.move(); err == nil {
				q.checkDone("C")
				break // the second cut would have come after the end
			} else if !errors.Is(err, errCut) {
				t.Fatalf("cut at %d, then %d: %v", first, second, err)
			}
			q.cutAt = -1
			if err := q.move(); err != nil {
				t.Fatalf("cut at %d, then %d: %v", first, second, err)
			}
			q.checkDone("C")
			q.checkBackup()
		}
	}
}

// back moves to B and then goes back to A.
func (p *place) back() error {
	j := p.open()
	if _, err := j.Recover(); err != nil {
		return err
	}
	switch data, _ := p.content(); {
	case data == "A" && j.Record() == nil:
		if err := j.Begin(stampA, stampC); err != nil {
			return err
		}
		if err := j.Prepare(stampB); err != nil {
			return err
		}
		p.fill(j.Next(), "B")
		if err := j.Commit("B"); err != nil {
			return err
		}
		if err := j.GoBack(); err != nil {
			return err
		}
	case data == "B":
		if err := j.GoBack(); err != nil {
			return err
		}
	}
	return j.End(1)
}

func TestAPowerCutWhileGoingBackIsMadeGood(t *testing.T) {
	variants(t, func(t *testing.T, p *place) {
		inside, noExchange := filepath.Dir(p.room) == p.dir, p.noExchange
		if err := p.back(); err != nil {
			t.Fatal(err)
		}
		p.checkDone("A")
		if _, err := os.Lstat(p.room); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the room is left: %v", err)
		}
		for cut := range p.points {
			t.Run(fmt.Sprintf("%02d %s", cut, p.points[cut]), func(t *testing.T) {
				q := newPlace(t, inside)
				q.noExchange, q.cutAt = noExchange, cut
				if err := q.back(); !errors.Is(err, errCut) {
					t.Fatal(err)
				}
				q.cutAt = -1
				if err := q.back(); err != nil {
					t.Fatal(err)
				}
				q.checkDone("A")
			})
		}
	})
}

func TestADirectoryThatSomebodyMovedIsNotTouched(t *testing.T) {
	p := newPlace(t, false)
	for p.cutAt = 0; ; p.cutAt++ {
		q := newPlace(t, false)
		q.cutAt = p.cutAt
		if err := q.move(); !errors.Is(err, errCut) {
			t.Fatal("no cut left the phase of the exchange")
		}
		if j := q.open(); j.Record() != nil && j.Record().Phase == Swap {
			p = q
			break
		}
	}
	p.cutAt = -1
	if err := os.RemoveAll(filepath.Join(p.room, "next", "member")); err != nil {
		t.Fatal(err)
	}
	j := p.open()
	if _, err := j.Recover(); !errors.Is(err, ErrLost) {
		t.Fatalf("Recover: %v", err)
	}
	if data, stamp := p.content(); data != "A" || stamp != stampA.String() {
		t.Errorf("the data is %s and version.txt %s", data, stamp)
	}
}

func TestOnlyTheNewestBackupsAreKept(t *testing.T) {
	p := newPlace(t, false)
	for range 4 {
		j := p.open()
		if err := j.Begin(stampA, stampA); err != nil {
			t.Fatal(err)
		}
		if err := j.Prepare(stampA); err != nil {
			t.Fatal(err)
		}
		p.fill(j.Next(), "A")
		if err := j.Commit(""); err != nil {
			t.Fatal(err)
		}
		if err := j.End(2); err != nil {
			t.Fatal(err)
		}
	}
	names, err := p.open().Backups()
	if err != nil || len(names) != 2 || names[1] != "0004-3.0.17-etcd3" {
		t.Fatalf("backups %v, %v", names, err)
	}
	if err := p.open().End(0); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(p.room); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty room is left: %v", err)
	}
}

func TestAFileOfTheJournalThatIsNoneIsRefused(t *testing.T) {
	for _, s := range []string{
		"", "{", `{"format":2,"move":"x","phase":"swap"}`, `{"format":1,"move":"x","phase":"gone"}`,
		`{"format":1,"move":"","phase":"swap"}`, `{"format":1,"move":"x","phase":"back","backup":"../../etc"}`,
	} {
		p := newPlace(t, false)
		if err := os.MkdirAll(p.room, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.room, "journal.json"), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(p.dir, p.room); err == nil {
			t.Errorf("%q was taken for a journal", s)
		}
	}
}

func TestAFullDiskLeavesTheDirectoryAsItWas(t *testing.T) {
	p := newPlace(t, false)
	j := p.open()
	if err := j.Begin(stampA, stampC); err != nil {
		t.Fatal(err)
	}
	if err := j.Prepare(stampB); err != nil {
		t.Fatal(err)
	}
	p.fill(j.Next(), "B")
	j.reach = func(string) error { return syscall.ENOSPC }
	if err := j.Commit(""); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if data, stamp := p.content(); data != "A" || stamp != stampA.String() {
		t.Errorf("the data is %s and version.txt %s", data, stamp)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"format":1,"move":"ab","from":"3.0.17/etcd3","target":"3.7.3/etcd3","at":"3.0.17/etcd3","to":"3.5.35/etcd3","step":1,"phase":"swap","backup":"0001-3.0.17-etcd3"}`))
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err != nil {
			return
		}
		if r.Backup != "" && filepath.Dir(filepath.Join("room", r.Backup)) != "room" {
			t.Errorf("the backup %q lies outside the room", r.Backup)
		}
	})
}

// A step may lead less far than it was to; version.txt says how far it led.
func TestAStepThatDidNotLeadAsFarAsItWasTo(t *testing.T) {
	variants(t, func(t *testing.T, p *place) {
		j := p.open()
		if err := j.Begin(stampA, stampC); err != nil {
			t.Fatal(err)
		}
		if err := j.Prepare(stampC); err != nil {
			t.Fatal(err)
		}
		p.fill(j.Next(), "B")
		if err := j.Reached(stampB); err != nil {
			t.Fatal(err)
		}
		if err := j.Commit("B"); err != nil {
			t.Fatal(err)
		}
		if data, stamp := p.content(); data != "B" || stamp != stampB.String() || p.open().Record().At != stampB {
			t.Errorf("%s, %s, %+v", data, stamp, p.open().Record())
		}
	})
}
