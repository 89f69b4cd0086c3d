package etcd

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DefaultToolchain compiles where a profile names no toolchain: the newest Go
// release at the time of this one.
const DefaultToolchain = "go1.27.4"

// Line is one minor release line of etcd and how its binaries are compiled.
type Line struct {
	Name     string            // "3.6"
	Modules  []string          // module paths that the wrapper module requires, sorted
	Programs map[string]string // binary name → import path of its main package
	Identity string            // the module whose version and checksum are etcd's own
	GitSHA   string            // the variable that the linker sets to the identity
	Go       string            // the wrapper's go line; it decides the default GODEBUG settings
	Newest   string            // the newest version of the line, pinned in lines/
}

// server, ctl and utl are the modules of etcd since 3.5.
const (
	server = "go.etcd.io/etcd/server/v3"
	ctl    = "go.etcd.io/etcd/etcdctl/v3"
	utl    = "go.etcd.io/etcd/etcdutl/v3"
)

// catalogue returns the lines that can be built, oldest first.
//
// The wrapper modules of the newest versions are in lines/, as VERSION.mod,
// VERSION.sum and VERSION.info: the go command's go.mod and go.sum, and the
// module proxy's answer about the version's date. To raise one, change Newest
// and let resolving write the files:
//
//	go test -tags e2e ./pkg/etcd -run TestEmbeddedPinsAreWhatResolvingGives -update
func catalogue() []Line {
	modules := []string{ctl, utl, server}
	programs := map[string]string{"etcd": server, "etcdctl": ctl, "etcdutl": utl}
	const sha = "go.etcd.io/etcd/api/v3/version.GitSHA"
	return []Line{
		{Name: "3.5", Newest: "3.5.35", Modules: modules, Programs: programs, Identity: server, GitSHA: sha, Go: "1.26.0"},
		{Name: "3.6", Newest: "3.6.16", Modules: modules, Programs: programs, Identity: server, GitSHA: sha, Go: "1.26.0"},
		{Name: "3.7", Newest: "3.7.3", Modules: modules, Programs: programs, Identity: server, GitSHA: sha, Go: "1.26.0"},
	}
}

// Lines returns the lines that can be built, oldest first. The caller may
// change what it gets.
func Lines() []Line { return catalogue() }

// line returns the catalogue's row for a version.
func line(v version) (Line, error) {
	lines := catalogue()
	i := slices.IndexFunc(lines, func(l Line) bool { return l.Name == v.line() })
	if i < 0 {
		names := make([]string, len(lines))
		for i, l := range lines {
			names[i] = l.Name
		}
		return Line{}, fmt.Errorf("etcd %s is not in the catalogue; choose a version of the lines %s", v.line(), strings.Join(names, ", "))
	}
	return lines[i], nil
}

// moduleVersion is the version under which the line's modules have v.
func (l Line) moduleVersion(v version) string { return "v" + v.String() }

// only returns the line with none but the given programs, and the modules that
// these and the identity need; with all of them where none is given.
func (l Line) only(binaries []string) Line {
	if len(binaries) == 0 {
		return l
	}
	programs, needed := map[string]string{}, map[string]bool{l.Identity: true}
	for _, name := range binaries {
		programs[name] = l.Programs[name]
		needed[l.module(l.Programs[name])] = true
	}
	l.Programs = programs
	l.Modules = slices.DeleteFunc(slices.Clone(l.Modules), func(m string) bool { return !needed[m] })
	return l
}

// module is the module of the line that a package belongs to.
func (l Line) module(pkg string) string {
	longest := ""
	for _, m := range l.Modules {
		if (pkg == m || strings.HasPrefix(pkg, m+"/")) && len(m) > len(longest) {
			longest = m
		}
	}
	return longest
}

// program is the name of a program that comes from a module of the line.
func (l Line) program(m string) string {
	for _, name := range l.binaries() {
		if l.module(l.Programs[name]) == m {
			return name
		}
	}
	return "part"
}

// binaries are the names of the line's programs, sorted.
func (l Line) binaries() []string {
	names := make([]string, 0, len(l.Programs))
	for name := range l.Programs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

//go:embed lines/*.mod lines/*.sum lines/*.info
var lines embed.FS

// wrapper is a wrapper module as the go command completed it.
type wrapper struct {
	GoMod, GoSum string
	Date         time.Time // of the identity module's version, UTC
}

// embedded returns the wrapper that this release of etcdimg carries for v.
func embedded(v version) (wrapper, bool, error) {
	read := func(ending string) []byte {
		b, err := lines.ReadFile("lines/" + v.String() + ending)
		if err != nil {
			return nil
		}
		return b
	}
	mod, sum, info := read(".mod"), read(".sum"), read(".info")
	if mod == nil || sum == nil || info == nil {
		return wrapper{}, false, nil
	}
	var at struct{ Time time.Time }
	if err := json.Unmarshal(info, &at); err != nil {
		return wrapper{}, false, fmt.Errorf("reading the embedded date of etcd %s: %w", v, err)
	}
	return wrapper{GoMod: string(mod), GoSum: string(sum), Date: at.Time.UTC()}, true, nil
}
