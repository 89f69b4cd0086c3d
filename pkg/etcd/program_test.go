package etcd_test

import (
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
)

// toolProgram imports a module that the test's proxy serves, and a package of its
// own module.
func toolProgram(m *machine) etcd.Program {
	pin := m.resolve(fake)
	return etcd.Program{
		Name: "tool", Package: "example.test/tools/tool", Toolchain: etcdtest.Toolchain(),
		GoMod: "module example.test/tools\n\ngo 1.21\n\nrequire go.etcd.io/etcd/api/v3 v" + fake + "\n",
		GoSum: pin.GoSum,
		Files: map[string][]byte{
			"tool/main.go":             []byte("package main\n\nimport \"example.test/tools/tool/internal/word\"\n\nfunc main() { println(word.Word) }\n"),
			"tool/internal/word/it.go": []byte("package word\n\nimport \"go.etcd.io/etcd/api/v3/version\"\n\nvar Word = \"etcd \" + version.Version\n"),
		},
	}
}

func TestAProgramWhoseSourcesComeAlongIsCompiledAndKept(t *testing.T) {
	m := newMachine(t, []string{fake})
	p := toolProgram(m)
	c := m.compiler()
	if c.HasProgram(p, runtime.GOARCH) {
		t.Fatal("a cold store has it")
	}
	if err := c.PrefetchProgram(t.Context(), p, []string{runtime.GOARCH}); err != nil {
		t.Fatal(err)
	}
	made, err := c.CompileProgram(t.Context(), p, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if !c.HasProgram(p, runtime.GOARCH) {
		t.Error("the store does not have what was made")
	}
	file := filepath.Join(t.TempDir(), "tool")
	place(t, c.Content(made), file)
	out, err := exec.CommandContext(t.Context(), file).CombinedOutput()
	if err != nil || string(out) != "etcd "+fake+"\n" {
		t.Errorf("it prints %q (%v)", out, err)
	}
	for _, e := range m.events {
		if e.Program != "tool" && e.Stage != etcd.Resolving && e.Arch != "" {
			t.Errorf("an event is not about the program: %+v", e)
		}
	}

	// Elsewhere, from the same sources: the same bytes. From the store: no process.
	again, err := newMachine(t, []string{fake}).compiler().CompileProgram(t.Context(), p, runtime.GOARCH)
	if err != nil || again != made {
		t.Errorf("another machine made %+v (%v), want %+v", again, err, made)
	}
	before := m.ran.total()
	if again, err := m.compiler().CompileProgram(t.Context(), p, runtime.GOARCH); err != nil || again != made || m.ran.total() != before {
		t.Errorf("the second time gave %+v (%v) after %d processes", again, err, m.ran.total()-before)
	}

	p.Files = maps.Clone(p.Files)
	p.Files["tool/main.go"] = []byte("package main\n\nfunc main() {}\n")
	if c.HasProgram(p, runtime.GOARCH) {
		t.Error("other sources are found under the same key")
	}
	if other, err := c.CompileProgram(t.Context(), p, runtime.GOARCH); err != nil || other.Digest == made.Digest {
		t.Errorf("other sources made %+v (%v)", other, err)
	}
}

func TestAProgramThatCanNotBeCompiledSaysWhy(t *testing.T) {
	m := newMachine(t, []string{fake})
	for name, c := range map[string]struct {
		change func(*etcd.Program)
		says   string
	}{
		"a file outside":       {func(p *etcd.Program) { p.Files["../x.go"] = nil }, `"../x.go" is no Go file of a module`},
		"a go.mod":             {func(p *etcd.Program) { p.Files["go.mod"] = nil }, `"go.mod" is no Go file`},
		"an incomplete go.sum": {func(p *etcd.Program) { p.GoSum = "" }, "compiling tool for " + runtime.GOARCH},
		"a mistake":            {func(p *etcd.Program) { p.Files["tool/main.go"] = []byte("package main\n\nfunc main() { x }\n") }, "undefined: x"},
	} {
		t.Run(name, func(t *testing.T) {
			p := toolProgram(m)
			c.change(&p)
			_, err := m.compiler().CompileProgram(t.Context(), p, runtime.GOARCH)
			wantError(t, err, c.says)
		})
	}
}

func TestAToolchainThatIsTooOldForAProgramIsAMistakeInTheProfile(t *testing.T) {
	for toolchain, says := range map[string]string{
		"go1.24.9": "go1.24.9 can not compile tool, which needs go1.25.0 or newer; use " + etcd.DefaultToolchain,
		"1.27.4":   "is not a Go release",
	} {
		err := etcd.CheckProgramToolchain("tool", "module x\n\ngo 1.25.0\n", toolchain)
		var key *etcd.KeyError
		if !errors.As(err, &key) || key.Key != "etcd.toolchain" || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", toolchain, err)
		}
	}
	if err := etcd.CheckProgramToolchain("tool", "module x\n\ngo 1.25.0\n", "go1.25.0"); err != nil {
		t.Error(err)
	}
}

func place(t *testing.T, c etcd.Content, file string) {
	t.Helper()
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b, 0o755); err != nil {
		t.Fatal(err)
	}
}
