// Package v2store reads and writes the v2 store, the tree of keys that etcd
// kept up to 3.5, in the JSON that its raft snapshots hold.
//
// It must not know snapshots or directories.
package v2store

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Namespaces below the root: what etcd keeps about itself, and the user's keys.
const (
	clusterRoot = "/0"
	keysRoot    = "/1"
)

// node is one node of the tree in the store's own JSON.
type node struct {
	Path          string
	CreatedIndex  uint64
	ModifiedIndex uint64
	ExpireTime    time.Time // zero: never
	ACL           string    // read by nothing, written by 2.x
	Value         string
	Children      map[string]*node // nil for a key
}

type store struct {
	Root           *node
	WatcherHub     watcherHub
	CurrentIndex   uint64
	Stats          map[string]uint64
	CurrentVersion int
}

type watcherHub struct{ EventHistory eventHistory }

type eventHistory struct {
	Queue                 eventQueue
	StartIndex, LastIndex uint64
}

type eventQueue struct {
	Events      []json.RawMessage
	Size        int
	Front, Back int
	Capacity    int
}

// historySize is how many events a server keeps for those who watch.
const historySize = 1000

// Key is one key of the user's.
type Key struct {
	Path              string // "/registry/…", without the namespace
	Value             string
	Created, Modified uint64
	Expires           time.Time // zero: never
	Hidden            bool      // a component begins with '_': listings leave it out
}

// Content is what a v2 store holds of the user's.
type Content struct {
	Keys      []Key    // in order of their paths
	EmptyDirs []string // directories without any key below
	Index     uint64   // the store's current index
}

// Read reads a store from a raft snapshot's data.
func Read(data []byte) (*Content, error) {
	var s store
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("the v2 store: %w", err)
	}
	c := &Content{Index: s.CurrentIndex}
	if s.Root == nil {
		return c, nil
	}
	if keys := s.Root.Children[strings.TrimPrefix(keysRoot, "/")]; keys != nil {
		c.walk(keys, false)
	}
	return c, nil
}

func (c *Content) walk(n *node, hidden bool) (keys int) {
	path := strings.TrimPrefix(n.Path, keysRoot)
	if n.Children == nil {
		c.Keys = append(c.Keys, Key{path, n.Value, n.CreatedIndex, n.ModifiedIndex, n.ExpireTime, hidden})
		return 1
	}
	for _, name := range slices.Sorted(maps.Keys(n.Children)) {
		keys += c.walk(n.Children[name], hidden || strings.HasPrefix(name, "_"))
	}
	if keys == 0 && path != "" {
		c.EmptyDirs = append(c.EmptyDirs, path)
	}
	return keys
}

// Member is a member that a written store knows.
type Member struct {
	ID         uint64
	Name       string
	PeerURLs   []string
	ClientURLs []string
}

// Builder makes a store.
type Builder struct {
	root *node
	last uint64
}

// NewBuilder begins a store of a cluster's members, for a cluster of the version
// given ("2.3.0"): a store without it is taken for one of 2.0 and refused.
func NewBuilder(m Member, clusterVersion string, more ...Member) (*Builder, error) {
	b := &Builder{root: &node{Path: "/", Children: map[string]*node{}}}
	if err := b.put(clusterRoot+"/version", &node{Value: clusterVersion}); err != nil {
		return nil, err
	}
	for _, m := range append([]Member{m}, more...) {
		if err := b.member(m); err != nil {
			return nil, err
		}
	}
	_, err := b.dir(keysRoot, 0)
	return b, err
}

func (b *Builder) member(m Member) error {
	raft, err := json.Marshal(map[string][]string{"peerURLs": m.PeerURLs})
	if err != nil {
		return err
	}
	attributes, err := json.Marshal(struct {
		Name       string   `json:"name,omitempty"`
		ClientURLs []string `json:"clientURLs,omitempty"`
	}{m.Name, m.ClientURLs})
	if err != nil {
		return err
	}
	dir := fmt.Sprintf("%s/members/%x", clusterRoot, m.ID)
	if err := b.put(dir+"/raftAttributes", &node{Value: string(raft)}); err != nil {
		return err
	}
	return b.put(dir+"/attributes", &node{Value: string(attributes)})
}

// Put adds a user's key. Its directories take its indices. The error says why
// a v2 store can not hold the key.
func (b *Builder) Put(k Key) error {
	if k.Path == "" || k.Path[0] != '/' || k.Path == "/" {
		return fmt.Errorf("%q is no v2 path", k.Path)
	}
	return b.put(keysRoot+k.Path, &node{
		Value: k.Value, CreatedIndex: k.Created, ModifiedIndex: k.Modified, ExpireTime: k.Expires,
	})
}

func (b *Builder) put(path string, n *node) error {
	i := strings.LastIndexByte(path, '/')
	dir, err := b.dir(path[:i], n.CreatedIndex)
	if err != nil {
		return err
	}
	name := path[i+1:]
	if old := dir.Children[name]; old != nil {
		if old.Children != nil {
			return fmt.Errorf("it is a directory of other keys")
		}
		return fmt.Errorf("another key has the same v2 path")
	}
	n.Path = path
	dir.Children[name] = n
	b.last = max(b.last, n.ModifiedIndex)
	return nil
}

// dir is the directory at path, made where it is not there. Everything above a
// key was made when the first key below it was.
func (b *Builder) dir(path string, index uint64) (*node, error) {
	n := b.root
	at := ""
	for name := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		at += "/" + name
		child := n.Children[name]
		if child == nil {
			child = &node{Path: at, CreatedIndex: index, ModifiedIndex: index, Children: map[string]*node{}}
			n.Children[name] = child
		}
		if child.Children == nil {
			return nil, fmt.Errorf("%s is a key, and can not be a directory too", strings.TrimPrefix(at, keysRoot))
		}
		n = child
	}
	return n, nil
}

// Marshal is the store's JSON. Its current index is the greatest of index and
// the keys' own.
func (b *Builder) Marshal(index uint64) ([]byte, error) {
	index = max(index, b.last)
	return json.Marshal(store{
		Root: b.root,
		WatcherHub: watcherHub{eventHistory{
			Queue: eventQueue{Events: make([]json.RawMessage, historySize), Capacity: historySize},
			// Nothing up to index can be watched any more.
			StartIndex: index + 1, LastIndex: index,
		}},
		CurrentIndex:   index,
		Stats:          map[string]uint64{},
		CurrentVersion: 2,
	})
}
