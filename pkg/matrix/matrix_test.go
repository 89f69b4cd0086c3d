package matrix_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/matrix"
)

func TestFormatsTakeSoManyRows(t *testing.T) {
	for format, most := range map[string]int{"github": 256, "gitlab": 200} {
		var rows []matrix.Row
		for i := range most + 1 {
			rows = append(rows, matrix.Row{Profile: "p.yaml", Arch: "amd64", Name: fmt.Sprint("p-", i)})
		}
		var b bytes.Buffer
		if err := matrix.Write(&b, format, rows[:most]); err != nil {
			t.Errorf("%s: %d rows: %v", format, most, err)
		}
		if !json.Valid(b.Bytes()) {
			t.Errorf("%s: no JSON", format)
		}
		if err := matrix.Write(&b, format, rows); err == nil || !strings.Contains(err.Error(), fmt.Sprint(most)) {
			t.Errorf("%s: %d rows: %v", format, most+1, err)
		}
	}
	if err := matrix.Write(&bytes.Buffer{}, "circle", nil); err == nil {
		t.Error("an unknown format was written")
	}
}

// github is one line, which is what a step can put into $GITHUB_OUTPUT.
func TestGitHubIsOneLine(t *testing.T) {
	for _, rows := range [][]matrix.Row{nil, {{Profile: "a\nb.yaml", Name: "x"}}} {
		var b bytes.Buffer
		if err := matrix.Write(&b, "github", rows); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "\n"); n != 1 || !strings.HasPrefix(b.String(), `{"include":[`) {
			t.Errorf("got %q", b.String())
		}
	}
}

func TestTouches(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		c    matrix.Change
		in   matrix.Inputs
		want bool
	}{
		{"nothing changed", matrix.Change{}, matrix.Inputs{Files: []string{"a.yaml"}}, false},
		{"another file", matrix.Change{Files: []string{"b.yaml", "a.yaml.orig", "x/a.yaml"}}, matrix.Inputs{Files: []string{"a.yaml"}}, false},
		{"the file, or one that went", matrix.Change{Files: []string{"a.yaml"}}, matrix.Inputs{Files: []string{"a.yaml"}}, true},
		{"a submodule that it is in", matrix.Change{Files: []string{"sub"}}, matrix.Inputs{Files: []string{"sub/a.yaml"}}, true},
		{"outside", matrix.Change{}, matrix.Inputs{Files: []string{"../a.yaml"}}, true},
		{"a name that looks like outside", matrix.Change{}, matrix.Inputs{Files: []string{"..a.yaml"}}, false},
		{"own code", matrix.Change{Files: []string{"pkg/x.go"}, Own: true}, matrix.Inputs{Files: []string{"a.yaml"}}, true},
		{"code elsewhere", matrix.Change{Files: []string{"pkg/x.go"}}, matrix.Inputs{Files: []string{"a.yaml"}}, false},
		{"own workflows", matrix.Change{Files: []string{".github/workflows/images.yml"}, Own: true}, matrix.Inputs{Files: []string{"a.yaml"}}, true},
		{"own dependencies", matrix.Change{Files: []string{"go.sum"}, Own: true}, matrix.Inputs{Files: []string{"a.yaml"}}, true},
		{"own operator", matrix.Change{Files: []string{"migrate/image.sum"}, Own: true}, matrix.Inputs{Files: []string{"a.yaml"}}, true},
		{"own words and tests", matrix.Change{Files: []string{"docs/ci/x.yml", "README.md", "pkg/x_test.go", "test/e2e/lab.go", "pkg/sbom/testdata/x.json", "configs/b.yaml"}, Own: true}, matrix.Inputs{Files: []string{"a.yaml"}}, false},
		{"own profiles, built in", matrix.Change{Files: []string{"configs/b.yaml"}, Own: true}, matrix.Inputs{BuiltIn: true}, true},
		{"also", matrix.Change{Files: []string{"ci/x.yml"}, Also: []string{"ci"}}, matrix.Inputs{Files: []string{"a.yaml"}}, true},
		{"also everything", matrix.Change{Files: []string{"x"}, Also: []string{"."}}, matrix.Inputs{Files: []string{"a.yaml"}}, true},
		{"beside also", matrix.Change{Files: []string{"ci2"}, Also: []string{"ci"}}, matrix.Inputs{Files: []string{"a.yaml"}}, false},
	} {
		tt.c.Top, tt.in.Dir = top, top
		if why := tt.c.Touches(tt.in); (why != "") != tt.want {
			t.Errorf("%s: got %q, want touched: %v", tt.name, why, tt.want)
		}
	}
}
