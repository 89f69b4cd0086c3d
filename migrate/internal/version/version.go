// Package version holds etcd's version numbers, the minor lines they belong to,
// and version.txt, the file that says which version a data directory is for.
//
// It must not know what a version can do: that is the planner's table.
package version

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Version is a semantic version (semver.org 2.0.0) without build metadata:
// the numbers are below 2^31, Pre is "" or the part after the hyphen.
type Version struct {
	Major, Minor, Patch int
	Pre                 string
}

// Line is a minor line of etcd. Versions of one line read each other's data.
type Line struct{ Major, Minor int }

var numbered = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?$`)

// Parse reads "3.5.35" or "3.8.0-alpha.0".
func Parse(s string) (Version, error) {
	m := numbered.FindStringSubmatch(s)
	if m == nil {
		return Version{}, fmt.Errorf("%q is not a version such as 3.5.35", s)
	}
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1]) // nine digits at most
	}
	return Version{n[0], n[1], n[2], m[4]}, nil
}

// ParseLine reads "3.5", and the line of "3.5.0".
func ParseLine(s string) (Line, error) {
	if strings.Count(s, ".") == 1 {
		s += ".0"
	}
	v, err := Parse(s)
	return v.Line(), err
}

func (v Version) String() string {
	s := fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
	if v.Pre != "" {
		s += "-" + v.Pre
	}
	return s
}

// Line is the minor line that a version belongs to.
func (v Version) Line() Line { return Line{v.Major, v.Minor} }

// Compare orders versions as semver §11 does.
func (v Version) Compare(w Version) int {
	return cmp.Or(
		v.Line().Compare(w.Line()),
		cmp.Compare(v.Patch, w.Patch),
		comparePre(v.Pre, w.Pre),
	)
}

func comparePre(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "":
		return 1
	case b == "":
		return -1
	}
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		an, aerr := strconv.Atoi(as[i])
		bn, berr := strconv.Atoi(bs[i])
		c := 0
		switch {
		case aerr == nil && berr == nil:
			c = cmp.Compare(an, bn)
		case aerr == nil:
			c = -1 // numbers come before words
		case berr == nil:
			c = 1
		default:
			c = cmp.Compare(as[i], bs[i])
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

func (l Line) String() string { return fmt.Sprintf("%d.%d", l.Major, l.Minor) }

// Compare orders lines by age.
func (l Line) Compare(m Line) int {
	return cmp.Or(cmp.Compare(l.Major, m.Major), cmp.Compare(l.Minor, m.Minor))
}

// Before says whether l is an older line than m.
func (l Line) Before(m Line) bool { return l.Compare(m) < 0 }

// Next is the line after l; 3.0 is the one after 2.3.
func (l Line) Next() Line {
	if l == (Line{2, 3}) {
		return Line{3, 0}
	}
	return Line{l.Major, l.Minor + 1}
}
