package debian

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

const alternativesDir = "/etc/alternatives/"

// alternative is one call of update-alternatives(1): a program that offers
// itself under a generic name, and what comes along with it.
type alternative struct {
	link     string // /usr/bin/awk
	name     string // awk
	target   string // /usr/bin/mawk
	priority int
	slaves   []slave
}

type slave struct{ link, name, target string }

// group is all that offers itself under one name.
type group struct {
	link    string
	slaves  map[string]string // name → link
	choices []alternative     // by target
	origin  string            // the package of the best choice
	best    alternative
}

// applyAlternatives makes the links of /etc/alternatives, to the choice of the
// highest priority, and where there is dpkg the state that
// update-alternatives(1) keeps of them. A choice that is not in the image is
// none; of the others, companions that are not there get no link.
func applyAlternatives(r *ruleRun) error {
	groups := map[string]*group{}
	for _, row := range r.rows {
		if r.find(row.pkg) == nil {
			continue
		}
		for _, a := range row.alternatives {
			if _, ok := r.at(a.target); ok {
				offer(groups, a, row.pkg)
			}
		}
	}
	for _, name := range sortedKeys(groups) {
		if err := r.choose(name, groups[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// offer adds a choice to its group.
func offer(groups map[string]*group, a alternative, pkg string) {
	g := groups[a.name]
	if g == nil {
		g = &group{link: a.link, slaves: map[string]string{}, best: a, origin: pkg}
		groups[a.name] = g
	}
	if a.priority > g.best.priority {
		g.best, g.origin = a, pkg
	}
	for _, s := range a.slaves {
		g.slaves[s.name] = s.link
	}
	g.choices = append(g.choices, a)
	slices.SortFunc(g.choices, func(a, b alternative) int { return cmp.Compare(a.target, b.target) })
}

func (a alternative) slaveTarget(name string) string {
	for _, s := range a.slaves {
		if s.name == name {
			return s.target
		}
	}
	return ""
}

// choose makes one group's links and its state.
func (r *ruleRun) choose(name string, g *group) error {
	if err := r.alternativeLink(g.link, name, g.best.target, g.origin); err != nil {
		return err
	}
	for _, s := range sortedKeys(g.slaves) {
		target := g.best.slaveTarget(s)
		if target == "" {
			continue
		}
		if _, ok := r.at(target); !ok {
			continue
		}
		if err := r.alternativeLink(g.slaves[s], s, target, g.origin); err != nil {
			return err
		}
	}
	if r.find("dpkg") == nil {
		return nil
	}
	state := adminDir + "alternatives/" + name
	if err := r.parents(state, g.origin); err != nil {
		return err
	}
	return r.file(state, 0o644, rootfs.Bytes([]byte(g.state())), g.origin)
}

func (r *ruleRun) alternativeLink(link, name, target, origin string) error {
	for _, p := range []string{alternativesDir + name, link} {
		if err := r.parents(p, origin); err != nil {
			return err
		}
	}
	if err := r.link(alternativesDir+name, target, origin); err != nil {
		return err
	}
	return r.link(link, alternativesDir+name, origin)
}

// state is a group's file below /var/lib/dpkg/alternatives: how it is chosen,
// its link, name and link of every companion, an empty line; then the choices,
// each with its priority and its companions; then an empty line again.
func (g *group) state() string {
	var b strings.Builder
	b.WriteString("auto\n" + g.link + "\n")
	names := sortedKeys(g.slaves)
	for _, s := range names {
		b.WriteString(s + "\n" + g.slaves[s] + "\n")
	}
	b.WriteString("\n")
	for _, c := range g.choices {
		fmt.Fprintf(&b, "%s\n%d\n", c.target, c.priority)
		for _, s := range names {
			b.WriteString(c.slaveTarget(s) + "\n")
		}
	}
	b.WriteString("\n")
	return b.String()
}
