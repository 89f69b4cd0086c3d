package report

import (
	"slices"

	"github.com/etcdimg/etcdimg/pkg/diff"
)

// vouched is what is said about digests of the image in the same way by the
// same, and whether that was verified.
type vouched struct {
	What  string
	Form  string
	By    string
	Mark  mark
	About []about
}

// about is one subject of a statement.
type about struct {
	Name   string // index, amd64
	Digest string // of the statement; of the subject for signatures
}

// vouched merges signatures that differ in their subject only.
func (p *page) vouched() []vouched {
	var all []vouched
	for _, s := range p.Signatures {
		v := vouched{What: "the image", Form: s.Form, By: s.By, Mark: verified(s.Verified)}
		if s.PredicateType != "" {
			v.What = predicateInWords(s.PredicateType)
		}
		all = merge(all, v, about{p.subject(s.Subject), s.Subject})
	}
	return all
}

func (p *page) said() []vouched {
	var all []vouched
	for _, s := range p.Statements {
		all = merge(all, vouched{What: predicateInWords(s.Kind), By: s.Verified, Mark: verified(s.Verified != "")}, about{p.subject(s.Subject), s.Digest})
	}
	return all
}

func merge(all []vouched, v vouched, a about) []vouched {
	at := slices.IndexFunc(all, func(o vouched) bool { return o.What == v.What && o.Form == v.Form && o.By == v.By && o.Mark == v.Mark })
	if at < 0 {
		at = len(all)
		all = append(all, v)
	}
	all[at].About = append(all[at].About, a)
	return all
}

func verified(yes bool) mark {
	if yes {
		return mark{"verified", "good", "Verified"}
	}
	return mark{"not-verified", "warn", "Not verified"}
}

func predicateInWords(kind string) string {
	switch kind {
	case "spdxjson", "https://spdx.dev/Document":
		return "SBOM (SPDX)"
	case "cyclonedx", "https://cyclonedx.org/bom":
		return "SBOM (CycloneDX)"
	case "slsaprovenance1", "https://slsa.dev/provenance/v1":
		return "provenance (SLSA v1)"
	case "openvex", "https://openvex.dev/ns", "https://openvex.dev/ns/v0.2.0":
		return "VEX (OpenVEX)"
	}
	return kind
}

// changes are the changes of one kind.
type changes struct {
	Heading string
	Of      bool // some name what they are part of
	All     []change
}

type change struct {
	diff.Change
	Mark  mark
	Every bool // image has it
}

// long is from how many changes on they are folded on a screen.
const long = 40

// Long says whether there are so many changes that they hide what follows.
func (c changes) Long() bool { return len(c.All) > long }

func (p *page) changes() []changes {
	if p.Since == nil {
		return nil
	}
	var all []changes
	for _, c := range p.Since.Changes {
		heading := c.Kind.Heading()
		at := slices.IndexFunc(all, func(g changes) bool { return g.Heading == heading })
		if at < 0 {
			at = len(all)
			all = append(all, changes{Heading: heading})
		}
		v := change{Change: c, Mark: mark{"changed", "info", "Changed"}, Every: len(c.Archs) == 0 || p.everywhere(c.Archs)}
		switch {
		case c.Old == "":
			v.Mark = mark{"added", "good", "Added"}
		case c.New == "":
			v.Mark = mark{"removed", "warn", "Removed"}
		}
		all[at].Of = all[at].Of || c.Of != ""
		all[at].All = append(all[at].All, v)
	}
	return all
}
