package operator

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/backend"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/plan"
	"github.com/etcdimg/etcdimg/migrate/internal/v2store"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Losses that a move must be allowed by name.
const (
	lossAuth    = "auth"           // users and roles are dropped, or not asked for any more
	lossNotUTF8 = "not-utf8"       // keys or values that JSON can not hold
	lossPaths   = "v2-paths"       // keys that are no v2 path, or another key's directory
	lossHidden  = "hidden-v2-keys" // v2 keys with a component that begins with '_'
	lossAbsent  = "absent-members" // what members know that are not there to be asked
	lossNewer   = "newer-writes"   // what a member holds that the database for all does not
)

// Losses are the names that --accept-loss takes.
func Losses() []string {
	return []string{lossAbsent, lossAuth, lossHidden, lossNewer, lossNotUTF8, lossPaths}
}

// loss is something that a move can not keep; without a name it needs no consent.
type loss struct{ name, text string }

// losses are what the steps can not keep of what is there.
func (o *Operator) losses(s *datadir.State, steps []plan.Step) ([]loss, error) {
	return o.lossesOf(s, datadir.DBFile(o.dir), steps)
}

func (o *Operator) lossesOf(s *datadir.State, db string, steps []plan.Step) ([]loss, error) {
	var all []loss
	for _, step := range steps {
		switch step.Kind {
		case plan.Restore:
			if _, known := o.oldToken(s); !known {
				all = append(all, loss{"", "the member's ID and the cluster's ID, which are made new"})
			}
			all = append(all, loss{"", "the raft log, which is made new; v2 keys, if there are any"})
		case plan.Convert:
			all = append(all, loss{"", "v2 history, empty directories, and the TTLs of keys outside " + o.TTLDir})
			if s.Log.HiddenV2 != "" {
				all = append(all, loss{lossHidden, "hidden v2 keys, if they are still there: " + s.Log.HiddenV2})
			}
		case plan.WriteV2:
			more, err := o.lossesOfV2(s, db)
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
	}
	last := steps[len(steps)-1].To.Version.Line()
	if s.Marks.AuthEnabled && last == (version.Line{Major: 3}) && steps[0].From.Version.Line() != last {
		all = append(all, loss{lossAuth, "authentication: users and roles stay, but etcd 3.0 lets anybody read and write"})
	}
	return all, nil
}

func (o *Operator) lossesOfV2(s *datadir.State, db string) ([]loss, error) {
	all := []loss{{"", "older revisions of keys, and leases that no key has"}}
	if s.Marks.AuthEnabled {
		all = append(all, loss{lossAuth, "authentication: users and roles"})
	}
	d, err := backend.Open(db)
	if err != nil {
		return nil, err
	}
	keys, ttl, err := d.Live()
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	b, err := v2store.NewBuilder(v2store.Member{ID: 1}, "2.3.0")
	if err != nil {
		return nil, err
	}
	_, refused := toV2(b, keys, ttl, time.Now())
	for _, name := range []string{lossNotUTF8, lossPaths} {
		n, first := 0, refusal{}
		for _, r := range refused {
			if r.loss == name {
				if n == 0 {
					first = r
				}
				n++
			}
		}
		if n > 0 {
			all = append(all, loss{name, fmt.Sprintf("%d keys; the first is %q: %s", n, first.key, first.why)})
		}
	}
	return all, nil
}

// unaccepted are the names of losses among refusals that were not allowed.
func (o *Operator) unaccepted(refused []refusal) []string {
	var names []string
	for _, r := range refused {
		if !slices.Contains(o.AcceptLoss, r.loss) {
			names = append(names, r.loss)
		}
	}
	return names
}

func makeDir(dir string) error { return os.MkdirAll(dir, 0o700) }

// segmentRoom is what a starting server lays out for its log: two segments.
const segmentRoom = 2 * 64 << 20

// checkSpace refuses a move that would fill the disk. At the worst moment there
// are what the move began with, what its last step made, what the next one
// prepares and the database that it is made from, and a server's new segments.
func (o *Operator) checkSpace(s *datadir.State, steps []plan.Step) error {
	copies, groups := int64(0), 0
	for i := 0; i < len(steps); i += together(steps[i:]) {
		step := steps[i]
		if !step.Kind.WhereItStands() {
			groups++
		}
		switch step.Kind {
		case plan.Run, plan.Convert, plan.WriteV2:
			copies = max(copies, 1)
		case plan.Restore:
			copies = max(copies, 2)
		}
	}
	if copies == 0 {
		return nil
	}
	if groups > 1 {
		copies++
	}
	size, err := datadir.Size(o.dir + "/" + datadir.MemberDir)
	if err != nil {
		return err
	}
	return datadir.CheckSpace(o.dir, copies*size+segmentRoom)
}
