package etcd

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// version is an etcd version as its project writes it, without the v:
// MAJOR.MINOR.PATCH, with -PRERELEASE where there is one (semver 2.0.0).
type version struct {
	major, minor, patch int
	pre                 string // without the dash
}

var versionForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})(?:-((?:alpha|beta|rc)\.(?:0|[1-9][0-9]{0,3})))?$`)

// parseVersion reads a complete version. Its errors say how to write one.
func parseVersion(s string) (version, error) {
	m := versionForm.FindStringSubmatch(s)
	if m == nil {
		if rest, ok := strings.CutPrefix(s, "v"); ok && versionForm.MatchString(rest) {
			return version{}, fmt.Errorf("%q is a tag; write the version without its v: %s", s, rest)
		}
		for _, l := range catalogue() {
			if s == l.Name {
				return version{}, fmt.Errorf("%q names a line; write a complete version, such as %s", s, l.Newest)
			}
		}
		return version{}, fmt.Errorf("%q is not an etcd version; write MAJOR.MINOR.PATCH, such as %s", s, newest())
	}
	v := version{pre: m[4]}
	for i, n := range []*int{&v.major, &v.minor, &v.patch} {
		*n, _ = strconv.Atoi(m[i+1]) // at most four digits
	}
	return v, nil
}

// newest is the newest version that is no pre-release.
func newest() string {
	for _, l := range slices.Backward(catalogue()) {
		if !strings.Contains(l.Newest, "-") {
			return l.Newest
		}
	}
	return ""
}

func (v version) String() string {
	s := fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch)
	if v.pre != "" {
		s += "-" + v.pre
	}
	return s
}

// line is the minor release line that the version belongs to.
func (v version) line() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }
