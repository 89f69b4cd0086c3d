package debian

import (
	"path"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// slimmed are the directories whose content a slim image does without.
var slimmed = []string{
	"/usr/share/doc/", "/usr/share/groff/", "/usr/share/info/", "/usr/share/linda/",
	"/usr/share/lintian/overrides/", "/usr/share/locale/", "/usr/share/man/",
}

// Keep returns the entries that an image has of a package's: without what
// Exclude names and, where Slim is set, without documentation, manual pages and
// translations. Licences stay in a slim image: every file "copyright" below
// /usr/share/doc, and the links that lead one package's documentation to
// another's. A directory stays if something in it does.
func (o RuleOptions) Keep(entries []rootfs.Entry) []rootfs.Entry {
	if !o.Slim && len(o.Exclude) == 0 {
		return entries
	}
	keep := make(map[string]bool, len(entries))
	for _, e := range entries {
		if e.Type == rootfs.Dir || o.drops(e.Path, e.Type) {
			continue
		}
		keep[e.Path] = true
		for dir := path.Dir(e.Path); !keep[dir]; dir = path.Dir(dir) {
			keep[dir] = true
		}
	}
	content := map[string]rootfs.Entry{}
	moved := map[string]string{} // dropped file → the first kept link to it
	var out []rootfs.Entry
	for _, e := range entries {
		switch {
		case e.Type == rootfs.Dir && o.drops(e.Path, e.Type) && !keep[e.Path]:
			continue
		case e.Type == rootfs.File && !keep[e.Path]:
			content[e.Path] = e
			continue
		case e.Type != rootfs.Dir && !keep[e.Path]:
			continue
		}
		if file, ok := content[e.Link]; ok && e.Type == rootfs.Hardlink {
			if first, ok := moved[e.Link]; ok {
				e.Link = first
			} else {
				moved[e.Link] = e.Path
				file.Path = e.Path
				e = file
			}
		}
		out = append(out, e)
	}
	return out
}

// drops tells whether an image does without what is at a path.
func (o RuleOptions) drops(p string, t rootfs.Type) bool {
	if o.Slim && slimDrops(p, t) {
		return true
	}
	if t == rootfs.Dir {
		p += "/" // goes with all that is below it
	}
	return slices.ContainsFunc(o.Exclude, func(pattern string) bool { return excludes(pattern, p) })
}

// excludes matches as dpkg's path-exclude does: * stands for anything, slashes
// too.
func excludes(pattern, p string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return p == pattern
	}
	if !strings.HasPrefix(p, head) {
		return false
	}
	for i := len(head); i <= len(p); i++ {
		if excludes(rest, p[i:]) {
			return true
		}
	}
	return false
}

func slimDrops(p string, t rootfs.Type) bool {
	if rest, ok := strings.CutPrefix(p, "/usr/share/doc/"); ok {
		if t != rootfs.Dir && path.Base(p) == "copyright" || t == rootfs.Symlink && !strings.Contains(rest, "/") {
			return false
		}
	}
	if p == "/usr/share/locale/locale.alias" {
		return false
	}
	for _, dir := range slimmed {
		if strings.HasPrefix(p, dir) {
			return true
		}
	}
	return false
}
