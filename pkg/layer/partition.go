// Package layer turns a file tree into layers: it groups entries by the
// component that they belong to, writes each group as a tar archive whose
// bytes depend on nothing but the entries and the component's date, and
// compresses it so that the number of cores does not show.
//
// Two images that share a component share its blob. It must not know profiles,
// nor what the components mean.
package layer

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// Group is the entries of one layer, in the order in which they are written:
// by path, hard links last.
type Group struct {
	Components []string // whose entries these are, in the order of the partition
	Date       time.Time
	Entries    []*rootfs.Entry
}

// Strategy says how components become layers.
type Strategy string

// The strategies that a profile can choose.
const (
	ByComponent Strategy = "component" // a layer each
	Single      Strategy = "single"    // one layer in all
)

// Partition splits a tree into at most budget groups. Components come in the
// order given; those that order does not name follow by name. Beyond the
// budget the components with the fewest bytes share the place of the first of
// them. date, when it is not nil, is the modification time of everything.
func Partition(t *rootfs.Tree, strategy Strategy, budget int, order []string, date *time.Time) ([]Group, error) {
	if budget < 1 {
		return nil, fmt.Errorf("layer budget %d: want at least 1", budget)
	}
	byName := map[string]*Group{}
	size := map[string]int64{}
	err := t.Walk(func(e *rootfs.Entry) error {
		if t.Implied(e.Path) || plainRoot(e) {
			return nil
		}
		name := e.Component
		if e.Type == rootfs.Hardlink {
			target, ok := t.Get(e.Link)
			if !ok || target.Type != rootfs.File {
				return fmt.Errorf("%s: hard link to %s, which is no file of the tree", e.Path, e.Link)
			}
			name = target.Component
		}
		g, ok := byName[name]
		if !ok {
			g = &Group{Components: []string{name}, Date: t.Date(name)}
			byName[name] = g
		}
		g.Entries = append(g.Entries, e)
		if e.Content != nil {
			size[name] += e.Content.Size()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range byName {
		names = append(names, name)
	}
	rank := func(name string) int {
		if i := slices.Index(order, name); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	shared := map[string]bool{}
	switch {
	case strategy == Single:
		for _, name := range names {
			shared[name] = true
		}
	case strategy != ByComponent:
		return nil, fmt.Errorf("layering strategy %q: want %s or %s", strategy, ByComponent, Single)
	case len(names) > budget:
		bySize := slices.Clone(names)
		slices.SortStableFunc(bySize, func(a, b string) int { return cmp.Compare(size[a], size[b]) })
		for _, name := range bySize[:len(names)-budget+1] {
			shared[name] = true
		}
	}
	var groups []Group
	into := -1
	for _, name := range names {
		g := byName[name]
		if !shared[name] || into < 0 {
			if shared[name] {
				into = len(groups)
			}
			groups = append(groups, *g)
			continue
		}
		to := &groups[into]
		to.Components = append(to.Components, g.Components...)
		to.Entries = append(to.Entries, g.Entries...)
		if g.Date.After(to.Date) {
			to.Date = g.Date
		}
	}
	for i := range groups {
		groups[i].Entries = complete(t, groups[i].Entries)
		if date != nil {
			groups[i].Date = *date
		}
	}
	return groups, nil
}

// complete adds the directories that lead to the entries, so that a layer can
// be unpacked alone and says the same of a directory as every other layer
// does, and sorts. A hard link must follow what it repeats.
func complete(t *rootfs.Tree, entries []*rootfs.Entry) []*rootfs.Entry {
	root, _ := t.Get("/")
	have := map[string]bool{"/": plainRoot(root)}
	for _, e := range entries {
		have[e.Path] = true
	}
	for _, e := range entries {
		for dir := path.Dir(e.Path); !have[dir]; dir = path.Dir(dir) {
			have[dir] = true
			parent, _ := t.Get(dir)
			entries = append(entries, parent)
		}
	}
	slices.SortFunc(entries, func(a, b *rootfs.Entry) int {
		return cmp.Or(
			cmp.Compare(boolInt(a.Type == rootfs.Hardlink), boolInt(b.Type == rootfs.Hardlink)),
			cmp.Compare(a.Path, b.Path))
	})
	return entries
}

// plainRoot says whether an entry is the root as every runtime makes it: layers
// do not mention it then.
func plainRoot(e *rootfs.Entry) bool {
	return e.Path == "/" && e.Mode == 0o755 && e.UID == 0 && e.GID == 0
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
