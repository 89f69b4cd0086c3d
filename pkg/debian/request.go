package debian

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// Request is what a profile asks of the archives.
type Request struct {
	Repositories []string // ARCHIVE SUITE COMPONENT…, each
	Packages     []string // NAME, NAME=VERSION, !NAME, @essential or @required, each
	Archs        []string // GOARCH
	Keyring      [][]byte // contents of further keyring files, armored or binary

	// Keep are packages, by GOARCH, that stay as a lock has them wherever they
	// are needed, whatever the indexes offer.
	Keep map[string][]lock.Package
}

// Groups of packages that a profile can ask for by one word.
const (
	groupEssential = "@essential" // Essential: yes
	groupRequired  = "@required"  // Essential: yes, or Priority: required
)

// wanted is the package list of a request, understood.
type wanted struct {
	Names  []string          `json:"names"` // sorted; pinned ones included
	Pins   map[string]string `json:"pins"`  // name → version
	Omit   []string          `json:"omit"`  // sorted
	Groups []string          `json:"groups"`
}

func (w *wanted) omits(name string) bool {
	_, found := slices.BinarySearch(w.Omit, name)
	return found
}

// CheckPackage says what is wrong with one item of a profile's packages, nil
// if nothing is.
func CheckPackage(item string) error {
	_, err := parsePackages([]string{item})
	return err
}

func parsePackages(items []string) (*wanted, error) {
	w := &wanted{Pins: map[string]string{}}
	names, omit := map[string]bool{}, map[string]bool{}
	var errs []error
	bad := func(item, format string, args ...any) {
		errs = append(errs, fmt.Errorf("package %q: %s: write NAME, NAME=VERSION, !NAME, %s or %s", item, fmt.Sprintf(format, args...), groupEssential, groupRequired))
	}
	for _, item := range items {
		switch {
		case item == groupEssential || item == groupRequired:
			if !slices.Contains(w.Groups, item) {
				w.Groups = append(w.Groups, item)
			}
		case strings.HasPrefix(item, "@"):
			bad(item, "there is no such group")
		case strings.HasPrefix(item, "!"):
			if !packageName.MatchString(item[1:]) {
				bad(item, "%q is not a package name", item[1:])
				continue
			}
			omit[item[1:]] = true
		default:
			name, version, pinned := strings.Cut(item, "=")
			if !packageName.MatchString(name) {
				bad(item, "%q is not a package name", name)
				continue
			}
			names[name] = true
			if !pinned {
				continue
			}
			if !ValidVersion(version) {
				bad(item, "%q is not a version", version)
				continue
			}
			if old, ok := w.Pins[name]; ok && old != version {
				bad(item, "it is pinned to %s, too", old)
			}
			w.Pins[name] = version
		}
	}
	for name := range omit {
		if names[name] {
			errs = append(errs, fmt.Errorf("package %q is both asked for and left out: remove %s or !%s", name, name, name))
		}
	}
	w.Names, w.Omit = sortedKeys(names), sortedKeys(omit)
	slices.Sort(w.Groups)
	return w, errors.Join(errs...)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
