package lock_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

const (
	sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sumB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	key  = "04B54C3CDCA79751B16BC6B5225629DF75B188BD"
)

// example is a lock that has a value of every kind.
func example() *lock.Lock {
	date := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	config := json.RawMessage(`{"cmd":"a <b> & c","name":"etcd","revision":0}`)
	return &lock.Lock{
		SchemaVersion: lock.SchemaVersion, FormatVersion: lock.FormatVersion,
		Profile: lock.ConfigDigest(config), Config: config,
		Files: []lock.LocalFile{{Path: "nsswitch.conf", SHA256: sumA}},
		Etcd: []lock.Etcd{
			{
				Version: "3.6.16", ModuleVersion: "v3.6.16", Line: "3.6", Date: date, Toolchain: "go1.27.4",
				Packages:  map[string]string{"etcd": "go.etcd.io/etcd/server/v3"},
				Variables: map[string]string{"x/version.GitSHA": "h1:abc="}, Settings: map[string]string{},
				GoMod: "module x\n\ngo 1.26.0\n", GoSum: "a v1 h1:x=\nb v1 h1:y=\n",
				Edits: []lock.Edit{{Module: "x/y", Version: "v1.0.0", Reason: "why", Files: []lock.FileEdit{
					{Path: "a.go", Before: sumA, After: sumB, Changes: []lock.Change{{Old: "<", Occurrence: 1, New: ">\n"}}},
				}}},
			},
			{Version: "3.5.0", Line: "3.5", Date: date, GoMod: "no end", Release: &lock.Release{
				Checksums: lock.File{Path: "v3.5.0/SHA256SUMS", Size: 1, SHA256: sumA}, Signature: "none",
				Archives: map[string]lock.Archive{"amd64": {
					File:     lock.File{Path: "v3.5.0/etcd.tar.gz", Size: 2, SHA256: sumB},
					Binaries: map[string]string{"etcd": "etcd-v3.5.0/etcd"},
				}},
			}},
		},
		Migrate: &lock.Migrate{
			Sources: "sha256:" + sumA, Toolchain: "go1.27.4", Settings: map[string]string{"GOAMD64": "v2"},
			GoMod: "module m\n\ngo 1.25.0\n", GoSum: "c v1 h1:z=\n",
		},
		Suites: []lock.Suite{{Archive: "debian", Suite: "trixie", Components: []string{"main"}, Arch: "amd64", Date: date, SHA256: sumA, SignedBy: []string{key}}},
		Debian: []lock.Debian{{
			Arch: "amd64", Omitted: []string{"debconf"}, Uncovered: []lock.Scripts{{Package: "base", Scripts: []string{"postinst"}}},
			Packages: []lock.Package{
				{Name: "base", Version: "1", Arch: "all", Source: "base", Archive: "debian", Suite: "trixie", Snapshot: "20260304T050607Z", Path: "pool/b/base.deb", Size: 3, SHA256: sumA},
				{Name: "tool", Version: "2", Arch: "amd64", Source: "tool (1)", Archive: "https://x.example/debian", Suite: "trixie", Path: "pool/t/tool.deb", Size: 4, SHA256: sumB},
			},
		}},
	}
}

func text(t testing.TB, l *lock.Lock) string {
	t.Helper()
	b, err := l.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestALockIsReadAsItWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock.json")
	if err := example().WriteFile(path); err != nil {
		t.Fatal(err)
	}
	got, err := lock.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := text(t, got), text(t, example()); a != b {
		t.Errorf("read, it is\n%s\nwritten it was\n%s", a, b)
	}
	want := example()
	want.Config, got.Config = nil, nil // white space
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read, it is\n%#v\nwritten it was\n%#v", got, want)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestALockIsMadeForReview(t *testing.T) {
	s := text(t, example())
	for _, line := range []string{`        "go 1.26.0"`, `    "cmd": "a <b> & c",`, `      "goMod": "no end",`, `  "formatVersion": 1,`} {
		if !strings.Contains(s, "\n"+line) {
			t.Errorf("no line %q in\n%s", line, s)
		}
	}
}

func TestALockThatCanNotBeReadTellsWhereAndWhatToDo(t *testing.T) {
	whole := text(t, example())
	for name, c := range map[string]struct {
		old, new string // the text to replace, once
		line     string // one that the problem is in
		says     []string
	}{
		"CR LF":                   {"\n", "\r\n", "{", []string{"CR LF", ".gitattributes"}},
		"CR LF in the middle":     {"\"etcd\": [\n", "\"etcd\": [\r\n", `"etcd": [`, []string{"CR LF"}},
		"merge conflict":          {`  "etcd": [`, "<<<<<<< HEAD\n  \"etcd\": [", "<<<<<<< HEAD", []string{"merge conflict", "take one of the sides"}},
		"rest of a conflict":      {`  "suites": [`, ">>>>>>> other\n  \"suites\": [", ">>>>>>> other", []string{"merge conflict"}},
		"middle of a conflict":    {`  "suites": [`, "=======\n  \"suites\": [", "=======", []string{"merge conflict"}},
		"byte order mark":         {"{", "\ufeff{", "\ufeff{", []string{"byte order mark"}},
		"newer schema":            {`"schemaVersion": 1`, `"schemaVersion": 2, "new": true`, `"schemaVersion": 2`, []string{"schema 2", "up to 1", "newer etcdimg"}},
		"schema of another kind":  {`"schemaVersion": 1`, `"schemaVersion": "1"`, `"schemaVersion"`, []string{"schemaVersion: want a number"}},
		"schema that is missing":  {`"schemaVersion": 1,`, ``, "{", []string{"schemaVersion: it is missing"}},
		"syntax":                  {`"formatVersion": 1,`, `"formatVersion": 1`, `"profile"`, []string{"no JSON"}},
		"end too early":           {"\n}\n", "", "", []string{"ends too early"}},
		"more than one":           {"\n}\n", "\n}\n{\"second\": 1}\n", `{"second"`, []string{"follows the end"}},
		"key that is there twice": {`"formatVersion": 1,`, "\"formatVersion\": 1,\n\"formatVersion\":  1,", `"formatVersion":  1`, []string{"formatVersion: the key is there twice"}},
		"key in another case":     {`"formatVersion"`, `"FormatVersion"`, `"FormatVersion"`, []string{"FormatVersion: the key is not known"}},
		"unknown key":             {`"version": "3.6.16"`, `"version": "3.6.16", "flavour": "x"`, `"flavour"`, []string{"etcd[0].flavour: the key is not known"}},
		"missing key":             {`"toolchain": "go1.27.4",`, ``, `    {` + "\n      \"version\": \"3.6.16\"", []string{"etcd[0].toolchain: it is missing"}},
		"another kind":            {`"size": 3`, `"size": "3"`, `"size": "3"`, []string{"debian[0].packages[0].size: want a number, not a string"}},
		"null":                    {`"goSum": ""`, `"goSum": null`, `"goSum": null`, []string{"etcd[1].goSum: want a string, not null"}},
		"half a number":           {`"size": 3`, `"size": 3.5`, `{`, []string{"size"}},
		"size":                    {`"size": 3`, `"size": 0`, `"size": 0`, []string{"debian[0].packages[0].size: 0 is no size"}},
		"date":                    {`"date": "2026-03-04T05:06:07Z",` + "\n      \"toolchain\": \"go", `"date": "2026-03-04T05:06:07+01:00",` + "\n      \"toolchain\": \"go", `"date": "2026-03-04T05:06:07+01:00"`, []string{"etcd[0].date: want a date in UTC"}},
		"malformed digest":        {`"` + sumA + `",` + "\n              \"after\"", `"` + sumA[1:] + `",` + "\n              \"after\"", `"` + sumA[1:] + `"`, []string{"etcd[0].edits[0].files[0].before", "is no SHA-256"}},
		"digest in upper case":    {`"after": "` + sumB, `"after": "` + strings.ToUpper(sumB), strings.ToUpper(sumB), []string{"etcd[0].edits[0].files[0].after", "lower case"}},
		"path of checksums":       {`"path": "v3.5.0/SHA256SUMS"`, `"path": "/v3.5.0/SHA256SUMS"`, `"/v3.5.0`, []string{"etcd[1].release.checksums.path: "}},
		"path of an archive":      {`"v3.5.0/etcd.tar.gz"`, `"v3.5.0/../etcd.tar.gz"`, `"v3.5.0/../`, []string{"etcd[1].release.archives.amd64.path: "}},
		"config changed by hand":  {`"cmd": "a`, `"cmd": "b`, `"profile"`, []string{"profile: ", "changed by hand"}},
		"path that climbs":        {`"pool/b/base.deb"`, `"../b/base.deb"`, `"../b/base.deb"`, []string{"no relative path"}},
		"package twice":           {`"name": "tool"`, `"name": "base"`, "", []string{"debian[0].packages[1].name", "there twice"}},
		"digest of sources":       {`"sources": "sha256:`, `"sources": "`, `"sources": "`, []string{"migrate.sources: ", "want sha256:"}},
		"unknown key of migrate":  {`"sources": `, `"files": [], "sources": `, `"files": []`, []string{"migrate.files: the key is not known"}},
		"version twice":           {`"version": "3.5.0"`, `"version": "3.6.16"`, "", []string{"etcd[1].version", "there twice"}},
		"unsigned":                {`"` + key + `"`, ``, "", []string{"suites[0].signedBy: nobody has signed"}},
		"snapshot":                {`"20260304T050607Z"`, `"latest"`, `"latest"`, []string{"debian[0].packages[0].snapshot"}},
		"format version":          {`"formatVersion": 1`, `"formatVersion": 0`, `"formatVersion"`, []string{"formatVersion: 0"}},
		"empty":                   {whole, "\n", "", []string{"is empty"}},
		"another document":        {whole, "[]", "[]", []string{"no lock"}},
		"depth":                   {`"revision": 0`, `"revision": ` + strings.Repeat("[", 200) + strings.Repeat("]", 200), "", []string{"nested deeper"}},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(whole, c.old) {
				t.Fatalf("no %q in the example", c.old)
			}
			damaged := strings.Replace(whole, c.old, c.new, 1)
			_, err := lock.Read("x.lock.json", []byte(damaged))
			if err == nil {
				t.Fatal("no error")
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q:\n%v", s, err)
				}
			}
			var p *lock.Problem
			if !errors.As(err, &p) {
				t.Fatalf("the error is a %T", err)
			}
			if c.line != "" {
				want := strings.Count(damaged[:strings.Index(damaged, c.line)], "\n") + 1
				if !strings.HasPrefix(err.Error(), fmt.Sprintf("x.lock.json:%d: ", want)) {
					t.Errorf("want line %d:\n%v", want, err)
				}
			}
		})
	}
}

func TestAllThatIsWrongIsToldAtOnceUpToABound(t *testing.T) {
	l := example()
	l.Debian[0].Packages[0].SHA256, l.Files[0].SHA256 = "x", "y"
	_, err := lock.Read("x", []byte(text(t, l)))
	if n := strings.Count(fmt.Sprint(err), "is no SHA-256"); n != 2 {
		t.Errorf("%d digests told of:\n%v", n, err)
	}
	for i := range 100 {
		l.Files = append(l.Files, lock.LocalFile{Path: fmt.Sprintf("p%03d", i), SHA256: "z"})
	}
	_, err = lock.Read("x", []byte(text(t, l)))
	if lines := strings.Split(fmt.Sprint(err), "\n"); len(lines) != 21 || !strings.HasSuffix(lines[20], "and 82 more") {
		t.Errorf("%d lines:\n%v", len(lines), err)
	}
}

func TestAMissingFileIsTold(t *testing.T) {
	if _, err := lock.ReadFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error: %v", err)
	}
}

func TestALockLiesBesideItsProfile(t *testing.T) {
	for profile, want := range map[string]string{"configs/hardened.yaml": "configs/hardened.lock.json", "a.b.yml": "a.b.lock.json", "./x": "./x.lock.json"} {
		if got := lock.PathFor(profile); got != want {
			t.Errorf("of %s: %s, want %s", profile, got, want)
		}
	}
}

func TestDifferencesAreToldByTheInnermostKey(t *testing.T) {
	got, err := lock.Differences(
		[]byte(`{"same":[1,{"x":2}],"cmd":"a","list":[1,2],"deep":{"map":{"k":"v"},"gone":true},"items":[{"a":1},{"a":2}]}`),
		[]byte(`{"same":[1,{"x":2}],"cmd":"<b>","list":[1],"deep":{"map":{"k":"w"},"new":null},"items":[{"a":1},{"a":3}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, d := range got {
		lines = append(lines, d.String())
	}
	want := `cmd: "a" → "<b>"
deep.gone: true → (none)
deep.map.k: "v" → "w"
deep.new: (none) → null
items[1].a: 2 → 3
list: [1,2] → [1]`
	if s := strings.Join(lines, "\n"); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
	if _, err := lock.Differences([]byte("{"), nil); err == nil {
		t.Error("what is no JSON has differences")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(text(f, example())))
	f.Add([]byte(`{"schemaVersion":1,"etcd":[{"goMod":[]}]}`))
	f.Add([]byte("{\n<<<<<<< x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := lock.Read("x", b)
		if err != nil {
			if l != nil {
				t.Error("a lock beside an error")
			}
			return
		}
		once := text(t, l)
		again, err := lock.Read("x", []byte(once))
		if err != nil {
			t.Fatalf("what was read can not be read again: %v\n%s", err, once)
		}
		if twice := text(t, again); twice != once {
			t.Errorf("written again it is\n%s\nnot\n%s", twice, once)
		}
	})
}
