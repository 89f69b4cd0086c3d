package operator_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/modfile"

	"github.com/etcdimg/etcdimg"
	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/operator"
)

var update = flag.Bool("update", false, "write the go.mod and go.sum that the operator is compiled with")

const checkout = "../.."

// leastGo is what the operator's sources need. Its go line is that, or what one
// of the modules needs that it imports: no higher, so that a profile may choose
// among toolchains.
const leastGo = "1.25.0"

func real(t *testing.T) *operator.Sources {
	t.Helper()
	s, err := operator.Read(etcdimg.Operator())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What the operator in images is compiled with is what its tests run with: the
// versions of the module's own go.mod, and nothing that only others need.
func TestTheOperatorIsPinnedToTheVersionsThatItIsTestedWith(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-C", filepath.Join(checkout, "migrate"), "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.GoVersion}}{{end}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	language := leastGo
	var needed []string
	for line := range strings.Lines(string(out)) {
		path, least, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		needed = append(needed, path)
		if version.Compare("go"+least, "go"+language) > 0 {
			language = least
		}
	}
	slices.Sort(needed)
	needed = slices.Compact(needed)
	if len(needed) == 0 {
		t.Fatal("it needs no module at all")
	}
	text, err := os.ReadFile(filepath.Join(checkout, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(checkout, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	var mod, sum bytes.Buffer
	fmt.Fprintf(&mod, "module %s\n\ngo %s\n\nrequire (\n", own.Module.Mod.Path, language)
	for _, path := range needed {
		i := slices.IndexFunc(own.Require, func(r *modfile.Require) bool { return r.Mod.Path == path })
		if i < 0 {
			t.Fatalf("go.mod does not require %s", path)
		}
		at := own.Require[i].Mod.Version
		fmt.Fprintf(&mod, "\t%s %s\n", path, at)
		for line := range strings.Lines(string(sums)) {
			if strings.HasPrefix(line, path+" "+at+" ") || strings.HasPrefix(line, path+" "+at+"/go.mod ") {
				sum.WriteString(line)
			}
		}
	}
	mod.WriteString(")\n")
	for name, want := range map[string]string{"image.mod": mod.String(), "image.sum": sum.String()} {
		file := filepath.Join(checkout, "migrate", name)
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("migrate/%s is not what go.mod says; go test ./pkg/operator -update writes it (-want +got):\n%s", name, diff)
		}
	}
}

// The go command's own view of the files is the judge.
func TestWhatIsCompiledIsWhatTheGoCommandWouldCompile(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "list", "-C", filepath.Join(checkout, "migrate"), "-deps", "-json=Dir,GoFiles,IgnoredGoFiles,EmbedFiles,Module", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p struct {
			Dir                                 string
			GoFiles, IgnoredGoFiles, EmbedFiles []string
			Module                              *struct {
				Main bool
				Dir  string
			}
		}
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if p.Module == nil || !p.Module.Main {
			continue
		}
		if len(p.EmbedFiles) > 0 {
			t.Errorf("%s embeds %v, which do not come along", p.Dir, p.EmbedFiles)
		}
		for _, f := range slices.Concat(p.GoFiles, p.IgnoredGoFiles) {
			rel, err := filepath.Rel(p.Module.Dir, filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(f, "_test.go") {
				want = append(want, filepath.ToSlash(rel))
			}
		}
	}
	slices.Sort(want)
	s := real(t)
	pin, err := s.Pin("", nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Program(pin)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name := range p.Files {
		got = append(got, name)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-go list +compiled):\n%s", diff)
	}
	if p.Package != "github.com/etcdimg/etcdimg/migrate" || p.Toolchain != etcd.DefaultToolchain {
		t.Errorf("%s is compiled by %s", p.Package, p.Toolchain)
	}
}

// small is an operator of three packages, one of which nothing imports.
func small() fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	return fstest.MapFS{
		"image.mod":            file("module example.test/m\n\ngo 1.25.0\n"),
		"image.sum":            file(""),
		"migrate-if-needed.sh": file("#!/bin/sh\n"),
		"main.go":              file("package main\n\nimport _ \"example.test/m/migrate/internal/used\"\n\nfunc main() {}\n"),
		"main_test.go":         file("package main\n\nimport _ \"example.test/m/migrate/internal/unused\"\n"),
		"internal/used/a.go":   file("package used\n"),
		"internal/unused/a.go": file("package unused\n"),
	}
}

func TestOnlyWhatIsCompiledCounts(t *testing.T) {
	digest := func(change func(fstest.MapFS)) string {
		files := small()
		change(files)
		s, err := operator.Read(files)
		if err != nil {
			t.Fatal(err)
		}
		return s.Digest()
	}
	same := digest(func(fstest.MapFS) {})
	for _, name := range []string{"main_test.go", "internal/unused/a.go"} {
		if digest(func(f fstest.MapFS) { delete(f, name) }) != same {
			t.Errorf("%s counts, but is not compiled", name)
		}
	}
	for _, name := range []string{"main.go", "internal/used/a.go", "image.mod", "image.sum", "migrate-if-needed.sh"} {
		if digest(func(f fstest.MapFS) { f[name].Data = append(f[name].Data, '\n') }) == same {
			t.Errorf("%s does not count", name)
		}
	}
}

func TestSourcesThatAreNotWholeAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(fstest.MapFS)
		says   string
	}{
		"no script":      {func(f fstest.MapFS) { delete(f, "migrate-if-needed.sh") }, "migrate-if-needed.sh"},
		"no go.mod":      {func(f fstest.MapFS) { delete(f, "image.mod") }, "image.mod"},
		"another go.mod": {func(f fstest.MapFS) { f["image.mod"].Data = []byte("go 1.25\n") }, "names no module"},
		"no package":     {func(f fstest.MapFS) { delete(f, "internal/used/a.go") }, "internal/used"},
		"tests alone": {func(f fstest.MapFS) {
			f["internal/used/a_test.go"] = f["internal/used/a.go"]
			delete(f, "internal/used/a.go")
		}, "no Go files"},
		"no Go in a file": {func(f fstest.MapFS) { f["main.go"].Data = []byte("hello") }, "main.go:1"},
	} {
		t.Run(name, func(t *testing.T) {
			files := small()
			c.change(files)
			if _, err := operator.Read(files); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error is %v, want one about %q", err, c.says)
			}
		})
	}
}

func TestAPinHoldsForItsSourcesAlone(t *testing.T) {
	s := real(t)
	pin, err := s.Pin("go1.27.4", map[string]string{"GOAMD64": "v2"})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.Program(pin); err != nil || p.Settings["GOAMD64"] != "v2" || p.Toolchain != "go1.27.4" {
		t.Errorf("%+v, %v", p, err)
	}
	other, err := operator.Read(small())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Program(pin); err == nil || !strings.Contains(err.Error(), "make the lock again") {
		t.Errorf("a pin of other sources is taken: %v", err)
	}
	pin.GoSum = "something else\n"
	if _, err := s.Program(pin); err == nil {
		t.Error("a pin with another go.sum is taken")
	}
	_, err = s.Pin("go1.24.1", nil)
	var key *etcd.KeyError
	if !errors.As(err, &key) || key.Key != "etcd.toolchain" || !strings.Contains(err.Error(), "can not compile migrate") {
		t.Errorf("a toolchain that is too old: %v", err)
	}
}
