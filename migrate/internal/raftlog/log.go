package raftlog

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/migrate/internal/wire"
)

// Kind is what an entry of the log asks of the server.
type Kind uint8

// Kinds of entries. Lines differ in which of the v2 kinds they can still read.
const (
	Empty        Kind = iota // a new leader's
	Membership               // a change of the members
	V2Attributes             // v2 PUT of what etcd keeps about itself, below /0
	V2Other                  // any other v2 request: a client's, a sync, HTTP /health
	V3Change                 // may change keys, leases, users or alarms
	V3Other                  // changes nothing of the user's
)

// Entry is one entry after the snapshot, without its content.
type Entry struct {
	Index uint64
	Kind  Kind
}

// Log is what the write-ahead log and the newest raft snapshot say.
type Log struct {
	NodeID, ClusterID  uint64
	Term, Vote, Commit uint64
	LastIndex          uint64
	LastTerm           uint64    // of the entry, or snapshot, at LastIndex
	Voters             []uint64  // who votes once every entry is applied, in ascending order
	Learners           []uint64  // members without a vote, likewise
	Snapshot           *Snapshot // nil: the log starts from nothing
	Tail               []Entry   // the entries after the snapshot
	// Version is the cluster version that the last entry about it sets, such
	// as "3.4.0"; "" when no entry after the snapshot does.
	Version string
	// HiddenV2 is one path with a hidden component that a v2 request named, or "".
	HiddenV2 string
}

// entry is an entry with its content.
type entry struct {
	term, index, kind uint64
	data              []byte
}

// Read reads member/wal and member/snap of a member directory. Segments that a
// start from the newest snapshot does not need are not read.
func Read(member string) (*Log, error) {
	dir := filepath.Join(member, "wal")
	names, err := snapshotNames(filepath.Join(member, "snap"))
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		c, err := scan(dir, n.index)
		if err != nil {
			return nil, err
		}
		// A server died between writing the file and mentioning it.
		if !c.mentioned[[2]uint64{n.term, n.index}] {
			continue
		}
		s, err := ReadSnapshot(n.path)
		if err != nil {
			return nil, err
		}
		return c.log(dir, s)
	}
	c, err := scan(dir, 0)
	if err != nil {
		return nil, err
	}
	return c.log(dir, nil)
}

// content is what the records from some index on say.
type content struct {
	head      Log // IDs and state only
	mentioned map[[2]uint64]bool
	entries   []indexed // in order, none twice
}

type indexed struct {
	index, term uint64
	change
}

func scan(dir string, from uint64) (*content, error) {
	c := &content{mentioned: map[[2]uint64]bool{}}
	l := &c.head
	err := readRecords(dir, from, func(r record) error {
		switch r.kind {
		case recordMetadata:
			return wire.Each(r.data, func(f wire.Field) error {
				switch f.ID {
				case 1:
					l.NodeID = f.Number
				case 2:
					l.ClusterID = f.Number
				}
				return nil
			})
		case recordState:
			l.Term, l.Vote, l.Commit = 0, 0, 0
			return wire.Each(r.data, func(f wire.Field) error {
				switch f.ID {
				case 1:
					l.Term = f.Number
				case 2:
					l.Vote = f.Number
				case 3:
					l.Commit = f.Number
				}
				return nil
			})
		case recordSnapshot:
			var at [2]uint64 // term, index
			err := wire.Each(r.data, func(f wire.Field) error {
				switch f.ID {
				case 1:
					at[1] = f.Number
				case 2:
					at[0] = f.Number
				}
				return nil
			})
			c.mentioned[at] = true
			return err
		case recordEntry:
			return c.add(dir, r.data, from)
		}
		return nil
	})
	if err == nil && l.NodeID == 0 {
		err = fmt.Errorf("%w: %s names no member", ErrDamaged, dir)
	}
	return c, err
}

func (c *content) add(dir string, b []byte, from uint64) error {
	e, err := parseEntry(b)
	if err != nil {
		return fmt.Errorf("%w: %s: %v", ErrDamaged, dir, err)
	}
	if e.index <= from {
		return nil
	}
	x, err := classify(e)
	if err != nil {
		return fmt.Errorf("%w: %s: entry %d: %v", ErrDamaged, dir, e.index, err)
	}
	// A follower's log may hold an entry that another leader replaced, with all
	// that came after it.
	for n := len(c.entries); n > 0 && c.entries[n-1].index >= e.index; n-- {
		c.entries = c.entries[:n-1]
	}
	c.entries = append(c.entries, indexed{e.index, e.term, x})
	return nil
}

// log is what the content says to a start from a snapshot, or from nothing.
func (c *content) log(dir string, s *Snapshot) (*Log, error) {
	l := c.head
	l.Snapshot = s
	voters, learners := map[uint64]bool{}, map[uint64]bool{}
	if s != nil {
		l.LastIndex, l.LastTerm = s.Index, s.Term
		for _, id := range s.Voters {
			voters[id] = true
		}
		for _, id := range s.Learners {
			learners[id] = true
		}
	}
	for _, e := range c.entries {
		if e.index != l.LastIndex+1 {
			return nil, fmt.Errorf("%w: %s: entry %d is missing", ErrDamaged, dir, l.LastIndex+1)
		}
		l.LastIndex, l.LastTerm = e.index, e.term
		l.Tail = append(l.Tail, Entry{e.index, e.kind})
		if e.version != "" {
			l.Version = e.version
		}
		if e.hidden != "" {
			l.HiddenV2 = e.hidden
		}
		switch e.vote {
		case voteAdd:
			voters[e.node] = true
			delete(learners, e.node)
		case voteRemove:
			delete(voters, e.node)
			delete(learners, e.node)
		case voteNone:
			delete(voters, e.node)
			learners[e.node] = true
		}
	}
	l.Voters, l.Learners = slices.Sorted(maps.Keys(voters)), slices.Sorted(maps.Keys(learners))
	return &l, nil
}

// IsMember says whether a member with an ID is in the cluster once every entry is
// applied; known is false where the log says nothing about members.
func (l *Log) IsMember(id uint64) (is, known bool) {
	return slices.Contains(l.Voters, id) || slices.Contains(l.Learners, id), len(l.Voters) > 0
}

// Superfluous are the paths of the segments that a start from the log's own
// snapshot does not need.
func (l *Log) Superfluous(member string) ([]string, error) {
	if l.Snapshot == nil {
		return nil, nil
	}
	all, err := segments(filepath.Join(member, "wal"))
	if err != nil {
		return nil, err
	}
	var paths []string
	for i := 1; i < len(all) && all[i].index <= l.Snapshot.Index; i++ {
		paths = append(paths, all[i-1].path)
	}
	return paths, nil
}

func parseEntry(b []byte) (e entry, err error) {
	err = wire.Each(b, func(f wire.Field) error {
		switch f.ID {
		case 1:
			e.kind = f.Number
		case 2:
			e.term = f.Number
		case 3:
			e.index = f.Number
		case 4:
			e.data = f.Bytes
		}
		return nil
	})
	return e, err
}

// change is what one entry does, as far as this package cares.
type change struct {
	kind    Kind
	version string
	hidden  string
	vote    vote
	node    uint64
}

type vote uint8

const (
	voteSame vote = iota
	voteAdd
	voteRemove
	voteNone // a member that only learns
)

func classify(e entry) (change, error) {
	switch e.kind {
	case 0:
		return classifyRequest(e.data)
	case 1:
		c := change{kind: Membership}
		kind := uint64(0)
		err := wire.Each(e.data, func(f wire.Field) error {
			switch f.ID {
			case 2:
				kind = f.Number
			case 3:
				c.node = f.Number
			}
			return nil
		})
		switch kind {
		case 0:
			c.vote = voteAdd
		case 1:
			c.vote = voteRemove
		case 3:
			c.vote = voteNone
		}
		return c, err
	}
	return change{}, fmt.Errorf("unknown type of entry %d", e.kind)
}

// v2Methods tell a bare v2 request from the envelope that later lines use: both
// have a length-delimited field 2, which here is a method and there a message.
var v2Methods = []string{"GET", "QGET", "HEAD", "PUT", "POST", "DELETE", "SYNC"}

// Fields of etcdserverpb.InternalRaftRequest.
const (
	requestID         = 1
	requestV2         = 2
	requestRange      = 3
	requestHeader     = 100
	requestVersion    = 1300
	requestAttributes = 1301
	requestDowngrade  = 1302
	requestTest       = 9900
)

func classifyRequest(b []byte) (change, error) {
	if len(b) == 0 {
		return change{kind: Empty}, nil
	}
	c := change{kind: V3Other}
	bare := false
	var v2 []byte
	err := wire.Each(b, func(f wire.Field) error {
		switch f.ID {
		case requestV2:
			if slices.Contains(v2Methods, string(f.Bytes)) {
				bare = true
			} else {
				v2 = f.Bytes
			}
		case requestVersion:
			return wire.Each(f.Bytes, func(f wire.Field) error {
				if f.ID == 1 {
					c.version = string(f.Bytes)
				}
				return nil
			})
		case requestID, requestRange, requestHeader, requestAttributes, requestDowngrade, requestTest:
		default:
			c.kind = V3Change
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	if bare {
		return classifyV2(b)
	}
	if v2 != nil {
		return classifyV2(v2)
	}
	return c, nil
}

func classifyV2(b []byte) (change, error) {
	var method, path, value string
	err := wire.Each(b, func(f wire.Field) error {
		switch f.ID {
		case 2:
			method = string(f.Bytes)
		case 3:
			path = string(f.Bytes)
		case 4:
			value = string(f.Bytes)
		}
		return nil
	})
	c := change{kind: V2Other}
	if strings.HasPrefix(path, "/1/") && strings.Contains(path, "/_") {
		c.hidden = strings.TrimPrefix(path, "/1")
	}
	if method == "PUT" && strings.HasPrefix(path, "/0/") {
		c.kind = V2Attributes
		if path == "/0/version" {
			c.version = value
		}
	}
	return c, err
}

// Behind counts the entries after index that change what the user stored: a
// database that has applied no more than index lacks them.
func (l *Log) Behind(index uint64) int {
	n := 0
	for _, e := range l.Tail {
		if e.Index > index && (e.Kind == V3Change) {
			n++
		}
	}
	return n
}

// Count is the number of entries of a kind after the snapshot.
func (l *Log) Count(k Kind) int {
	n := 0
	for _, e := range l.Tail {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// V2Keys says whether the snapshot's v2 store holds anything of the user's.
func (l *Log) V2Keys() (bool, error) {
	if l.Snapshot == nil || len(l.Snapshot.Data) == 0 {
		return false, nil
	}
	var store struct {
		Root struct {
			Children map[string]struct {
				Children map[string]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(l.Snapshot.Data, &store); err != nil {
		return false, fmt.Errorf("the v2 store in the raft snapshot %016x-%016x: %w", l.Snapshot.Term, l.Snapshot.Index, err)
	}
	return len(store.Root.Children["1"].Children) > 0, nil
}
