package etcd

import (
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// DefaultToolchain compiles where a profile names no toolchain: the newest Go
// release at the time of this one.
const DefaultToolchain = "go1.27.4"

// Line is one minor release line of etcd: how its binaries are compiled, and
// how they are to be called.
type Line struct {
	Name     string            // "3.6"
	Newest   string            // the newest version of the line, pinned in lines/
	Modules  []string          // module paths that the wrapper module requires at etcd's version, sorted
	Programs map[string]string // binary name → import path of its main package
	Identity string            // the module whose version and checksum are etcd's own
	GitSHA   string            // the variable that the linker sets to the identity
	Go       string            // the wrapper's go line; it decides the default GODEBUG settings

	// Tags are the line's versions that the module proxy has, each with its
	// module version, where that does not follow from the version; there are no
	// others then. Nil means that any version may be asked for.
	Tags         map[string]string
	Incompatible bool        // module versions end in +incompatible: the line has no go.mod of its own
	Pinned       bool        // lines/NAME.pins has what the wrapper needs beside etcd: versions of dependencies, which old lines do not say, and settings
	Edits        []lock.Edit // modules that today's toolchain needs changed

	Conduct
}

// Conduct is what differs between lines for whoever runs their programs.
type Conduct struct {
	// Unsupported are the architectures (GOARCH) on which etcd starts only
	// with ETCD_UNSUPPORTED_ARCH set to the architecture.
	Unsupported []string
	Debug       string // the flag that makes etcd log all that it can
	V2          API    // the v2 API, and the v2 store behind it
	V2Flag      string // the flag that switches the v2 API on or off, without its value; "" where there is none
	CtlAPI      string // what etcdctl speaks where ETCDCTL_API is not set: "2" or "3"; "only 2", "only 3" where that variable has no effect
	Offline     string // the program that works on data directories while etcd is down: snapshot restore, backup
	OfflineCtl  bool   // etcdctl can, too: it was Offline once, and warns
}

// API is whether an API is served.
type API string

// The states that the v2 API has gone through.
const (
	On   API = "on"  // unless a flag switches it off
	Off  API = "off" // unless a flag switches it on
	Gone API = "gone"
)

// Modules of etcd: since 3.5, in 3.4, and before.
const (
	server = "go.etcd.io/etcd/server/v3"
	ctl    = "go.etcd.io/etcd/etcdctl/v3"
	utl    = "go.etcd.io/etcd/etcdutl/v3"

	single = "go.etcd.io/etcd"
	coreos = "github.com/coreos/etcd"
)

// catalogue returns the lines that can be built, oldest first.
//
// The wrapper modules of the newest versions are in lines/, as VERSION.mod,
// VERSION.sum and VERSION.info: the go command's go.mod and go.sum, and the
// module proxy's answer about the version's date. LINE.pins is the part of
// go.mod that is written by hand, edited.sum the part of go.sum for the modules
// that are edited, and bolt.go.txt a module of our own (edits.go). To raise a
// version, change Newest and let resolving write the files:
//
//	go test -tags e2e ./pkg/etcd -run TestEmbeddedPinsAreWhatResolvingGives -update
//
// and the table in docs/etcd-lines.md:
//
//	go test ./pkg/etcd -run TestDocumentedTableOfLines -update
func catalogue() []Line {
	old := Line{ // without a go.mod of its own
		Modules:  []string{coreos},
		Programs: map[string]string{"etcd": coreos, "etcdctl": coreos + "/etcdctl"},
		Identity: coreos, GitSHA: coreos + "/version.GitSHA", Go: "1.26.0", Incompatible: true,
	}
	middle := Line{ // one module
		Modules:  []string{single},
		Programs: map[string]string{"etcd": single, "etcdctl": single + "/etcdctl"},
		Identity: single, GitSHA: single + "/version.GitSHA", Go: "1.26.0",
	}
	split := Line{ // a module for each program
		Modules:  []string{ctl, utl, server},
		Programs: map[string]string{"etcd": server, "etcdctl": ctl, "etcdutl": utl},
		Identity: server, GitSHA: "go.etcd.io/etcd/api/v3/version.GitSHA", Go: "1.26.0",
	}
	row := func(l Line, name, newest string, c Conduct) Line {
		l.Name, l.Newest, l.Conduct = name, newest, c
		return l
	}
	with := func(l Line, change func(*Line)) Line {
		change(&l)
		return l
	}
	return []Line{
		with(row(old, "2.3", "2.3.8", Conduct{
			Unsupported: []string{"arm64", "ppc64le", "s390x"}, Debug: "--debug",
			V2: On, CtlAPI: "only 2", Offline: "etcdctl",
		}), func(l *Line) {
			l.Tags = map[string]string{"2.3.8": "v2.3.8+incompatible"}
			l.Edits = []lock.Edit{codecIn23()}
		}),
		with(row(old, "3.0", "3.0.17", Conduct{
			Unsupported: []string{"arm64", "ppc64le", "s390x"}, Debug: "--debug",
			V2: On, CtlAPI: "2", Offline: "etcdctl",
		}), func(l *Line) {
			l.Pinned, l.Edits = true, []lock.Edit{bolt(), systemd(), codec()}
		}),
		with(row(old, "3.1", "3.1.20", Conduct{
			Unsupported: []string{"arm64", "ppc64le", "s390x"}, Debug: "--debug",
			V2: On, CtlAPI: "2", Offline: "etcdctl",
		}), func(l *Line) { l.Pinned, l.Edits = true, []lock.Edit{codec()} }),
		with(row(old, "3.2", "3.2.32", Conduct{
			Unsupported: []string{"arm64", "s390x"}, Debug: "--debug",
			V2: On, V2Flag: "--enable-v2", CtlAPI: "2", Offline: "etcdctl",
		}), func(l *Line) { l.Pinned, l.Edits = true, []lock.Edit{codec()} }),
		with(row(old, "3.3", "3.3.27", Conduct{
			Unsupported: []string{"arm64", "s390x"}, Debug: "--debug",
			V2: On, V2Flag: "--enable-v2", CtlAPI: "2", Offline: "etcdctl",
		}), func(l *Line) { l.Pinned = true }),
		with(row(middle, "3.4", "3.4.26", Conduct{
			Unsupported: []string{"arm64", "s390x"}, Debug: "--log-level=debug",
			V2: Off, V2Flag: "--enable-v2", CtlAPI: "3", Offline: "etcdctl",
		}), func(l *Line) { l.Pinned, l.Tags = true, tags34() }),
		row(split, "3.5", "3.5.35", Conduct{
			Debug: "--log-level=debug", V2: Off, V2Flag: "--enable-v2", CtlAPI: "3", Offline: "etcdutl", OfflineCtl: true,
		}),
		row(split, "3.6", "3.6.16", Conduct{Debug: "--log-level=debug", V2: Gone, CtlAPI: "only 3", Offline: "etcdutl"}),
		row(split, "3.7", "3.7.3", Conduct{Debug: "--log-level=debug", V2: Gone, CtlAPI: "only 3", Offline: "etcdutl"}),
		with(row(split, "3.8", "3.8.0-alpha.0", Conduct{Debug: "--log-level=debug", V2: Gone, CtlAPI: "only 3", Offline: "etcdutl"}),
			func(l *Line) {
				// Its modules require one another as they were before the tag.
				l.Modules = []string{single + "/api/v3", single + "/client/pkg/v3", single + "/client/v3", ctl, utl, single + "/pkg/v3", server}
				l.Pinned = true
			}),
	}
}

// tags34 are the versions of 3.4. Its tags are no module versions, as its
// module path has no /v3, so each is known by the pseudo-version of its commit.
func tags34() map[string]string {
	return map[string]string{
		"3.4.3":  "v0.0.0-20191023171146-3cf2f69b5738",
		"3.4.9":  "v0.0.0-20200520232829-54ba9589114f",
		"3.4.13": "v0.5.0-alpha.5.0.20200824191128-ae9734ed278b",
		"3.4.15": "v0.5.0-alpha.5.0.20210226220824-aa7126864d82",
		"3.4.16": "v0.5.0-alpha.5.0.20210512015243-d19fbe541bf9",
		"3.4.24": "v0.5.0-alpha.5.0.20230216013900-6d1bfe4f9927",
		"3.4.26": "v0.5.0-alpha.5.0.20230512014047-a603c0798948",
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

// BinariesOf returns those of the named programs that an etcd version has, in
// their order: no etcdutl before 3.5. All that it has where none is named.
func BinariesOf(version string, names []string) ([]string, error) {
	v, err := parseVersion(version)
	if err != nil {
		return nil, err
	}
	l, err := line(v)
	if err != nil || len(names) == 0 {
		return l.binaries(), err
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return l.Programs[name] == "" }), nil
}

// LineOf returns the catalogue's row for a version.
func LineOf(version string) (Line, error) {
	v, err := parseVersion(version)
	if err != nil {
		return Line{}, err
	}
	return line(v)
}

// moduleVersion is the version under which the line's modules have v.
func (l Line) moduleVersion(v version) string {
	switch {
	case l.Tags != nil:
		return l.Tags[v.String()]
	case l.Incompatible:
		return "v" + v.String() + "+incompatible"
	}
	return "v" + v.String()
}

// versionOf is the version that a module version of the line stands for.
func (l Line) versionOf(moduleVersion string) (version, bool) {
	s := strings.TrimPrefix(moduleVersion, "v")
	if l.Incompatible {
		var ok bool
		if s, ok = strings.CutSuffix(s, "+incompatible"); !ok {
			return version{}, false
		}
	}
	v, err := parseVersion(s)
	return v, err == nil && v.line() == l.Name
}

// known tells whether the line's recipe is for v, and if not, for what it is.
func (l Line) known(v version) error {
	if l.Tags == nil || l.Tags[v.String()] != "" {
		return nil
	}
	return fmt.Errorf("etcd %s is not to be had as a Go module; of this line there are %s", v, strings.Join(l.tagged(), ", "))
}

// tagged are the versions in Tags, oldest first.
func (l Line) tagged() []string {
	return slices.SortedFunc(maps.Keys(l.Tags), func(a, b string) int { return semver.Compare("v"+a, "v"+b) })
}

// only returns the line with none but the given programs, and without the
// modules that are only the others'; with all of them where none is given.
func (l Line) only(binaries []string) Line {
	if len(binaries) == 0 {
		return l
	}
	programs, without := map[string]string{}, map[string]bool{}
	for _, name := range l.binaries() {
		without[l.module(l.Programs[name])] = true
	}
	for _, name := range binaries {
		programs[name] = l.Programs[name]
		delete(without, l.module(l.Programs[name]))
	}
	delete(without, l.Identity)
	l.Programs = programs
	l.Modules = slices.DeleteFunc(slices.Clone(l.Modules), func(m string) bool { return without[m] })
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

//go:embed lines
var lines embed.FS

// file is the content of a file in lines/; "" where there is none.
func file(name string) string {
	b, err := lines.ReadFile("lines/" + name)
	if err != nil {
		return ""
	}
	return string(b)
}

// wrapper is a wrapper module as the go command completed it.
type wrapper struct {
	GoMod, GoSum string
	Date         time.Time // of the identity module's version, UTC
}

// embedded returns the wrapper that this release of etcdimg carries for v.
func embedded(v version) (wrapper, bool, error) {
	mod, sum, info := file(v.String()+".mod"), file(v.String()+".sum"), file(v.String()+".info")
	if mod == "" || sum == "" || info == "" {
		return wrapper{}, false, nil
	}
	var at struct{ Time time.Time }
	if err := json.Unmarshal([]byte(info), &at); err != nil {
		return wrapper{}, false, fmt.Errorf("reading the embedded date of etcd %s: %w", v, err)
	}
	return wrapper{GoMod: mod, GoSum: sum, Date: at.Time.UTC()}, true, nil
}
