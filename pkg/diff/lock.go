package diff

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/modfile"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// Locks tells what changed between two locks. Without any change their images
// have the same bytes.
func Locks(old, new *lock.Lock) ([]Change, error) {
	var out []Change
	if old.FormatVersion != new.FormatVersion {
		out = append(out, Change{Kind: Format, Name: "images", Old: strconv.Itoa(old.FormatVersion), New: strconv.Itoa(new.FormatVersion)})
	}
	out = append(out, etcds(old.Etcd, new.Etcd)...)
	out = append(out, packages(old.Debian, new.Debian)...)
	out = append(out, suites(old.Suites, new.Suites)...)
	config, err := Configs(old.Config, new.Config)
	if err != nil {
		return nil, err
	}
	out = append(out, config...)
	out = append(out, pairs(File, "", localFiles(old.Files), localFiles(new.Files))...)
	rest, err := others(old, new)
	if err != nil {
		return nil, err
	}
	return append(out, rest...), nil
}

// Configs tells which keys two JSON documents differ in, resolved profiles or
// configurations of images.
func Configs(old, new []byte) ([]Change, error) {
	differ, err := lock.Differences(orEmpty(old), orEmpty(new))
	if err != nil {
		return nil, err
	}
	var out []Change
	for _, d := range differ {
		out = append(out, Change{Kind: Config, Name: d.Key, Old: d.Old, New: d.New})
	}
	return out, nil
}

func orEmpty(b []byte) []byte {
	if len(b) == 0 {
		return []byte("{}")
	}
	return b
}

// others compares what of locks no other comparison looks at.
func others(old, new *lock.Lock) ([]Change, error) {
	strip := func(l *lock.Lock) ([]byte, error) {
		rest := *l
		rest.Config, rest.Profile, rest.Files, rest.FormatVersion = json.RawMessage("{}"), "", nil, 0
		rest.Etcd, rest.Suites, rest.Debian = nil, nil, nil
		return json.Marshal(&rest)
	}
	a, err := strip(old)
	if err != nil {
		return nil, err
	}
	b, err := strip(new)
	if err != nil {
		return nil, err
	}
	out, err := Configs(a, b)
	for i := range out {
		out[i].Kind = Other
	}
	return out, err
}

func localFiles(files []lock.LocalFile) map[string]string {
	m := map[string]string{}
	for _, f := range files {
		m[f.Path] = "sha256:" + f.SHA256
	}
	return m
}

// pairs compares two maps from names to values.
func pairs(kind Kind, of string, old, new map[string]string) []Change {
	names := maps.Clone(old)
	maps.Copy(names, new)
	var out []Change
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if old[name] != new[name] {
			out = append(out, Change{Kind: kind, Name: name, Of: of, Old: old[name], New: new[name]})
		}
	}
	return out
}

func etcds(old, new []lock.Etcd) []Change {
	var out []Change
	find := func(all []lock.Etcd, version string) *lock.Etcd {
		i := slices.IndexFunc(all, func(e lock.Etcd) bool { return e.Version == version })
		if i < 0 {
			return nil
		}
		return &all[i]
	}
	if len(old) == 1 && len(new) == 1 && old[0].Version != new[0].Version {
		out = append(out, Change{Kind: Etcd, Name: "version", Old: old[0].Version, New: new[0].Version})
		return append(out, etcd(old[0], new[0])...)
	}
	for _, e := range old {
		if find(new, e.Version) == nil {
			out = append(out, Change{Kind: Etcd, Name: "version", Old: e.Version})
		}
	}
	for _, e := range new {
		if before := find(old, e.Version); before == nil {
			out = append(out, Change{Kind: Etcd, Name: "version", New: e.Version})
		} else {
			out = append(out, etcd(*before, e)...)
		}
	}
	return out
}

// etcd compares the pins of one etcd version, or of one that took the place of
// another.
func etcd(old, new lock.Etcd) []Change {
	of := "etcd " + new.Version
	var out []Change
	if old.Toolchain != new.Toolchain {
		out = append(out, Change{Kind: Toolchain, Name: "go", Of: of, Old: old.Toolchain, New: new.Toolchain})
	}
	moved := pairs(Module, of, modules(old.GoMod), modules(new.GoMod))
	out = append(out, moved...)
	if len(moved) == 0 && (old.GoMod != new.GoMod || old.GoSum != new.GoSum) {
		out = append(out, Change{Kind: Module, Name: "go.mod and go.sum", Of: of, Old: short(old.GoMod + old.GoSum), New: short(new.GoMod + new.GoSum)})
	}
	out = append(out, pairs(Etcd, of, etcdFacts(old), etcdFacts(new))...)
	return out
}

// etcdFacts are what a pin says beside its modules.
func etcdFacts(e lock.Etcd) map[string]string {
	facts := map[string]string{}
	for name, v := range e.Settings {
		facts[name] = v
	}
	for _, edit := range e.Edits {
		b, err := json.Marshal(edit.Files)
		if err != nil {
			panic(err) // strings and numbers only
		}
		facts["edit of "+edit.Module+" "+edit.Version] = short(string(b))
	}
	if e.Release != nil {
		facts["signature of the release"] = e.Release.Signature
		for arch, a := range e.Release.Archives {
			facts["release for "+arch] = a.Path + " sha256:" + a.SHA256
		}
	}
	for name, pkg := range e.Packages {
		facts[name] = pkg
	}
	return facts
}

// short is a digest for people.
func short(s string) string { return "sha256:" + lock.Sum([]byte(s))[:12] }

// modules are the modules that a go.mod requires, with their versions.
func modules(goMod string) map[string]string {
	found := map[string]string{}
	f, err := modfile.ParseLax("go.mod", []byte(goMod), nil)
	if err != nil {
		return found // a lock whose go.mod is none can not be built, and is told then
	}
	for _, r := range f.Require {
		found[r.Mod.Path] = r.Mod.Version
	}
	for _, r := range f.Replace {
		found[r.Old.Path] = strings.TrimSpace(r.New.Path + " " + r.New.Version)
	}
	return found
}

// packages compares package sets; what is the same for several architectures
// is told once.
func packages(old, new []lock.Debian) []Change {
	sets := map[string][2]map[string]lock.Package{}
	for i, side := range [][]lock.Debian{old, new} {
		for _, d := range side {
			pair := sets[d.Arch]
			pair[i] = map[string]lock.Package{}
			for _, p := range d.Packages {
				pair[i][p.Name] = p
			}
			sets[d.Arch] = pair
		}
	}
	var out []Change
	for _, arch := range slices.Sorted(maps.Keys(sets)) {
		was, is := sets[arch][0], sets[arch][1]
		names := maps.Clone(was)
		if names == nil {
			names = map[string]lock.Package{}
		}
		maps.Copy(names, is)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			a, b := was[name], is[name]
			if a.SHA256 == b.SHA256 {
				continue
			}
			c := Change{Kind: Package, Name: name, Old: a.Version, New: b.Version, Archs: []string{arch}, Security: b.Archive == "debian-security"}
			if c.Old == c.New { // built anew, or changed in place
				c.Old, c.New = c.Old+" sha256:"+a.SHA256, c.New+" sha256:"+b.SHA256
			}
			out = append(out, c)
		}
	}
	return merge(out)
}

// merge brings together changes that differ in their architectures alone.
func merge(changes []Change) []Change {
	var out []Change
	for _, c := range changes {
		archs := c.Archs
		i := slices.IndexFunc(out, func(o Change) bool {
			o.Archs, c.Archs = nil, nil
			return reflect.DeepEqual(o, c)
		})
		if i < 0 {
			c.Archs = archs
			out = append(out, c)
			continue
		}
		out[i].Archs = append(out[i].Archs, archs...)
	}
	slices.SortStableFunc(out, func(a, b Change) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func suites(old, new []lock.Suite) []Change {
	facts := func(all []lock.Suite) map[string]string {
		m := map[string]string{}
		for _, s := range all {
			v := s.Date.Format(time.RFC3339)
			if s.Skipped != "" {
				v = "skipped"
			}
			m[fmt.Sprintf("%s %s %s for %s", s.Archive, s.Suite, strings.Join(s.Components, " "), s.Arch)] = v
		}
		return m
	}
	return pairs(Suite, "", facts(old), facts(new))
}
