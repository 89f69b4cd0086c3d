package vex

import (
	"slices"
	"strings"
	"time"

	packageurl "github.com/anchore/packageurl-go"
)

// Rank says whose word counts more.
type Rank int

// The ranks, lowest first.
const (
	ByAnalysis Rank = iota // a program found it out
	Attached               // it goes with the image
	ByHand                 // whoever asks gave it
)

// analysed begins the status notes of statements that no human made.
const analysed = "Found by call analysis"

// Set is all that is said by documents of several ranks.
type Set struct{ all []said }

type said struct {
	doc  *Document
	rank Rank
	from string
}

// Add takes a document in. from says for people where it is from.
func (s *Set) Add(d *Document, rank Rank, from string) {
	s.all = append(s.all, said{d, rank, from})
}

// Subject is what something is to be said about.
type Subject struct {
	Vulnerability []string // all of its identifiers
	Image         []string // package URLs of the image and of the index that it is in
	Package       string   // package URL of the part
}

// Found is the statement that counts.
type Found struct {
	Statement
	At     time.Time
	Rank   Rank
	From   string
	Author string
}

// Find is the statement that counts about a subject, or nil. Of a higher rank
// counts before a newer one; of the same time the one that was added last.
// What goes with the image and was found by analysis counts as analysis does.
func (s *Set) Find(about Subject) *Found {
	var best *Found
	for _, one := range s.all {
		for _, st := range one.doc.Statements {
			if !st.names(about.Vulnerability) || !st.isAbout(about) {
				continue
			}
			f := &Found{Statement: st, At: one.doc.Timestamp, Rank: one.rank, From: one.from, Author: one.doc.Author}
			for _, t := range []*time.Time{st.Timestamp, st.LastUpdated} {
				if t != nil {
					f.At = *t
				}
			}
			if f.Rank == Attached && strings.HasPrefix(st.StatusNotes, analysed) {
				f.Rank = ByAnalysis
			}
			if best == nil || f.Rank > best.Rank || f.Rank == best.Rank && !f.At.Before(best.At) {
				best = f
			}
		}
	}
	return best
}

func (s *Statement) names(any []string) bool {
	mine := append([]string{s.Vulnerability.Name, s.Vulnerability.ID}, s.Vulnerability.Aliases...)
	return slices.ContainsFunc(mine, func(m string) bool {
		m = m[strings.LastIndexByte(m, '/')+1:] // of an IRI the last part
		return m != "" && slices.ContainsFunc(any, func(a string) bool { return strings.EqualFold(a, m) })
	})
}

// isAbout says whether a statement is about a part of an image. A product is
// the image, or the part itself; one without subcomponents is about all parts.
func (s *Statement) isAbout(about Subject) bool {
	return slices.ContainsFunc(s.Products, func(p Product) bool {
		if p.isAny([]string{about.Package}) {
			return true
		}
		if !p.isAny(about.Image) {
			return false
		}
		return len(p.Subcomponents) == 0 || slices.ContainsFunc(p.Subcomponents, func(c Component) bool { return c.isAny([]string{about.Package}) })
	})
}

func (c *Component) isAny(purls []string) bool {
	for _, name := range []string{c.ID, c.Identifiers["purl"]} {
		if name == "" {
			continue
		}
		if slices.ContainsFunc(purls, func(p string) bool { return covers(name, p) }) {
			return true
		}
	}
	return false
}

// covers says whether a package URL in a statement means another: what it does
// not mention, a version or a qualifier, may be anything.
func covers(said, is string) bool {
	if said == is {
		return true
	}
	a, err := packageurl.FromString(said)
	if err != nil {
		return false
	}
	b, err := packageurl.FromString(is)
	if err != nil {
		return false
	}
	if !strings.EqualFold(a.Type, b.Type) || a.Namespace != b.Namespace || a.Name != b.Name || a.Version != "" && a.Version != b.Version {
		return false
	}
	has := b.Qualifiers.Map()
	for k, v := range a.Qualifiers.Map() {
		// Where an image is does not change what it is; nor does what a
		// scanner adds of a package's source.
		if k == "repository_url" || k == "tag" || k == "upstream" || k == "distro" {
			continue
		}
		if has[k] != v {
			return false
		}
	}
	return true
}
