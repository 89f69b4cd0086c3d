package debian

import (
	"cmp"
	"slices"
	"strings"
)

// universe is what the suites together offer for one architecture.
type universe struct {
	arch string // Debian's name; "all" where only Architecture: all is known
	// partial: packages for one architecture exist, too, but are not known.
	partial bool
	best    map[string]*candidate   // what a name means: the pinned version, else the highest
	all     map[string][]*candidate // everything on offer under a name, best first
	virtual map[string][]*candidate // memo of providers
}

func newUniverse(arch string, candidates []*candidate, pins map[string]string) *universe {
	u := &universe{
		arch: arch, partial: arch == archAll,
		best:    make(map[string]*candidate, len(candidates)),
		all:     make(map[string][]*candidate, len(candidates)),
		virtual: map[string][]*candidate{},
	}
	for _, c := range candidates {
		if c.Arch == archAll || c.Arch == arch {
			u.all[c.Name] = append(u.all[c.Name], c)
		}
	}
	for name, list := range u.all {
		slices.SortStableFunc(list, func(a, b *candidate) int {
			return cmp.Or(
				CompareVersions(b.Version, a.Version), // the highest version over all suites
				cmp.Compare(a.rank, b.rank),           // of the suite that is named first
				cmp.Compare(b2i(a.Arch == archAll), b2i(b.Arch == archAll)),
				strings.Compare(a.Filename, b.Filename))
		})
		pin, pinned := pins[name]
		for _, c := range list {
			if !pinned || CompareVersions(c.Version, pin) == 0 {
				u.best[name] = c
				break
			}
		}
	}
	return u
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// priorities in Debian Policy's order; what is not listed comes last.
var priorities = []string{"required", "important", "standard", "optional", "extra"}

func priorityRank(p string) int {
	if i := slices.Index(priorities, p); i >= 0 {
		return i
	}
	return len(priorities)
}

// providers returns the packages that provide a virtual name, by priority,
// then by name. The list is found by search: few virtual names are ever asked
// for, and an archive has a hundred thousand of them.
func (u *universe) providers(name string) []*candidate {
	if list, ok := u.virtual[name]; ok {
		return list
	}
	var list []*candidate
	for _, c := range u.best {
		if !strings.Contains(c.Provides, name) {
			continue
		}
		for _, p := range u.provides(c) {
			if p.Name == name {
				list = append(list, c)
				break
			}
		}
	}
	slices.SortFunc(list, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(priorityRank(a.Priority), priorityRank(b.Priority)), strings.Compare(a.Name, b.Name))
	})
	u.virtual[name] = list
	return list
}

// provides parses what a package provides. What can not be parsed provides
// nothing: it would be another package's fault to depend on it.
func (u *universe) provides(c *candidate) []relation {
	clauses, err := parseDepends(c.Provides, u.arch)
	if err != nil {
		return nil
	}
	var out []relation
	for _, cl := range clauses {
		out = append(out, cl...)
	}
	return out
}

// isMet says whether a package, under its own name, is what a relation asks for.
func (u *universe) isMet(r relation, c *candidate) bool {
	if c.Name != r.Name || !r.allows(c.Version) {
		return false
	}
	switch r.Arch {
	case "", "native", u.arch:
		return true
	case "any":
		return c.MultiArch == "allowed"
	default:
		return false
	}
}

// isProvided says whether a package provides what a relation asks for. A
// relation with a version needs a provision with one (Debian Policy 7.5).
func (u *universe) isProvided(r relation, c *candidate, provided []relation) bool {
	for _, p := range provided {
		if p.Name != r.Name || r.Op != "" && (p.Op != "=" || !r.allows(p.Version)) {
			continue
		}
		switch r.Arch {
		case "", "native", u.arch:
			return true
		case "any":
			if p.Arch == "any" || c.MultiArch == "allowed" {
				return true
			}
		}
	}
	return false
}
