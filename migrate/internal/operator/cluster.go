package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/backend"
	"github.com/etcdimg/etcdimg/migrate/internal/cluster"
	"github.com/etcdimg/etcdimg/migrate/internal/datadir"
	"github.com/etcdimg/etcdimg/migrate/internal/plan"
	"github.com/etcdimg/etcdimg/migrate/internal/raftlog"
	"github.com/etcdimg/etcdimg/migrate/internal/server"
	"github.com/etcdimg/etcdimg/migrate/internal/version"
)

// Cluster is what the operator is told of the cluster, beside what the data says.
type Cluster struct {
	Members      []cluster.Member // of --initial-cluster, this one included
	Peer, Client cluster.Files    // to talk to them with
}

// clusterFacts adds to the facts what only a member of a cluster has to know:
// where the others are, as far as they answer.
func (o *Operator) clusterFacts(ctx context.Context, s *datadir.State, f *plan.Facts) error {
	f.Stuck = stuck(s.Marks.Downgrade)
	known := max(len(s.Log.Voters)+len(s.Log.Learners), len(s.Members))
	f.Voters = max(known, len(o.Cluster.Members))
	if f.Voters < 2 {
		return nil
	}
	f.Agreed, f.AgreedKnown = agreed(s)
	if l, err := version.ParseLine(s.Marks.StorageVersion); err == nil {
		f.Storage, f.StorageKnown = l, true
	}
	if known < 2 {
		o.Log.Warn("the data knows of no other member, but --initial-cluster does: it is taken for one of a cluster", "members", len(o.Cluster.Members))
	}
	others := o.others(s)
	answers, err := cluster.Ask(ctx, others, o.Cluster.Peer, o.Cluster.Client)
	if err != nil {
		return fmt.Errorf("asking the other members: %w", err)
	}
	for _, a := range answers {
		if a.Err != nil {
			o.Log.Debug("a member does not answer", "member", a.Name, "why", strings.ReplaceAll(a.Err.Error(), "\n", "; "))
			continue
		}
		f.Others = append(f.Others, plan.Other{Name: a.Name, Line: a.Server.Line(), Agreed: a.Agreed, AgreedKnown: a.AgreedKnown, Storage: a.Storage})
	}
	o.Say(fmt.Sprintf("%s is a member of a cluster of %d: %s", o.dir, f.Voters, told(f)))
	return ctx.Err()
}

// stuck says whether a downgrade is on record that no server can follow: 3.5
// takes such a wish from a later etcdctl, and dies of it at its next start.
func stuck(record string) bool {
	var d struct {
		Target  string `json:"target-version"`
		Enabled bool   `json:"enabled"`
	}
	if json.Unmarshal([]byte(record), &d) != nil || !d.Enabled {
		return false
	}
	l, err := version.ParseLine(d.Target)
	return err == nil && l.Before(version.Line{Major: 3, Minor: 5})
}

// told says what the judgement rests on.
func told(f *plan.Facts) string {
	if len(f.Others) == 0 {
		own := "its own files do not say what version the cluster has agreed on"
		if f.AgreedKnown {
			own = "its own files say that the cluster has agreed on version " + f.Agreed.String()
		}
		return "no other member answers, so its own files have to do; " + own
	}
	var parts []string
	for _, o := range f.Others {
		p := o.Name + " runs etcd " + o.Line.String()
		if o.AgreedKnown {
			p += " and has agreed on version " + o.Agreed.String()
		}
		parts = append(parts, p)
	}
	return strings.Join(parts, "; ")
}

// agreed is the cluster's version as the member's own files have it: by the
// newest entry of the log about it, which the database of a member that was
// killed may lack, else by the database. The mark of what is stored is another
// thing: it follows.
func agreed(s *datadir.State) (version.Line, bool) {
	for _, v := range []string{s.Log.Version, s.Marks.ClusterVersion} {
		if l, err := version.ParseLine(v); v != "" && err == nil {
			return l, true
		}
	}
	return version.Line{}, false
}

// others are the other members, as the data knows them, else as we were told.
func (o *Operator) others(s *datadir.State) []cluster.Member {
	if len(s.Members) < 2 {
		return cluster.Without(o.Cluster.Members, o.Name, o.PeerURLs)
	}
	var all []cluster.Member
	for _, m := range s.Members {
		if m.ID != s.Log.NodeID {
			name := m.Name
			if name == "" {
				name = fmt.Sprintf("%x", m.ID)
			}
			all = append(all, cluster.Member{Name: name, PeerURLs: m.PeerURLs, ClientURLs: m.ClientURLs})
		}
	}
	return all
}

// cureIn bounds the waiting for a raft snapshot, which takes a fraction of a
// second where it can be made at all.
const cureIn = time.Minute

// cure runs the version that the member is at on the directory itself, with a
// raft snapshot after nearly every entry, until one is there. That is what the
// member does anyway: no copy, since a server that the others talked to must
// not be undone; and no quorum, since entries that the log knows to be
// committed are applied without.
func (o *Operator) cure(ctx context.Context, step plan.Step, next version.Line) error {
	s, err := o.look()
	if err != nil {
		return err
	}
	self := o.Name
	var urls []string
	for _, m := range s.Members {
		if m.ID == s.Log.NodeID && m.Name != "" {
			self, urls = m.Name, m.ClientURLs
		}
	}
	srv, err := server.Start(ctx, server.Config{
		Binary: o.Bundle.Program("etcd", step.Version), Version: step.Version, DataDir: o.dir, Name: self,
		AdvertisedClientURLs: urls, Port: o.Port, PeerPort: o.PeerPort, Fixed: o.FixedPorts,
		ExtraArgs: o.ExtraArgs, Inherit: o.lockFile(), Log: o.Log, ReadyIn: o.ReadyIn, StopIn: o.StopIn,
	})
	if err != nil {
		return err
	}
	member := filepath.Join(o.dir, datadir.MemberDir)
	err = srv.Until(ctx, cureIn, func() (bool, error) {
		// A log that is being written may not be readable at every moment.
		l, err := raftlog.Read(member)
		return err == nil && plan.StartsOn(next, tail(&datadir.State{Log: l}), false), nil
	})
	if err := errors.Join(err, srv.Stop()); err != nil {
		return fmt.Errorf("taking v2 requests out of the log: %w; start this member with etcd %s and --snapshot-count=1 among the others, wait until it has joined them, stop it, and run this again", err, step.Version.Line())
	}
	if err := o.adoptIn(o.dir); err != nil {
		return err
	}
	after, err := datadir.Inspect(o.dir)
	if err != nil {
		return err
	}
	if !plan.StartsOn(next, tail(after), false) {
		return fmt.Errorf("etcd %s wrote more v2 requests to the log while it stopped; run this again", step.Version)
	}
	return nil
}

// forget removes the members from the database that the cluster does not have.
func (o *Operator) forget(s *datadir.State) error {
	if s == nil {
		var err error
		if s, err = datadir.Inspect(o.dir); err != nil {
			return err
		}
	}
	return backend.ForgetMembers(datadir.DBFile(o.dir), s.Zombies)
}
