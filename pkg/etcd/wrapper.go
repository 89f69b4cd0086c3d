package etcd

import (
	"bytes"
	"fmt"
	goversion "go/version"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// skeleton is the wrapper's go.mod before the go command completes it.
func (l Line) skeleton(v version, r Request) []byte {
	language := l.Go
	if olderGo(r.toolchain(), "go"+language) {
		language = strings.TrimPrefix(goversion.Lang(r.toolchain()), "go") + ".0"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "module etcdimg.build/etcd-%s\n\ngo %s\n\nrequire (\n", l.Name, language)
	for _, m := range l.Modules {
		fmt.Fprintf(&b, "\t%s %s\n", m, l.moduleVersion(v))
	}
	b.WriteString(")\n")
	pins := l.pins()
	for target, version := range l.standIns() {
		if to := r.Bump[target]; to != "" {
			pins = strings.ReplaceAll(pins, "=> "+target+" "+version+"\n", "=> "+target+" "+to+"\n")
		}
	}
	if olderGo(r.toolchain(), "go1.23") { // which introduced the directive
		pins = godebugLine.ReplaceAllString(pins, "")
	}
	if pins != "" {
		b.WriteString("\n" + pins)
	}
	for _, e := range l.Edits {
		fmt.Fprintf(&b, "\nreplace %s => %s\n", e.Module, replacement(e.Module))
	}
	return b.Bytes()
}

var godebugLine = regexp.MustCompile(`(?m)^godebug .*\n`)

// pins are the requirements, replacements and settings that the wrapper has beside
// etcd's own, as go.mod has them.
func (l Line) pins() string {
	if !l.Pinned {
		return ""
	}
	return file(l.Name + ".pins")
}

// standIns are the modules that pins put into the places of others, and their
// versions.
func (l Line) standIns() map[string]string {
	found := map[string]string{}
	for entry := range strings.Lines(l.pins()) {
		if f := strings.Fields(entry); len(f) == 5 && f[0] == "replace" && f[2] == "=>" {
			found[f[3]] = f[4]
		}
	}
	return found
}

// editedSums are the lines of go.sum for the modules that the line edits. The
// go command has none, as it sees but the edited ones.
func (l Line) editedSums() string {
	var b strings.Builder
	for entry := range strings.Lines(file("edited.sum")) {
		f := strings.Fields(entry)
		if slices.ContainsFunc(l.Edits, func(e lock.Edit) bool {
			return !e.Own && len(f) == 3 && f[0] == e.Module && strings.TrimSuffix(f[1], "/go.mod") == e.Version
		}) {
			b.WriteString(entry)
		}
	}
	return b.String()
}

// demands are the arguments of the go get that completes a wrapper.
func (l Line) demands(v version, r Request) []string {
	var all []string
	for _, m := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(l.Modules, l.packages())))) {
		all = append(all, m+"@"+l.moduleVersion(v))
	}
	standIns := l.standIns()
	for _, m := range slices.Sorted(maps.Keys(r.Bump)) {
		if _, ok := standIns[m]; !ok {
			all = append(all, m+"@"+r.Bump[m])
		}
	}
	return all
}
