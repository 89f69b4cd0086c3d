//go:build e2e

package etcd_test

import (
	"debug/buildinfo"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/etcd"
)

// everything tells whether all of the matrix was asked for, and not its quick
// part: an hour instead of minutes.
func everything() bool { return os.Getenv("ETCDIMG_ALL") == "1" }

// storeForLines is where the tests of lines keep binaries: one that lasts,
// where the environment names it.
func storeForLines(t *testing.T) *cache.Cache {
	t.Helper()
	dir := os.Getenv("ETCDIMG_TEST_STORE")
	if dir == "" {
		dir = t.TempDir()
	}
	store, err := cache.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// emulators run other architectures' programs, as Debian's qemu-user-static
// calls them.
var emulators = map[string]string{"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static", "ppc64le": "qemu-ppc64le-static", "s390x": "qemu-s390x-static"}

// recent are the lines that every run of the tests sees on every architecture.
var recent = []string{"3.5", "3.6", "3.7"}

// archsFor are the architectures on which a run sees a line: with ETCDIMG_ALL=1
// all of them, else those of recent lines, and amd64.
func archsFor(l etcd.Line) []string {
	if everything() || slices.Contains(recent, l.Name) {
		return []string{"amd64", "arm64", "ppc64le", "s390x"}
	}
	return []string{"amd64"}
}

// Every line compiles, prints its version, keeps what is put into it through
// its own etcdctl when it is killed, and takes the flags that the catalogue
// says it takes: natively, or emulated. What was seen is what the
// documentation says.
func TestLineCompilesAndServes(t *testing.T) {
	store := storeForLines(t)
	var saw seen
	t.Run("line", func(t *testing.T) {
		for _, l := range etcd.Lines() {
			for _, arch := range archsFor(l) {
				name := l.Name + "/" + arch
				var made map[string]etcd.Content
				t.Run(name+"/compiles", func(t *testing.T) { made = compileLine(t, store, l, arch) })
				if made == nil {
					continue
				}
				t.Run(name+"/serves", func(t *testing.T) {
					t.Parallel()
					needEmulator(t, arch)
					p := programs{t: t, line: l, arch: arch, file: map[string]string{}}
					for name, content := range made {
						p.file[name] = extract(t, content)
						checkStatic(t, p.file[name], arch)
					}
					p.printsItsVersion()
					p.servesAndSurvives()
					if arch == runtime.GOARCH {
						p.takesItsFlags()
					}
					if !t.Failed() {
						saw.note(l.Newest, arch, made)
					}
				})
			}
		}
	})
	saw.compare(t)
}

// compileLine compiles all programs of a line, and tells what that cost.
func compileLine(t *testing.T, store *cache.Cache, l etcd.Line, arch string) map[string]etcd.Content {
	pin, err := hostResolver().Resolve(t.Context(), etcd.Request{Version: l.Newest})
	if err != nil {
		t.Fatal(err)
	}
	names, err := etcd.BinariesOf(l.Newest, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &etcd.Compiler{Go: etcd.NewGo(os.Environ(), etcd.Processes{}), Store: store}
	before := childrensTime(t)
	made, err := c.Compile(t.Context(), pin, arch, names)
	if err != nil {
		t.Fatal(err)
	}
	contents, sizes := map[string]etcd.Content{}, ""
	for _, name := range names {
		contents[name] = c.Content(made[name])
		sizes += fmt.Sprintf(" %s %d", name, made[name].Size)
	}
	t.Logf("figures: %s %s: compiled in %.1f s of processor time; bytes:%s", l.Newest, arch, (childrensTime(t) - before).Seconds(), sizes)
	return contents
}

// needEmulator leaves a test out, not without a word, where nothing runs the
// architecture's programs.
func needEmulator(t *testing.T, arch string) {
	t.Helper()
	if arch == runtime.GOARCH {
		return
	}
	if _, err := exec.LookPath(emulators[arch]); err == nil {
		return
	}
	const why = "NOT RUN: no emulator of this architecture: install qemu-user-static"
	if os.Getenv("ETCDIMG_E2E_STRICT") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func childrensTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Versions beyond the newest of their line compile by the line's recipe. With
// ETCDIMG_ALL=1, as the table is long.
func TestOlderVersionCompiles(t *testing.T) {
	if !everything() {
		t.Skip("compiles many versions: ETCDIMG_ALL=1 runs it")
	}
	versions := []string{"3.2.24", "3.3.13", "3.3.18", "3.5.0", "3.5.12", "3.5.21", "3.6.0", "3.6.12", "3.7.0"}
	for _, l := range etcd.Lines() {
		if l.Name == "3.4" {
			versions = append(versions, slices.Sorted(maps.Keys(l.Tags))...)
		}
	}
	store := storeForLines(t)
	names := []string{"etcd", "etcdctl"} // of some versions, etcdutl is not served
	for _, v := range versions {
		t.Run(v, func(t *testing.T) {
			names := names
			if v == "3.6.12" { // of which nothing else is served
				names = []string{"etcd"}
			}
			pin, err := (&etcd.Resolver{Go: etcd.NewGo(os.Environ(), etcd.Processes{}), Store: store}).Resolve(t.Context(), etcd.Request{Version: v, Binaries: names})
			if err != nil {
				t.Fatal(err)
			}
			c := &etcd.Compiler{Go: etcd.NewGo(os.Environ(), etcd.Processes{}), Store: store}
			made, err := c.Compile(t.Context(), pin, "amd64", names)
			if err != nil {
				t.Fatal(err)
			}
			line, err := etcd.LineOf(v)
			if err != nil {
				t.Fatal(err)
			}
			line.Newest = v
			p := programs{t: t, line: line, arch: "amd64", file: map[string]string{}}
			for name := range made {
				p.file[name] = extract(t, c.Content(made[name]))
			}
			p.printsItsVersion()
			if len(names) > 1 {
				p.servesAndSurvives()
			}
		})
	}
}

// Raising a dependency, levels and the FIPS 140-3 module are for old lines as
// for new ones. What the binary says of itself is checked as it is compiled.
func TestOldLineCanBeBumpedAndHasLevels(t *testing.T) {
	if !everything() {
		t.Skip("compiles two lines once more: ETCDIMG_ALL=1 runs it")
	}
	store := storeForLines(t)
	for _, r := range []etcd.Request{
		{Version: "2.3.8", FIPS: true, GOAMD64: "v2"},
		{Version: "3.3.27", FIPS: true, GOAMD64: "v2", Bump: map[string]string{"github.com/spf13/pflag": "v1.0.5"}},
		{Version: "3.4.26", Bump: map[string]string{"golang.org/x/net": "v0.23.0"}},
	} {
		t.Run(r.Version, func(t *testing.T) {
			pin, err := (&etcd.Resolver{Go: etcd.NewGo(os.Environ(), etcd.Processes{}), Store: store}).Resolve(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			c := &etcd.Compiler{Go: etcd.NewGo(os.Environ(), etcd.Processes{}), Store: store}
			made, err := c.Compile(t.Context(), pin, "amd64", []string{"etcd"})
			if err != nil {
				t.Fatal(err)
			}
			info, err := buildinfo.ReadFile(extract(t, c.Content(made["etcd"])))
			if err != nil {
				t.Fatal(err)
			}
			said := info.String()
			for path, version := range r.Bump {
				if !strings.Contains(said, path+"\t"+version) {
					t.Errorf("it has not %s %s:\n%s", path, version, said)
				}
			}
			for _, setting := range []string{"GOFIPS140=v1.0.0", "GOAMD64=v2"} {
				if r.FIPS && !strings.Contains(said, setting) {
					t.Errorf("it has not %s:\n%s", setting, said)
				}
			}
		})
	}
}

func TestOlderVersionThatDoesNotFitItsLineIsRefused(t *testing.T) {
	_, err := hostResolver().Resolve(t.Context(), etcd.Request{Version: "3.3.10"})
	wantError(t, err, "3.3.10 can not be compiled", "github.com/ugorji/go/codec", "choose 3.3.27")
}

// An edited module takes nothing of the machine into the binary: two machines,
// each with directories and a build cache of its own, make the same bytes.
func TestEditedLineIsTheSameWhereverItIsCompiled(t *testing.T) {
	if !everything() {
		t.Skip("compiles the standard library twice: ETCDIMG_ALL=1 runs it")
	}
	pin, err := hostResolver().Resolve(t.Context(), etcd.Request{Version: "2.3.8"})
	if err != nil {
		t.Fatal(err)
	}
	var made [2]etcd.Binaries
	for i := range made {
		store, err := cache.Open(filepath.Join(t.TempDir(), strings.Repeat("deeper/", i), "store"))
		if err != nil {
			t.Fatal(err)
		}
		env := append(os.Environ(), "GOCACHE="+t.TempDir())
		c := &etcd.Compiler{Go: etcd.NewGo(env, etcd.Processes{}), Store: store}
		if made[i], err = c.Compile(t.Context(), pin, "amd64", []string{"etcd", "etcdctl"}); err != nil {
			t.Fatal(err)
		}
	}
	if !equal(made[0], made[1]) {
		t.Errorf("%v and %v", made[0], made[1])
	}
}
