package etcd_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

const edited = "go.etcd.io/etcd/api/v3"

func hexSHA256(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// withEdit returns a pin of the look-alike whose version module has an edit:
// the second quoted string of version.go, the API's version, is another.
func (m *machine) withEdit(change func(*lock.Edit)) lock.Etcd {
	m.t.Helper()
	pin := m.resolveAll(fake)
	before, err := os.ReadFile(filepath.Join(filepath.Dir(m.store.Dir()), "modcache", "go.etcd.io/etcd/api/v3@v"+fake, "version/version.go"))
	if err != nil {
		m.t.Fatal(err)
	}
	after := strings.Replace(string(before), `"3.6"`, `"edited"`, 1)
	e := lock.Edit{Module: edited, Version: "v" + fake, Reason: "to show", Files: []lock.FileEdit{
		{
			Path: "version/version.go", Before: hexSHA256(string(before)), After: hexSHA256(after),
			Changes: []lock.Change{{Old: `"3.6`, Occurrence: 2, New: `"edited`}},
		},
		{Path: "added/added.go", After: hexSHA256("package added\n"), Changes: []lock.Change{{New: "package added\n"}}},
	}}
	if change != nil {
		change(&e)
	}
	pin.Edits = []lock.Edit{e}
	pin.GoMod += "\nreplace " + edited + " => ./edited/" + edited + "\n"
	return pin
}

func TestEditedModuleIsCompiledInPlaceOfThePublishedOne(t *testing.T) {
	m := newMachine(t, []string{fake})
	plain := m.resolveAll(fake)
	was := m.compile(plain, "etcdctl")
	pin := m.withEdit(nil)
	made := m.compile(pin, "etcdctl", "etcd")
	if made["etcdctl"] == was["etcdctl"] {
		t.Error("the edit changes nothing")
	}
	file := extract(t, m.compiler().Content(made["etcdctl"]))
	out, err := exec.Command(file, "version").CombinedOutput()
	if err != nil || string(out) != "etcdctl version: 3.6.99\nAPI version: edited\n" {
		t.Errorf("etcdctl version: %v\n%s", err, out)
	}
	if again := m.compile(plain, "etcdctl"); again["etcdctl"] != was["etcdctl"] {
		t.Error("the edited binary is taken for the published one")
	}
	// Where it was compiled leaves no trace.
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if i := bytes.Index(b, []byte(m.store.Dir())); i >= 0 {
		t.Errorf("the binary tells a path: %q", b[max(0, i-40):i+80])
	}
	other := newMachine(t, []string{fake})
	other.resolveAll(fake)
	if elsewhere := other.compile(pin, "etcdctl", "etcd"); !equal(made, elsewhere) {
		t.Errorf("here %v, elsewhere %v", made, elsewhere)
	}
}

func TestModuleOfOurOwnStandsInForAPublishedOne(t *testing.T) {
	m := newMachine(t, []string{fake})
	version := "package version\n\nvar (\n\tVersion = \"our own\"\n\tAPIVersion = \"\"\n\tGitSHA = \"\"\n)\n"
	pin := m.withEdit(func(e *lock.Edit) {
		goMod := "module " + edited + "\n"
		e.Own, e.Files = true, []lock.FileEdit{
			{Path: "go.mod", After: hexSHA256(goMod), Changes: []lock.Change{{New: goMod}}},
			{Path: "version/version.go", After: hexSHA256(version), Changes: []lock.Change{{New: version}}},
		}
	})
	made := m.compile(pin, "etcdctl")
	out, err := exec.Command(extract(t, m.compiler().Content(made["etcdctl"])), "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "etcdctl version: our own\n") {
		t.Errorf("etcdctl version: %v\n%s", err, out)
	}
}

func TestPrefetchedModulesAreEditedWithoutAnyProxy(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.withEdit(nil)
	if err := m.compiler().Prefetch(t.Context(), pin, []string{runtime.GOARCH}, all); err != nil {
		t.Fatal(err)
	}
	m.env = set(m.env, "GOPROXY=off")
	m.compile(pin, all...)
}

func TestEditThatDoesNotFitIsRefused(t *testing.T) {
	m := newMachine(t, []string{fake})
	for name, c := range map[string]struct {
		change func(*lock.Edit)
		says   []string
	}{
		"another file before":     {func(e *lock.Edit) { e.Files[0].Before = hexSHA256("") }, []string{"version/version.go", "the edit is for e3b0c442"}},
		"another file after":      {func(e *lock.Edit) { e.Files[0].After = hexSHA256("") }, []string{"version/version.go", "and not e3b0c442"}},
		"text that is not there":  {func(e *lock.Edit) { e.Files[0].Changes[0].Old = "nowhere" }, []string{`it has not "nowhere" 2 times`}},
		"too few occurrences":     {func(e *lock.Edit) { e.Files[0].Changes[0].Occurrence = 9 }, []string{"9 times"}},
		"file that is not there":  {func(e *lock.Edit) { e.Files[0].Path = "nowhere.go" }, []string{"nowhere.go", "no such file"}},
		"new file that is there":  {func(e *lock.Edit) { e.Files[1].Path = "version/version.go" }, []string{"it is there, and should not be"}},
		"module without checksum": {nil, []string{"go.sum has no line for it"}},
	} {
		t.Run(name, func(t *testing.T) {
			pin := m.withEdit(c.change)
			if c.change == nil {
				var kept []string
				for _, line := range strings.SplitAfter(pin.GoSum, "\n") {
					if !strings.HasPrefix(line, edited+" v"+fake+" ") {
						kept = append(kept, line)
					}
				}
				pin.GoSum = strings.Join(kept, "")
			}
			_, err := m.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
			wantError(t, err, append(c.says, "compiling etcd 3.6.99", edited+"@v3.6.99")...)
			var wrong *etcd.EditError
			if !errors.As(err, &wrong) || wrong.Module != edited+"@v"+fake {
				t.Errorf("the error is %#v", err)
			}
			if m.compiler().Has(pin, runtime.GOARCH, []string{"etcd"}) {
				t.Error("there is a record")
			}
		})
	}
}

func TestModuleThatWasChangedInTheCacheIsNotEdited(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.withEdit(nil)
	file := filepath.Join(filepath.Dir(m.store.Dir()), "modcache", "go.etcd.io/etcd/api/v3@v"+fake, "go.mod")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("module "+edited+"\n\ngo 1.22\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := m.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
	var sum *etcd.ChecksumError
	if !errors.As(err, &sum) || sum.Module != edited+"@v"+fake || !strings.Contains(pin.GoSum, sum.Want) {
		t.Errorf("error: %v", err)
	}
}

func TestModuleThatAProxyChangedIsNotEdited(t *testing.T) {
	honest := newMachine(t, []string{fake})
	pin := honest.withEdit(nil)
	crooked := newMachine(t, []string{fake})
	if err := etcdtest.Publish(crooked.proxyRoot(), edited, "v"+fake, map[string]string{"go.mod": "module " + edited + "\n\ngo 1.21\n", "version/version.go": "package version\n"}); err != nil {
		t.Fatal(err)
	}
	_, err := crooked.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
	var sum *etcd.ChecksumError
	if !errors.As(err, &sum) || sum.Module != edited+"@v"+fake {
		t.Errorf("error: %v", err)
	}
}

func TestModuleThatCanNotBeHadForAnEditIsTold(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.withEdit(nil)
	cold := newMachine(t, nil)
	_, err := cold.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
	wantError(t, err, "compiling etcd 3.6.99", edited+"@v3.6.99", "GOPROXY is file://")
	cold.env = set(cold.env, "GOPROXY=off")
	_, err = cold.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
	wantError(t, err, edited+"@v3.6.99", "not in the module cache")
}

func TestLockWhoseEditsReachElsewhereIsRefused(t *testing.T) {
	m := newMachine(t, []string{fake})
	for name, c := range map[string]struct {
		change func(*lock.Etcd)
		says   string
	}{
		"path that climbs":              {func(p *lock.Etcd) { p.Edits[0].Files[0].Path = "../../../etc/passwd" }, "no path within a module"},
		"absolute path":                 {func(p *lock.Etcd) { p.Edits[0].Files[0].Path = "/etc/passwd" }, "no path within a module"},
		"module that is a path":         {func(p *lock.Etcd) { p.Edits[0].Module = "../.." }, "is no module"},
		"two of one module":             {func(p *lock.Etcd) { p.Edits = append(p.Edits, p.Edits[0]) }, "is there twice"},
		"module inside another":         {func(p *lock.Etcd) { p.Edits = append(p.Edits, lock.Edit{Module: edited + "/x", Version: "v1.0.0"}) }, "would be inside"},
		"another version":               {func(p *lock.Etcd) { p.Edits[0].Version = "v3.6.98" }, "go.mod does not require"},
		"edit that replaces nothing":    {func(p *lock.Etcd) { p.GoMod = p.GoMod[:strings.Index(p.GoMod, "\nreplace")] }, "go.mod does not replace"},
		"replaced by another directory": {func(p *lock.Etcd) { p.GoMod = strings.Replace(p.GoMod, "./edited/", "/tmp/", 1) }, "is replaced by a directory of the machine"},
		"undeclared edit":               {func(p *lock.Etcd) { p.Edits = nil }, "is replaced by a directory of the machine"},
		"digest of another form":        {func(p *lock.Etcd) { p.Edits[0].Files[0].After = "x" }, "not SHA-256"},
		"change of nothing":             {func(p *lock.Etcd) { p.Edits[0].Files[0].Changes[0].Old = "" }, "do not fit"},
		"change of a new file":          {func(p *lock.Etcd) { p.Edits[0].Files[1].Changes[0].Old = "x" }, "do not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			pin := m.withEdit(nil)
			c.change(&pin)
			before := m.ran.total()
			_, err := m.compiler().Compile(t.Context(), pin, "amd64", []string{"etcd"})
			wantError(t, err, "the lock of etcd 3.6.99 can not be compiled", c.says)
			if m.ran.total() != before {
				t.Error("a process was started")
			}
		})
	}
}
