package debian

import (
	"errors"
	"fmt"
	"slices"
)

// errIncomplete says that packages of the architecture itself have to be
// known before a decision can be taken.
var errIncomplete = errors.New("not decided by Architecture: all packages alone")

// UnsolvableError says that no set of packages is what was asked for.
type UnsolvableError struct{ Err error }

func (e *UnsolvableError) Error() string { return e.Err.Error() }

// Unwrap returns everything that stands in the way.
func (e *UnsolvableError) Unwrap() error { return e.Err }

// reason is why a package is in the set.
type reason struct {
	by     *candidate // nil: the profile
	field  string     // Depends, Pre-Depends
	clause clause
	word   string // of the profile: tzdata, @essential
}

// demand is a clause that waits for its turn.
type demand struct {
	by     *candidate
	field  string
	clause clause
}

type solver struct {
	u        *universe
	w        *wanted
	sel      map[string]*candidate
	why      map[string]reason
	provided map[string][]relation // by selected package
	offers   map[string][]string   // virtual name → selected packages that provide it
	clauses  map[string][]demand   // by selected package
	hard     []demand              // one way to meet it
	soft     []demand              // several: decided once nothing hard is left
	errs     []error
	omitted  map[string]bool
}

// solve returns the packages that a request comes to, by name, and the names
// that it leaves out although something wants them.
//
// It decides as apt does without recommendations, except that a choice waits
// until everything without a choice has been taken: whatever is there anyway
// satisfies it. A package that the profile leaves out counts as there, in any
// version.
func solve(u *universe, w *wanted) (packages []*candidate, omitted []string, err error) {
	s := &solver{
		u: u, w: w,
		sel: map[string]*candidate{}, why: map[string]reason{}, provided: map[string][]relation{},
		offers: map[string][]string{}, clauses: map[string][]demand{}, omitted: map[string]bool{},
	}
	if err := s.start(); err != nil {
		return nil, nil, err
	}
	for len(s.hard)+len(s.soft) > 0 {
		queue := &s.hard
		if len(s.hard) == 0 {
			queue = &s.soft
		}
		d := (*queue)[0]
		*queue = (*queue)[1:]
		if err := s.meet(d); err != nil {
			return nil, nil, err
		}
	}
	s.findConflicts()
	if err := errors.Join(s.errs...); err != nil {
		return nil, nil, &UnsolvableError{err}
	}
	s.findOmitted()
	for _, name := range sortedKeys(s.sel) {
		packages = append(packages, s.sel[name])
	}
	if len(s.omitted) > 0 {
		omitted = sortedKeys(s.omitted)
	}
	return packages, omitted, nil
}

// start selects what the profile names.
func (s *solver) start() error {
	if s.u.partial && len(s.w.Groups) > 0 {
		return errIncomplete
	}
	words := map[string]string{}
	for _, g := range s.w.Groups {
		for name, c := range s.u.best {
			if c.Essential || g == groupRequired && c.Priority == "required" {
				words[name] = g
			}
		}
	}
	for _, name := range s.w.Names {
		words[name] = name
	}
	for _, name := range sortedKeys(words) {
		if s.w.omits(name) {
			s.omitted[name] = true
			continue
		}
		c := s.u.best[name]
		if c == nil {
			if s.u.partial {
				return errIncomplete
			}
			s.errs = append(s.errs, s.missing(name))
			continue
		}
		s.add(c, reason{word: words[name]})
	}
	return nil
}

func (s *solver) add(c *candidate, why reason) {
	s.sel[c.Name], s.why[c.Name] = c, why
	s.provided[c.Name] = s.u.provides(c)
	for _, p := range s.provided[c.Name] {
		s.offers[p.Name] = append(s.offers[p.Name], c.Name)
	}
	for _, f := range []struct{ name, value string }{{"Pre-Depends", c.PreDepends}, {"Depends", c.Depends}} {
		clauses, err := parseDepends(f.value, s.u.arch)
		if err != nil {
			s.errs = append(s.errs, fmt.Errorf("%s: %s: %w", c, f.name, err))
			continue
		}
		for _, cl := range clauses {
			d := demand{c, f.name, cl}
			s.clauses[c.Name] = append(s.clauses[c.Name], d)
			if len(cl) == 1 && s.u.best[cl[0].Name] != nil {
				s.hard = append(s.hard, d)
			} else {
				s.soft = append(s.soft, d)
			}
		}
	}
}

// meet makes sure that a demand is met, and selects a package where it is not.
func (s *solver) meet(d demand) error {
	if s.isMet(d.clause, true) {
		return nil
	}
	for _, r := range d.clause {
		if c := s.u.best[r.Name]; c != nil && s.sel[r.Name] == nil && s.u.isMet(r, c) {
			s.add(c, reason{by: d.by, field: d.field, clause: d.clause})
			return nil
		}
		if s.u.partial {
			return errIncomplete
		}
		for _, c := range s.u.providers(r.Name) {
			if s.sel[c.Name] == nil && !s.w.omits(c.Name) && s.u.isProvided(r, c, s.u.provides(c)) {
				s.add(c, reason{by: d.by, field: d.field, clause: d.clause})
				return nil
			}
		}
	}
	s.errs = append(s.errs, s.unmet(d))
	return nil
}

// isMet says whether any alternative is there. Packages that the profile
// leaves out count as there if omissions says so.
func (s *solver) isMet(cl clause, omissions bool) bool {
	for _, r := range cl {
		if omissions && s.leftOut(r) != "" {
			return true
		}
		if c := s.sel[r.Name]; c != nil && s.u.isMet(r, c) {
			return true
		}
		for _, name := range s.offers[r.Name] {
			if s.u.isProvided(r, s.sel[name], s.provided[name]) {
				return true
			}
		}
	}
	return false
}

// leftOut returns the package that is left out and that a relation could mean.
func (s *solver) leftOut(r relation) string {
	if s.w.omits(r.Name) {
		return r.Name
	}
	for _, name := range s.w.Omit {
		if c := s.u.best[name]; c != nil && c.Provides != "" && s.u.isProvided(r, c, s.u.provides(c)) {
			return name
		}
	}
	return ""
}

// findOmitted notes which packages left out something selected depends on.
func (s *solver) findOmitted() {
	for name := range s.sel {
		for _, d := range s.clauses[name] {
			if s.isMet(d.clause, false) {
				continue
			}
			for _, r := range d.clause {
				if out := s.leftOut(r); out != "" {
					s.omitted[out] = true
					break
				}
			}
		}
	}
}

// findConflicts notes every pair of selected packages that can not be
// installed together.
func (s *solver) findConflicts() {
	for _, name := range sortedKeys(s.sel) {
		c := s.sel[name]
		for _, f := range []struct{ name, value string }{{"Conflicts", c.Conflicts}, {"Breaks", c.Breaks}} {
			clauses, err := parseDepends(f.value, s.u.arch)
			if err != nil {
				s.errs = append(s.errs, fmt.Errorf("%s: %s: %w", c, f.name, err))
				continue
			}
			for _, cl := range clauses {
				for _, r := range cl {
					for _, other := range s.hit(r, name) {
						s.errs = append(s.errs, s.conflict(c, f.name, r, other))
					}
				}
			}
		}
	}
}

// hit returns the selected packages, the one that asks excepted, that a
// Conflicts or Breaks relation means.
func (s *solver) hit(r relation, self string) []*candidate {
	if r.Arch == "any" {
		r.Arch = ""
	}
	var out []*candidate
	if c := s.sel[r.Name]; c != nil && c.Name != self && s.u.isMet(r, c) {
		out = append(out, c)
	}
	for _, name := range s.offers[r.Name] {
		c := s.sel[name]
		if name != self && name != r.Name && !slices.Contains(out, c) && s.u.isProvided(r, c, s.provided[name]) {
			out = append(out, c)
		}
	}
	return out
}
