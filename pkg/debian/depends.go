package debian

import (
	"fmt"
	"regexp"
	"strings"
)

// relation is one alternative of a dependency field: NAME[:ARCH] [(OP VERSION)].
type relation struct {
	Name    string
	Arch    string // any, native or an architecture's name; empty if not said
	Op      string // <<, <=, =, >=, >>; empty without a version
	Version string
}

func (r relation) String() string {
	s := r.Name
	if r.Arch != "" {
		s += ":" + r.Arch
	}
	if r.Op != "" {
		s += " (" + r.Op + " " + r.Version + ")"
	}
	return s
}

// allows says whether a version satisfies the relation.
func (r relation) allows(version string) bool {
	if r.Op == "" {
		return true
	}
	c := CompareVersions(version, r.Version)
	switch r.Op {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	default:
		return c > 0
	}
}

// clause is a list of alternatives.
type clause []relation

func (c clause) String() string {
	parts := make([]string, len(c))
	for i, r := range c {
		parts[i] = r.String()
	}
	return strings.Join(parts, " | ")
}

var (
	relationForm = regexp.MustCompile(`^([a-z0-9][a-z0-9+.-]+)(?::([a-z0-9][a-z0-9-]*))?\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([^\s()]+)\s*\))?\s*(?:\[([^\][]*)\])?$`)
	spaceRuns    = regexp.MustCompile(`\s+`)
)

// parseDepends parses a dependency field, deb-control(5), for a Debian
// architecture: what is restricted to others is left out.
func parseDepends(field, arch string) ([]clause, error) {
	var out []clause
	for _, part := range strings.Split(field, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue // a trailing comma is common
		}
		var c clause
		for _, alt := range strings.Split(part, "|") {
			alt = spaceRuns.ReplaceAllString(strings.TrimSpace(alt), " ")
			m := relationForm.FindStringSubmatch(alt)
			if m == nil {
				return nil, fmt.Errorf("%q is not a dependency", alt)
			}
			r := relation{Name: m[1], Arch: m[2], Op: m[3], Version: m[4]}
			switch r.Op { // deprecated forms, which mean "or equal"
			case "<":
				r.Op = "<="
			case ">":
				r.Op = ">="
			}
			if r.Op != "" && !ValidVersion(r.Version) {
				return nil, fmt.Errorf("%q: %q is not a version", alt, r.Version)
			}
			applies, err := restricted(m[5], arch)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", alt, err)
			}
			if applies {
				c = append(c, r)
			}
		}
		if len(c) > 0 {
			out = append(out, c)
		}
	}
	return out, nil
}

// restricted says whether an architecture restriction list lets arch in.
func restricted(list, arch string) (bool, error) {
	names := strings.Fields(list)
	if len(names) == 0 {
		return true, nil
	}
	negated := strings.HasPrefix(names[0], "!")
	found := false
	for _, n := range names {
		name, not := strings.CutPrefix(n, "!")
		if not != negated {
			return false, fmt.Errorf("restriction [%s] has architectures both with and without ! before them", list)
		}
		found = found || matchArch(name, arch)
	}
	return found != negated, nil
}

// matchArch matches an architecture wildcard; all of ours are linux.
func matchArch(pattern, arch string) bool {
	switch pattern {
	case arch, "any", "linux-any", "any-" + arch, "linux-" + arch:
		return true
	}
	return false
}
