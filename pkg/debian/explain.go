package debian

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// chain tells, from the profile on, why a package is in the set.
func (s *solver) chain(c *candidate) string {
	var steps []string
	for c != nil {
		why := s.why[c.Name]
		if why.by == nil {
			steps = append(steps, "the profile wants "+why.word)
			if why.word != c.Name {
				steps[len(steps)-1] += ", which has " + c.String()
			}
		} else {
			steps = append(steps, fmt.Sprintf("%s has %s: %s, chosen: %s", why.by, why.field, why.clause, c))
		}
		c = why.by
	}
	slices.Reverse(steps)
	return "  " + strings.Join(steps, "\n  ")
}

// onOffer lists every version under a name and every package that provides it.
func (s *solver) onOffer(name string) string {
	var offers []string
	for _, c := range s.u.all[name] {
		offers = append(offers, c.Version+" ("+c.suite.repository.Suite+")")
	}
	text := name + ": "
	if len(offers) == 0 {
		text += "nothing"
	} else {
		text += strings.Join(offers, ", ")
	}
	var by []string
	for _, c := range s.u.providers(name) {
		for _, p := range s.u.provides(c) {
			if p.Name == name {
				by = append(by, p.String()+" by "+c.String())
			}
		}
	}
	if len(by) > 8 {
		by = append(by[:8], fmt.Sprintf("%d more", len(by)-8))
	}
	if len(by) > 0 {
		text += "; provided: " + strings.Join(by, ", ")
	}
	return text
}

// missing explains that a package that the profile names can not be had.
func (s *solver) missing(name string) error {
	if pin, ok := s.w.Pins[name]; ok && len(s.u.all[name]) > 0 {
		return fmt.Errorf("the profile wants %s=%s, which no repository has for %s\n  on offer: %s\nPin a version that is on offer, or add a repository that has this one", name, pin, s.u.arch, s.onOffer(name))
	}
	if len(s.u.providers(name)) > 0 {
		return fmt.Errorf("the profile wants %s, which is a virtual package\n  on offer: %s\nName one of the packages that provide it", name, s.onOffer(name))
	}
	return fmt.Errorf("the profile wants %s, which no repository has for %s\nCheck the name, or add the repository that has it", name, s.u.arch)
}

// unmet explains that a dependency can not be met.
func (s *solver) unmet(d demand) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s for %s can not be had\n%s\n  %s has %s: %s", d.clause, s.u.arch, s.chain(d.by), d.by, d.field, d.clause)
	names := map[string]bool{}
	for _, r := range d.clause {
		if !names[r.Name] {
			names[r.Name] = true
			fmt.Fprintf(&b, "\n  on offer: %s", s.onOffer(r.Name))
		}
		if c := s.sel[r.Name]; c != nil {
			fmt.Fprintf(&b, "\n  chosen already:\n  %s", strings.ReplaceAll(s.chain(c), "\n", "\n  "))
		}
	}
	fmt.Fprintf(&b, "\nAdd a repository that has it, pin another version, or leave it out with !%s", d.clause[0].Name)
	return errors.New(b.String())
}

// conflict explains that two selected packages exclude each other.
func (s *solver) conflict(c *candidate, field string, r relation, other *candidate) error {
	return fmt.Errorf("%s and %s can not be installed together: %s has %s: %s\n%s\n%s\nLeave one of them out",
		c, other, c, field, r, s.chain(c), s.chain(other))
}
