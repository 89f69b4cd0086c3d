package plan

import (
	"fmt"
	"strings"

	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Other is another member of the cluster that answered when it was asked.
type Other struct {
	Name        string
	Line        version.Line // of its server
	Agreed      version.Line // on which it says the cluster has agreed
	AgreedKnown bool
	Storage     version.Line // that it says it stores for, from 3.6 on
}

// together is what all members at once can do where one alone can not.
const together = "stop all members and make each from one database (migrate prepare, then migrate apply on each member)"

// beside refuses to let a line run among members that would die of it, or it
// of them. It holds for a restart too.
func beside(f Facts, to version.Line) error {
	for _, o := range f.Others {
		switch {
		case to.Before(line36) && !o.Line.Before(line37):
			return fmt.Errorf("%w: member %s runs etcd %s, which dies of what etcd %s writes to the log; start this member with etcd %s or later, or (always safe) remove it, add it again, and start it there on an empty directory with --initial-cluster-state=existing", ErrCluster, o.Name, o.Line, to, line36)
		case o.Line.Before(line36) && !to.Before(line37):
			return fmt.Errorf("%w: member %s still runs etcd %s, and etcd %s dies of what that writes to the log; bring every member to %s first", ErrCluster, o.Name, o.Line, to, line36)
		case to.Before(line35) && !o.Line.Before(line36):
			return fmt.Errorf("%w: member %s runs etcd %s, which dies at the first HTTP /health that etcd %s is asked; bring this member to %s at once, which they get on with", ErrCluster, o.Name, o.Line, to, line35)
		}
	}
	return nil
}

// member is the way of one member of a cluster: what its server can take over
// as it is, once the cluster has agreed on where it stands.
func member(f Facts, target version.Stamp, b Bundled) ([]Step, error) {
	from, to := f.At.Version.Line(), target.Version.Line()
	if f.At.Storage != target.Storage {
		return nil, fmt.Errorf("%w: %s to %s rewrites the keys, and members that each did it for themselves would differ for ever; %s", ErrCluster, f.At, target, together)
	}
	mark := Step{Mark, target.Version, f.At, target}
	switch {
	case from == to:
		return []Step{mark}, nil
	case to.Before(from):
		return []Step{mark}, down(f, from, to)
	}
	if err := up(f, from, to); err != nil {
		return nil, err
	}
	if startsOn(to, f.Tail, f.V2Keys) {
		return []Step{mark}, nil
	}
	if f.V2Keys && !startsOn(to, TailClean, true) {
		return nil, fmt.Errorf("%w: its v2 store holds keys, which etcd %s refuses; delete them by the v2 API of 3.4 (--enable-v2=true) before 3.5, or %s", ErrCluster, to, together)
	}
	if v, ok := b.Server(from); ok {
		return []Step{{Cure, v, f.At, f.At}, mark}, nil
	}
	return nil, fmt.Errorf("%w: its log holds v2 requests, which etcd %s dies of, and no etcd %s is bundled that could take them out; start this member with etcd %s and --snapshot-count=1 among the others, stop it, and run this again", ErrCluster, to, from, from)
}

// up says why a member may not go to the line to yet.
func up(f Facts, from, to version.Line) error {
	if to != from.Next() {
		return fmt.Errorf("%w: from %s the next line is %s: bring every member there first, since members more than one minor apart do not work together; or %s", ErrCluster, from, from.Next(), together)
	}
	if f.AgreedKnown && f.Agreed.Before(from) {
		return fmt.Errorf("%w: the cluster has agreed on version %s only, by this member's own files; start it with etcd %s again, and go on when /version of every member shows etcdcluster %s.0", ErrCluster, f.Agreed, from, from)
	}
	// The version of what is stored follows the agreed one, from 3.6 on.
	if f.AgreedKnown && !from.Before(line36) && (!f.StorageKnown || f.Storage.Before(from)) {
		return fmt.Errorf("%w: this member has not brought what it stores to %s yet; start it with etcd %s again, and go on when its /version shows storage %s.0", ErrCluster, from, from, from)
	}
	for _, o := range f.Others {
		switch {
		case o.Line.Before(from):
			return fmt.Errorf("%w: member %s still runs etcd %s; bring every member to %s first", ErrCluster, o.Name, o.Line, from)
		case o.AgreedKnown && o.Agreed.Before(from):
			return fmt.Errorf("%w: the cluster has agreed on version %s only, as member %s says; start this member with etcd %s again, and go on when /version of every member shows etcdcluster %s.0 (a member that is down keeps it from rising)", ErrCluster, o.Agreed, o.Name, from, from)
		case o.Storage != (version.Line{}) && o.Storage.Before(from):
			return fmt.Errorf("%w: member %s has not brought what it stores to %s yet; go on when its /version shows storage %s.0", ErrCluster, o.Name, from, from)
		case o.AgreedKnown && from.Before(o.Agreed):
			return fmt.Errorf("%w: the others have agreed on version %s, as member %s says, which they can not while a member is at %s: this directory is an old copy; remove the member, add it again, and start it with etcd %s on an empty directory with --initial-cluster-state=existing", ErrCluster, o.Agreed, o.Name, from, o.Line)
		}
	}
	return nil
}

// down says why a member may not go to the line to yet: the running cluster
// has to come to agree on it first, and the member to store nothing newer.
func down(f Facts, from, to version.Line) error {
	switch {
	case to.Before(line35):
		return fmt.Errorf("%w: no running cluster can be brought below 3.5; %s", ErrCluster, together)
	case to.Next() != from:
		below := version.Line{Major: from.Major, Minor: from.Minor - 1}
		return fmt.Errorf("%w: from %s the next line down is %s: bring every member there first, then go on; or %s", ErrCluster, from, below, together)
	}
	lowered := f.AgreedKnown && f.Agreed == to
	if to.Before(line36) {
		lowered = lowered && !f.StorageKnown
	} else {
		lowered = lowered && f.StorageKnown && f.Storage == to
	}
	var others []string
	for _, o := range f.Others {
		if o.AgreedKnown && o.Agreed != to {
			lowered = false
			others = append(others, o.Name+" says "+o.Agreed.String())
		}
	}
	if lowered {
		return nil
	}
	says := ""
	if len(others) > 0 {
		says = " (member " + strings.Join(others, ", ") + ")"
	}
	return fmt.Errorf("%w: the cluster is not lowered to %s yet, or this member was stopped before it had followed%s; start it with etcd %s again, type \"etcdctl --endpoints=ENDPOINTS downgrade enable %s\" (or: migrate downgrade --endpoints=ENDPOINTS --target-version=%s), wait until /version of every member shows %s.0, and then stop and swap them one by one; or %s",
		ErrCluster, to, says, from, to, to, to, together)
}
