package etcd_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"

	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
)

// publish adds a look-alike of an old version to the machine's module proxy.
func (m *machine) publish(path, moduleVersion, version string) {
	m.t.Helper()
	if err := etcdtest.PublishSingle(m.proxyRoot(), path, moduleVersion, version); err != nil {
		m.t.Fatal(err)
	}
}

// publishPins adds an empty module for everything that a line's pins name.
func (m *machine) publishPins(line string) {
	m.t.Helper()
	b, err := os.ReadFile("lines/" + line + ".pins")
	if err != nil {
		m.t.Fatal(err)
	}
	f, err := modfile.Parse(line+".pins", b, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	publish := func(path, version string) {
		if err := etcdtest.Publish(m.proxyRoot(), path, version, map[string]string{"empty.go": "package empty\n"}); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, r := range f.Require {
		publish(r.Mod.Path, r.Mod.Version)
	}
	for _, r := range f.Replace {
		publish(r.New.Path, r.New.Version)
	}
}

func TestVersionOf34IsFoundByItsTag(t *testing.T) {
	m := newMachine(t, nil)
	m.publish("go.etcd.io/etcd", "v0.5.0-alpha.5.0.20230216013900-6d1bfe4f9927", "3.4.24")
	pin, err := m.resolver().Resolve(t.Context(), etcd.Request{Version: "3.4.24", Toolchain: etcdtest.Toolchain()})
	if err != nil {
		t.Fatal(err)
	}
	if !pin.Date.Equal(etcdtest.Date()) || !strings.Contains(pin.GoMod, "godebug httpmuxgo121=1\n") {
		t.Errorf("pinned with the date %v and\n%s", pin.Date, pin.GoMod)
	}
	made := m.compile(pin, "etcd", "etcdctl")
	out, err := exec.Command(extract(t, m.compiler().Content(made["etcd"])), "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "etcd Version: 3.4.24\nGit SHA: 6d1bfe4f9927\n") {
		t.Errorf("etcd --version: %v\n%s", err, out)
	}
}

func TestLineWithoutModulesTakesItsDependenciesFromThePins(t *testing.T) {
	m := newMachine(t, nil)
	m.publishPins("3.3")
	m.publish("github.com/coreos/etcd", "v3.3.98+incompatible", "3.3.98")
	pin, err := m.resolver().Resolve(t.Context(), etcd.Request{Version: "3.3.98", Toolchain: etcdtest.Toolchain()})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"github.com/coreos/etcd v3.3.98+incompatible\n", "google.golang.org/grpc v1.23.0\n",
		"replace github.com/coreos/bbolt => go.etcd.io/bbolt v1.3.12\n", "godebug httpmuxgo121=1\n",
	} {
		if !strings.Contains(pin.GoMod, want) {
			t.Errorf("go.mod has no %q:\n%s", want, pin.GoMod)
		}
	}
	if pin.ModuleVersion != "v3.3.98+incompatible" || !pin.Date.Equal(etcdtest.Date()) {
		t.Errorf("pinned %s of %v", pin.ModuleVersion, pin.Date)
	}
	made := m.compile(pin, "etcd", "etcdctl")
	out, err := exec.Command(extract(t, m.compiler().Content(made["etcdctl"])), "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "etcdctl version: 3.3.98\n") {
		t.Errorf("etcdctl version: %v\n%s", err, out)
	}
}

func TestOldVersionThatDoesNotExistListsThoseThatDo(t *testing.T) {
	m := newMachine(t, nil)
	m.publishPins("3.3")
	m.publish("github.com/coreos/etcd", "v3.3.98+incompatible", "3.3.98")
	list := filepath.Join(m.proxyRoot(), "github.com/coreos/etcd/@v/list")
	if err := os.WriteFile(list, []byte("v3.3.98+incompatible\nv3.2.1+incompatible\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := m.resolver().Resolve(t.Context(), etcd.Request{Version: "3.3.97", Toolchain: etcdtest.Toolchain()})
	wantError(t, err, "etcd.versions: ", "no etcd 3.3.97", "of this line there are 3.3.27, 3.3.98")
	if strings.Contains(err.Error(), "3.2.1") {
		t.Errorf("a version of another line is offered: %v", err)
	}
}

func TestVersionThatThePinsDoNotFitIsRefused(t *testing.T) {
	m := newMachine(t, nil)
	m.publishPins("3.3")
	for path, files := range map[string]map[string]string{
		"mirror.example/codec":   {"codec.go": "package codec\n"},
		"github.com/coreos/etcd": {"main.go": "package main\n\nimport _ \"mirror.example/codec\"\n\nfunc main() {}\n", "etcdctl/main.go": "package main\n\nfunc main() {}\n"},
	} {
		version := map[bool]string{true: "v3.3.97+incompatible", false: "v1.0.0"}[path == "github.com/coreos/etcd"]
		if err := etcdtest.Publish(m.proxyRoot(), path, version, files); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(m.proxyRoot(), path, "@v/list"), []byte(version+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := m.resolver().Resolve(t.Context(), etcd.Request{Version: "3.3.97", Toolchain: etcdtest.Toolchain()})
	wantError(t, err, "etcd.versions: ", "3.3.97 can not be compiled", "mirror.example/codec", "3.3.27")
}

func TestBumpOfWhatStandsInForAnotherModuleRaisesIt(t *testing.T) {
	m := newMachine(t, nil)
	m.publishPins("3.3")
	const bbolt = "go.etcd.io/bbolt"
	if err := etcdtest.Publish(m.proxyRoot(), bbolt, "v1.3.13", map[string]string{"bolt.go": "package bbolt\n\nvar Used = 1\n"}); err != nil {
		t.Fatal(err)
	}
	source := "package main\n\nimport bolt \"github.com/coreos/bbolt\"\n\nfunc main() { println(bolt.Used) }\n"
	if err := etcdtest.Publish(m.proxyRoot(), "github.com/coreos/etcd", "v3.3.98+incompatible", map[string]string{"main.go": source}); err != nil {
		t.Fatal(err)
	}
	pin, err := m.resolver().Resolve(t.Context(), etcd.Request{Version: "3.3.98", Toolchain: etcdtest.Toolchain(),
		Binaries: []string{"etcd"}, Bump: map[string]string{bbolt: "v1.3.13"}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(pin.GoMod, "replace github.com/coreos/bbolt => "+bbolt+" v1.3.13\n") {
		t.Errorf("go.mod:\n%s", pin.GoMod)
	}
}

func TestBinariesOfAVersionAreThoseThatItsLineHas(t *testing.T) {
	for version, want := range map[string]string{"3.4.26": "[etcdctl etcd]", "3.5.35": "[etcdutl etcdctl etcd]"} {
		got, err := etcd.BinariesOf(version, []string{"etcdutl", "etcdctl", "etcd"})
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s has %v, %v", version, got, err)
		}
	}
	if _, err := etcd.BinariesOf("3.99.0", nil); err == nil {
		t.Error("a version outside the catalogue has binaries")
	}
}

// The table is for people, the catalogue is what counts.
func TestDocumentedTableOfLines(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# etcd's lines\n\n" +
		"Every line compiles with today's Go, statically, for amd64, arm64, ppc64le and s390x. This table is made from the catalogue in\n" +
		"`pkg/etcd/catalog.go`; `make test-all` compiles all of it and runs it, natively or emulated: each program prints its version, etcd\n" +
		"keeps what its own etcdctl put when it is killed, and takes the flags of the second table. [What was seen](etcd-seen.md) is a table\n" +
		"of its own.\n\n" +
		"| line | newest | module version | programs | edited modules |\n|---|---|---|---|---|\n")
	for _, l := range etcd.Lines() {
		module := "v" + l.Newest
		if l.Tags != nil {
			module = l.Tags[l.Newest]
		} else if l.Incompatible {
			module += "+incompatible"
		}
		names, err := etcd.BinariesOf(l.Newest, nil)
		if err != nil {
			t.Fatal(err)
		}
		var edited []string
		for _, e := range l.Edits {
			edited = append(edited, "`"+e.Module+"`")
		}
		fmt.Fprintf(&b, "| %s | %s | `%s %s` | %s | %s |\n", l.Name, l.Newest, l.Identity, module, strings.Join(names, ", "), dash(strings.Join(edited, ", ")))
	}
	b.WriteString("\nOther versions of a line compile by the same recipe, if the module proxy has them; of 2.3 there is none, and of 3.4 there are\n")
	for _, l := range etcd.Lines() {
		if l.Name == "3.4" {
			tags := slices.SortedFunc(maps.Keys(l.Tags), func(a, b string) int { return semver.Compare("v"+a, "v"+b) })
			b.WriteString(strings.Join(tags, ", ") + ".\n")
		}
	}
	b.WriteString("\n| line | needs `ETCD_UNSUPPORTED_ARCH` on | logs all with | v2 API | its flag | etcdctl speaks | works on data directories |\n|---|---|---|---|---|---|---|\n")
	for _, l := range etcd.Lines() {
		offline := l.Offline
		if l.OfflineCtl {
			offline += ", etcdctl (deprecated)"
		}
		flag := l.V2Flag
		if flag != "" {
			flag = "`" + flag + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | %s | %s | %s | %s |\n", l.Name, dash(strings.Join(l.Unsupported, ", ")), l.Debug, l.V2, dash(flag), l.CtlAPI, offline)
	}
	b.WriteString("\n## Edits\n\n" +
		"An edited module is fetched and verified as it was published; a copy of it is changed where the lock says, and compiled in its place.\n" +
		"The digests of each file, before and after, are in the lock, and so in the key of the binaries.\n\n" +
		"| line | module | file | change | why |\n|---|---|---|---|---|\n")
	for _, l := range etcd.Lines() {
		for _, e := range l.Edits {
			for _, f := range e.Files {
				var changes []string
				for _, c := range f.Changes {
					if c.Old == "" {
						changes = append(changes, "new file")
					} else {
						changes = append(changes, fmt.Sprintf("`%s` becomes `%s`", c.Old, c.New))
					}
				}
				fmt.Fprintf(&b, "| %s | `%s` %s | %s | %s | %s |\n", l.Name, e.Module, e.Version, f.Path, strings.ReplaceAll(strings.Join(changes, "; "), "``", "nothing"), e.Reason)
			}
		}
	}
	const file = "../../docs/etcd-lines.md"
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s is not what the catalogue says; run the test with -update", file)
	}
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
