// Package operator makes the migrate operator an input of images: it knows
// which of its files count, what pins them, and what the compiler is to be given.
//
// The sources are handed to it; how they came along, how Go programs are
// compiled and what an image is, it must not know.
package operator

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

// Names in an image.
const (
	Program = "migrate"
	Script  = "migrate-if-needed.sh"
)

// The files that pin what the operator imports, beside its sources: a go.mod
// and a go.sum of its own, so that what etcdimg itself requires does not count.
const (
	goModFile = "image.mod"
	goSumFile = "image.sum"
)

// Sources are what the operator is made from.
type Sources struct {
	goMod, goSum string
	pkg          string            // import path of its main package
	files        map[string][]byte // Go files of the module, by path
	script       []byte
	digest       string
}

// Read reads the folder that holds the operator's main package. Only what is
// compiled into it counts: no tests, and no package that nothing imports.
func Read(folder fs.FS) (*Sources, error) {
	s, err := read(folder)
	if err != nil {
		return nil, fmt.Errorf("reading the sources of %s: %w", Program, err)
	}
	return s, nil
}

func read(folder fs.FS) (*Sources, error) {
	s := &Sources{}
	all := map[string][]byte{}
	for name, to := range map[string]*string{goModFile: &s.goMod, goSumFile: &s.goSum} {
		b, err := fs.ReadFile(folder, name)
		if err != nil {
			return nil, err
		}
		all[name], *to = b, string(b)
	}
	module := modfile.ModulePath([]byte(s.goMod))
	if module == "" {
		return nil, fmt.Errorf("%s names no module", goModFile)
	}
	s.pkg = path.Join(module, Program)
	var err error
	if s.files, err = imported(folder, s.pkg); err != nil {
		return nil, err
	}
	if s.script, err = fs.ReadFile(folder, Script); err != nil {
		return nil, err
	}
	all[Script] = s.script
	maps.Copy(all, s.files)
	s.digest = etcd.SourcesDigest(all)
	return s, nil
}

// Digest is "sha256:" and the digest of everything that the operator is made
// from beside the compiler.
func (s *Sources) Digest() string { return s.digest }

// Script is the shell script that turns the environment into flags.
func (s *Sources) Script() []byte { return slices.Clone(s.script) }

// Pin pins the operator: what Program needs beside these sources. An empty
// toolchain means etcd.DefaultToolchain. An error about the toolchain is an
// *etcd.KeyError.
func (s *Sources) Pin(toolchain string, settings map[string]string) (lock.Migrate, error) {
	if toolchain == "" {
		toolchain = etcd.DefaultToolchain
	}
	if err := etcd.CheckProgramToolchain(Program, s.goMod, toolchain); err != nil {
		return lock.Migrate{}, err
	}
	return lock.Migrate{Sources: s.digest, Toolchain: toolchain, GoMod: s.goMod, GoSum: s.goSum, Settings: settings}, nil
}

// Program is what a compiler needs to make the pinned operator. It fails where
// the pin is of other sources than these.
func (s *Sources) Program(pin lock.Migrate) (etcd.Program, error) {
	if pin.Sources != s.digest || pin.GoMod != s.goMod || pin.GoSum != s.goSum {
		return etcd.Program{}, fmt.Errorf("the lock pins the %s operator with the sources %s, and this etcdimg has %s: use the etcdimg that made the lock, or make the lock again", Program, orNone(pin.Sources), s.digest)
	}
	return etcd.Program{
		Name: Program, Package: s.pkg, Toolchain: pin.Toolchain, GoMod: pin.GoMod, GoSum: pin.GoSum,
		Settings: pin.Settings, Files: s.files,
	}, nil
}

func orNone(digest string) string {
	if digest == "" {
		return "of no digest"
	}
	return digest
}

// isSource says whether the go command compiles a file into a program.
func isSource(name string) bool {
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "_")
}
