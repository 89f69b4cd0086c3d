package etcd

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	goversion "go/version"

	"golang.org/x/mod/modfile"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// Program is a Go program that is compiled as etcd is, with the difference that
// its sources come along instead of out of a module proxy. What it imports of
// other modules, its go.mod and go.sum pin.
type Program struct {
	Name      string            // as messages and events call it
	Package   string            // import path of its main package, in the module of GoMod
	Toolchain string            // go1.27.4
	GoMod     string            // complete
	GoSum     string            // complete
	Settings  map[string]string // as Request.Settings gives them
	Files     map[string][]byte // Go files by their paths in the module, with slashes
}

// CheckProgramToolchain tells, as a *KeyError, whether a toolchain can compile
// a module.
func CheckProgramToolchain(name, goMod, toolchain string) error {
	wrong := func(err error) error { return &KeyError{Key: "etcd.toolchain", Value: toolchain, Err: err} }
	if err := checkToolchain(toolchain); err != nil {
		return wrong(err)
	}
	mod, err := modfile.Parse("go.mod", []byte(goMod), nil)
	if err != nil {
		return fmt.Errorf("reading the go.mod of %s: %w", name, err)
	}
	if mod.Go != nil && goversion.Compare(toolchain, "go"+mod.Go.Version) < 0 {
		return wrong(fmt.Errorf("%s can not compile %s, which needs go%s or newer; use %s", toolchain, name, mod.Go.Version, DefaultToolchain))
	}
	return nil
}

// CompileProgram is Compile for a program. It is kept under the digest of its
// sources and of everything else that determines it.
func (c *Compiler) CompileProgram(ctx context.Context, p Program, arch string) (Binary, error) {
	made, err := c.make(ctx, p.recipe(), arch, []string{p.Name})
	return made[p.Name], err
}

// HasProgram tells whether CompileProgram would be a look-up.
func (c *Compiler) HasProgram(p Program, arch string) bool {
	_, missing := c.lookup(p.recipe(), arch, []string{p.Name})
	return len(missing) == 0
}

// PrefetchProgram is Prefetch for a program.
func (c *Compiler) PrefetchProgram(ctx context.Context, p Program, archs []string) error {
	return c.prefetch(ctx, p.recipe(), archs, []string{p.Name})
}

func (p Program) recipe() recipe {
	return recipe{
		Etcd: lock.Etcd{
			Toolchain: p.Toolchain, GoMod: p.GoMod, GoSum: p.GoSum, Settings: p.Settings,
			Packages: map[string]string{p.Name: p.Package},
		},
		name: p.Name, program: p.Name, sources: p.Files,
	}
}

// recipe is what one go build works from: a pin, and the sources that are the
// main module's own. A wrapper around etcd has none.
type recipe struct {
	lock.Etcd
	name    string            // for messages: "etcd 3.6.16"
	program string            // Program.Name; empty for etcd
	sources map[string][]byte // by slash-separated path
}

func etcdRecipe(pin lock.Etcd) recipe { return recipe{Etcd: pin, name: "etcd " + pin.Version} }

// checkSources refuses names that would be written elsewhere than into the
// module, or in the place of what pins it.
func checkSources(sources map[string][]byte) error {
	for _, path := range slices.Sorted(maps.Keys(sources)) {
		if !fs.ValidPath(path) || !strings.HasSuffix(path, ".go") {
			return fmt.Errorf("sources: %q is no Go file of a module", path)
		}
	}
	return nil
}

// SourcesDigest is "sha256:" and the digest, in hex, of files by their names
// and contents.
func SourcesDigest(files map[string][]byte) string {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "%s  %s\n", hexSHA256(files[path]), path)
	}
	return "sha256:" + hexSHA256([]byte(b.String()))
}

// sourcesKey is the part of a binary's key that its own sources are.
func sourcesKey(sources map[string][]byte) string {
	if len(sources) == 0 {
		return ""
	}
	return SourcesDigest(sources)
}

// mainVersion is the version that a binary's build information must name for
// its main module.
func mainVersion(goMod, path string) (string, error) {
	mod, err := modfile.Parse("go.mod", []byte(goMod), nil)
	if err != nil {
		return "", err
	}
	if mod.Module != nil && mod.Module.Mod.Path == path {
		return "(devel)", nil
	}
	for _, r := range mod.Require {
		if r.Mod.Path == path {
			return r.Mod.Version, nil
		}
	}
	return "", nil
}
