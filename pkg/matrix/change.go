package matrix

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Change is what a change changed, in a working copy.
type Change struct {
	Top     string   // root of the working copy: absolute, without symbolic links
	Files   []string // that changed: paths below Top, with slashes
	Tracked []string // all files that could have been among them
	Own     bool     // the working copy is etcdimg's own: its code decides images too
	Also    []string // paths below Top whose change touches everything
}

// Inputs are the files that determine a profile's images.
type Inputs struct {
	// Files are the profile, what it includes, its lock, and the local files
	// that it names: paths, absolute or relative to Dir. Some may not exist.
	Files []string
	Dir   string // absolute
	// BuiltIn says that the profile came with etcdimg.
	BuiltIn bool
}

// harmless are what of etcdimg's own working copy decides no image: everything
// else may. Profiles are not among what touches all images, since each has its
// own files.
var harmless = []struct{ dir, pattern string }{
	{"configs", "*"},
	{"docs", "*"},
	{"test", "*"},
	{"", "*.md"},
	{"", "*_test.go"},
	{"", "LICENSE"},
	{"", ".gitignore"},
}

// Touches tells why a change may have touched the images of a profile, "" if it
// can not have. What git can not tell of counts as touched: a file outside of
// the working copy, or one that is not tracked.
func (c Change) Touches(in Inputs) string {
	for _, f := range c.Files {
		if c.Own && !isHarmless(f) {
			return f + " is of etcdimg itself"
		}
		if slices.ContainsFunc(c.Also, func(also string) bool { return f == also || also == "." || strings.HasPrefix(f, also+"/") }) {
			return f + " counts for all profiles"
		}
	}
	if in.BuiltIn && c.Own {
		for _, f := range c.Files {
			if strings.HasPrefix(f, "configs/") {
				return f + " is of etcdimg itself"
			}
		}
	}
	for _, file := range in.Files {
		if why := c.touchesFile(in.Dir, file); why != "" {
			return why
		}
	}
	return ""
}

// touchesFile looks at a file under the name that it has and under the one that
// symbolic links lead to.
func (c Change) touchesFile(dir, file string) string {
	name := file
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	names := []string{filepath.Clean(name)}
	real, err := filepath.EvalSymlinks(name)
	exists := err == nil
	if exists && real != names[0] {
		names = append(names, real)
	}
	for _, n := range names {
		rel, err := filepath.Rel(c.Top, n)
		if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			return file + " is not in the repository"
		}
		rel = filepath.ToSlash(rel)
		changed := func(f string) bool { return f == rel || strings.HasPrefix(rel, f+"/") }
		if i := slices.IndexFunc(c.Files, changed); i >= 0 {
			return c.Files[i] + " has changed"
		}
		if exists && n == names[len(names)-1] && !slices.ContainsFunc(c.Tracked, changed) {
			return rel + " is not tracked"
		}
	}
	return ""
}

func isHarmless(file string) bool {
	for _, h := range harmless {
		if h.dir != "" && !strings.HasPrefix(file, h.dir+"/") {
			continue
		}
		if ok, err := path.Match(h.pattern, path.Base(file)); ok && err == nil {
			return true
		}
	}
	return strings.Contains("/"+file, "/testdata/")
}
