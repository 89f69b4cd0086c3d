// Package matrix lists what a CI system builds on machines of their own: one
// row for each profile, architecture and, where that was asked for, version of
// etcd; and tells which of them a change can not have touched.
//
// It must not know where changes come from, or which CI system asks.
package matrix

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/profile"
)

// Row is what one runner builds.
type Row struct {
	Profile string `json:"profile"` // the argument of build and publish
	Arch    string `json:"arch"`    // GOARCH
	Etcd    string `json:"etcd"`    // the default version of etcd
	Name    string `json:"name"`    // of the job, and fit for files and artifacts; no two rows have the same
	Runner  string `json:"runner,omitempty"`
}

// Profile is a profile and what it was asked for by.
type Profile struct {
	Argument string
	Profile  *profile.Profile
}

// Options say which rows there are.
type Options struct {
	Archs    []profile.Arch    // these only, as far as a profile has them; nil for all
	Versions []string          // a row for each of these versions of etcd, in place of the profile's
	Runners  map[string]string // GOARCH → label of the machine; "" is the label for all others
}

// Rows are the rows of the profiles, in their order, each by version and then
// by architecture.
func Rows(profiles []Profile, o Options) ([]Row, error) {
	var rows []Row
	for _, p := range profiles {
		versions := o.Versions
		if len(versions) == 0 {
			versions = []string{""}
			if v := p.Profile.Etcd.Versions; len(v) > 0 {
				versions[0] = v[0]
			}
		}
		for _, version := range versions {
			if len(o.Versions) > 0 {
				chosen := *p.Profile
				if err := chosen.ChooseEtcd(version, "etcd version "+version); err != nil {
					return nil, fmt.Errorf("%s: %w", p.Argument, err)
				}
			}
			for _, arch := range p.Profile.Archs {
				if o.Archs != nil && !slices.Contains(o.Archs, arch) {
					continue
				}
				name := baseName(p.Argument)
				if len(o.Versions) > 0 {
					name += "-" + version
				}
				runner, ok := o.Runners[string(arch)]
				if !ok {
					runner = o.Runners[""]
				}
				rows = append(rows, Row{Profile: p.Argument, Arch: string(arch), Etcd: version, Name: name + "-" + string(arch), Runner: runner})
			}
		}
	}
	return rows, unique(rows)
}

// unfit is what names of jobs, files and artifacts do without.
var unfit = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

func baseName(argument string) string {
	base := filepath.Base(argument)
	return fit(strings.TrimSuffix(base, filepath.Ext(base)))
}

func fit(s string) string { return strings.Trim(unfit.ReplaceAllString(s, "-"), "-.") }

// unique names rows of profiles that are called alike by their whole paths.
func unique(rows []Row) error {
	profiles := map[string]map[string]bool{} // name → arguments
	for _, r := range rows {
		if profiles[r.Name] == nil {
			profiles[r.Name] = map[string]bool{}
		}
		profiles[r.Name][r.Profile] = true
	}
	seen := map[string]string{}
	for i := range rows {
		r := &rows[i]
		if len(profiles[r.Name]) > 1 {
			r.Name = fit(strings.TrimSuffix(r.Profile, filepath.Ext(r.Profile))) + strings.TrimPrefix(r.Name, baseName(r.Profile))
		}
		if other, ok := seen[r.Name]; ok {
			if other == r.Profile {
				return fmt.Errorf("%s for %s is there twice: name it once", r.Profile, r.Arch)
			}
			return fmt.Errorf("%s and %s would have one name, %s: rename one of them", other, r.Profile, r.Name)
		}
		seen[r.Name] = r.Profile
	}
	return nil
}
