package profile

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Opener gives the bytes of a profile, an include or a local file by its name.
type Opener func(name string) ([]byte, error)

// maxIncludes bounds a chain of includes. A cycle is found by its names; the
// bound stops one that symbolic links hide.
const maxIncludes = 16

// Load reads a profile from the file system; see Read.
func Load(path string) (*Profile, error) { return Read(path, os.ReadFile) }

// Read reads a profile and the chain of its includes, fills in the defaults and
// validates the result. Includes are opened by their path joined to the
// directory of the including name. What is wrong with any of the files is given
// at once as Errors; a profile that can't be opened is the opener's error.
//
// A local file that an include names is relative to the include, as it is
// written there. In the profile that Read gives, such names are relative to the
// profile itself, so the result stands for itself and holds no path of the
// machine unless a file names one.
func Read(name string, open Opener) (*Profile, error) {
	data, err := open(name)
	if err != nil {
		return nil, fmt.Errorf("reading profile: %w", err)
	}
	l := loader{open: open}
	tree := l.file(&source{name: name, dir: "."}, data, nil)
	p := &Profile{file: name, open: open, origins: map[string]position{}}
	if !l.unreadable {
		d := decoder{problems: &l.problems, origins: p.origins, whole: true}
		d.profile(tree, p)
		p.Include = ""
		p.setDefaults()
		p.validate(&l.problems)
	}
	if err := l.problems.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// Local is where the local file is that the profile names: a File's or
// Certificate's Source or an item of Contents.Keyring or Etcd.Keyring. The result is relative
// to the working directory if the profile's own name was.
func (p *Profile) Local(source string) string {
	if filepath.IsAbs(source) {
		return source
	}
	return filepath.Join(filepath.Dir(p.file), source)
}

// ReadLocal reads the local file that the profile names source, by what opened
// the profile.
func (p *Profile) ReadLocal(source string) ([]byte, error) {
	open := p.open
	if open == nil {
		open = os.ReadFile
	}
	return open(p.Local(source))
}

// Sources are the local files that the profile names for some architectures, as
// it names them: sorted, each once.
func (p *Profile) Sources(archs []Arch) []string {
	all := slices.Concat(p.Contents.Keyring, p.Etcd.Keyring)
	for _, f := range p.Contents.Files {
		for _, arch := range archs {
			all = append(all, f.SourceFor(arch))
		}
	}
	for _, c := range p.Certificates.Additional {
		if c.Source != "" {
			all = append(all, c.Source)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// File is the profile's own file, as it was given to Load or Read.
func (p *Profile) File() string { return p.file }

// Origin tells where the value of a key was written, so that an error found
// later can name the place: keys are as in Problem.Key. For a value that is a
// default it is the nearest mapping around it that was written, or else the
// beginning of the profile; line is 0 in a profile that was not read.
func (p *Profile) Origin(key string) (file string, line int) {
	pos := p.position(key)
	return pos.file(), pos.line
}

// Problem is an error about the value of a key, with the place where it was
// written.
func (p *Profile) Problem(key, message, remedy string) *Problem {
	pos := p.position(key)
	return &Problem{File: pos.file(), Line: pos.line, Column: pos.column, Key: key, Message: message, Remedy: remedy}
}

func (p *Profile) position(key string) position {
	for key != "" {
		if pos, ok := p.origins[key]; ok {
			return pos
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	if p.file == "" {
		return position{}
	}
	return position{&source{name: p.file}, 1, 1}
}

// written tells whether a key was given, be it with an empty value.
func (p *Profile) written(key string) bool {
	_, ok := p.origins[key]
	return ok
}

type loader struct {
	open       Opener
	problems   problems
	unreadable bool // a file's tree is missing, so the profile can't be judged as a whole
}

// file parses one file and merges it over its include. It reads the file alone
// first: what is wrong in it is wrong even where another value replaces it.
func (l *loader) file(src *source, data []byte, chain []string) *node {
	top := parseFile(src, data, &l.problems)
	if top == nil {
		l.unreadable = true
		return nil
	}
	alone := decoder{problems: &l.problems}
	alone.profile(top, &Profile{})

	include := top.field("include")
	if include == nil || include.value == nil || include.value.kind != scalar || include.value.text == "" {
		return top
	}
	base := l.include(src, include, append(chain, filepath.Clean(src.name)))
	if base == nil {
		l.unreadable = true
		return top
	}
	return merge(base, top)
}

func (l *loader) include(from *source, f *field, chain []string) *node {
	name, dir := f.value.text, ""
	if filepath.IsAbs(name) {
		dir = filepath.Dir(name)
	} else {
		dir = filepath.Dir(filepath.Join(from.dir, name))
		name = filepath.Join(filepath.Dir(from.name), name)
	}
	if i := slices.Index(chain, filepath.Clean(name)); i >= 0 {
		cycle := append(slices.Clone(chain[i:]), filepath.Clean(name))
		l.problems.at(f.pos, "include", "is a cycle: "+strings.Join(cycle, " → "), "remove one of these includes")
		return nil
	}
	if len(chain) > maxIncludes {
		l.problems.at(f.pos, "include", fmt.Sprintf("includes are nested deeper than %d", maxIncludes), "merge some of these files")
		return nil
	}
	data, err := l.open(name)
	if err != nil {
		l.problems.at(f.pos, "include", err.Error(), "name a profile relative to this file").cause = err
		return nil
	}
	return l.file(&source{name: name, dir: dir}, data, chain)
}

// merge lays top over base: mappings merge key by key, anything else replaces.
func merge(base, top *node) *node {
	if base == nil || top == nil || base.kind != mapping || top.kind != mapping {
		return top
	}
	out := &node{kind: mapping, pos: top.pos, fields: slices.Clone(top.fields)}
	for _, below := range base.fields {
		if i := slices.IndexFunc(out.fields, func(f field) bool { return f.name == below.name }); i >= 0 {
			out.fields[i].value = merge(below.value, out.fields[i].value)
		} else {
			out.fields = append(out.fields, below)
		}
	}
	return out
}
