package reach_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdimg/etcdimg/pkg/audit/reach"
)

// A function of the standard library that is called, one that is inlined (the
// compiler does that to functions this small), and others that are not there.
const source = `package main

import (
	"os"
	"strings"
)

func main() {
	if strings.HasPrefix(os.Args[0], "x") {
		println(strings.ToUpper(os.Args[0]))
	}
}
`

// build compiles the program for this machine, out of the standard library
// alone.
func build(t *testing.T, ldflags string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"main.go": source, "go.mod": "module example.com/program\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-ldflags", ldflags, "-o", "program", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "program")
}

const record = `{"id":"ID","affected":[{"package":{"ecosystem":"Go","name":"stdlib"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],"ecosystem_specific":{"imports":[{"path":"PATH","symbols":["SYMBOL"]}]}}]}`

func vulnerable(id, path, symbol string) json.RawMessage {
	return json.RawMessage(strings.NewReplacer("ID", id, "PATH", path, "SYMBOL", symbol).Replace(record))
}

func TestWhatIsCalledIsToldFromWhatIsNot(t *testing.T) {
	records := map[string]json.RawMessage{}
	for _, r := range []struct{ id, path, symbol string }{
		{"GO-1", "strings", "ToUpper"},
		{"GO-2", "strings", "HasPrefix"},
		{"GO-3", "strings", "Title"},
		{"GO-4", "net/http", "Get"},
	} {
		records[r.id] = vulnerable(r.id, r.path, r.symbol)
	}
	want := []reach.Hit{
		{ID: "GO-1", Module: "stdlib", Level: reach.Called, Symbols: []string{"strings.ToUpper"}},
		{ID: "GO-2", Module: "stdlib", Level: reach.Called, Symbols: []string{"strings.HasPrefix"}},
		{ID: "GO-3", Module: "stdlib", Level: reach.Imported},
		{ID: "GO-4", Module: "stdlib", Level: reach.Required},
	}
	for name, ldflags := range map[string]string{"whole": "", "stripped": "-s -w"} {
		t.Run(name, func(t *testing.T) {
			// x/vuln must do without the go command.
			path := build(t, ldflags)
			t.Setenv("PATH", "")
			p, err := reach.Read(t.Context(), path, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if !p.Symbols || p.Reason != "" {
				t.Errorf("the functions were not listed: %s", p.Reason)
			}
			got, err := reach.Match(t.Context(), []*reach.Program{p}, records, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for i := range got[0] {
				got[0][i].Version = ""
			}
			if diff := cmp.Diff(want, got[0]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsNoProgram(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(name, []byte("\x7fELF and no more"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := reach.Read(t.Context(), name, t.TempDir()); !errors.Is(err, reach.ErrNoProgram) {
		t.Errorf("%v, want ErrNoProgram", err)
	}
}
