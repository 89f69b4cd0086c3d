package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// builtIn is the folder that the profiles which come with etcdimg seem to be
// in, so that messages tell them from files.
const builtIn = "built-in"

// profileArg explains PROFILE in a command's help.
const profileArg = "PROFILE is a file, or one of those that come with etcdimg by its name: "

// loadProfile reads a profile from a file; or one of those that come with
// etcdimg, if the name is bare and there is no such file.
func loadProfile(name string) (*profile.Profile, error) {
	bare := name == filepath.Base(name) && filepath.Ext(name) == ""
	if info, err := os.Stat(name); err == nil && !info.IsDir() || !bare {
		return profile.Load(name)
	}
	if slices.Contains(builtInProfiles(), name) {
		return profile.Read(builtIn+"/"+name+".yaml", openBuiltIn)
	}
	return nil, fmt.Errorf("reading profile: there is no file %s, and no profile of that name comes with etcdimg: write a path, or one of %s", name, strings.Join(builtInProfiles(), ", "))
}

// openBuiltIn opens a built-in profile and what it names, which is beside it.
func openBuiltIn(name string) ([]byte, error) {
	rel, err := filepath.Rel(builtIn, name)
	if err != nil {
		return nil, err
	}
	b, err := fs.ReadFile(etcdimg.Configs(), filepath.ToSlash(rel))
	var wrong *fs.PathError
	if errors.As(err, &wrong) {
		wrong.Path = name
	}
	return b, err
}

// builtInProfiles are the names of the profiles that come with etcdimg, sorted.
// What they have in common, base.yaml, is no profile by itself.
func builtInProfiles() []string {
	files, err := fs.Glob(etcdimg.Configs(), "*.yaml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var names []string
	for _, f := range files {
		if name := strings.TrimSuffix(f, ".yaml"); name != "base" {
			names = append(names, name)
		}
	}
	return names
}

// isBuiltIn tells a profile that came with etcdimg from a file.
func isBuiltIn(p *profile.Profile) bool { return strings.HasPrefix(p.File(), builtIn+"/") }

// argOf is the argument that means a profile.
func argOf(p *profile.Profile) string {
	if name, ok := strings.CutPrefix(p.File(), builtIn+"/"); ok {
		return strings.TrimSuffix(name, ".yaml")
	}
	return p.File()
}

// lockOf is where the lock of a profile is written: beside it, and of one that
// comes with etcdimg in the working directory.
func lockOf(p *profile.Profile) string { return lock.PathFor(argOf(p)) }

// readLock reads the lock of a profile and tells where it was. A profile that
// comes with etcdimg has one that comes along, which counts where there is none
// in the working directory.
func readLock(p *profile.Profile) (l *lock.Lock, path string, err error) {
	path = lockOf(p)
	l, err = lock.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(p.File(), builtIn+"/") {
		return l, path, err
	}
	carried := lock.PathFor(p.File())
	b, err := openBuiltIn(carried)
	if err != nil {
		return nil, path, err
	}
	l, err = lock.Read(carried, b)
	return l, carried, err
}
