package etcd_test

import (
	"context"
	"debug/buildinfo"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

var _ rootfs.Content = etcd.Content{}

var all = []string{"etcd", "etcdctl", "etcdutl"}

func TestCompiledBinariesRunAndSayWhatTheyAre(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolveAll(fake)
	made := m.compile(pin, all...)
	if n := m.ran.count("build"); n != 1 {
		t.Errorf("go build ran %d times for three binaries", n)
	}
	for name, want := range map[string]string{
		"etcd":    "etcd Version: 3.6.99\nGit SHA: " + pin.Variables["go.etcd.io/etcd/api/v3/version.GitSHA"] + "\n",
		"etcdctl": "etcdctl version: 3.6.99\n",
		"etcdutl": "etcdutl version: 3.6.99\n",
	} {
		c := m.compiler().Content(made[name])
		if c.Size() != made[name].Size || c.Digest() != made[name].Digest {
			t.Errorf("%s: content is %s of %d bytes, not %v", name, c.Digest(), c.Size(), made[name])
		}
		file := extract(t, c)
		argument := "version"
		if name == "etcd" {
			argument = "--version"
		}
		out, err := exec.Command(file, argument).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%s %s: %v\n%s", name, argument, err, out)
		}
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range info.Settings {
			if s.Key == "-ldflags" || strings.HasPrefix(s.Key, "vcs") || strings.Contains(s.Value, m.store.Dir()) {
				t.Errorf("%s tells %s=%s", name, s.Key, s.Value)
			}
		}
	}
}

// extract writes content to an executable file.
func extract(t *testing.T, c rootfs.Content) string {
	t.Helper()
	r, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	file := filepath.Join(t.TempDir(), "program")
	w, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.ReadFrom(r); err != nil || n != c.Size() {
		t.Fatalf("%d of %d bytes: %v", n, c.Size(), err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWarmStoreNeedsNoGo(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolveAll(fake)
	cold := m.compile(pin, all...)
	m.env, m.ran = set(m.env, "PATH=/nonexistent"), &recorder{}
	if warm := m.compile(pin, all...); !equal(cold, warm) {
		t.Errorf("cold %v, warm %v", cold, warm)
	}
	if err := m.compiler().Prefetch(t.Context(), pin, []string{runtime.GOARCH}, all); err != nil {
		t.Error(err)
	}
	if n := m.ran.total(); n != 0 {
		t.Errorf("%d processes were started", n)
	}
}

// resolveAll pins a version with all of its programs.
func (m *machine) resolveAll(version string) lock.Etcd {
	m.t.Helper()
	r := request(version)
	r.Binaries = all
	pin, err := m.resolver().Resolve(m.t.Context(), r)
	if err != nil {
		m.t.Fatal(err)
	}
	return pin
}

func equal(a, b etcd.Binaries) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if a[name] != b[name] {
			return false
		}
	}
	return true
}

func TestBinaryIsTheSameWhateverElseIsCompiledWithIt(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolveAll(fake)
	alone := m.compile(pin, "etcd")
	if together := m.compile(pin, all...); together["etcd"] != alone["etcd"] {
		t.Errorf("alone %v, together %v", alone["etcd"], together["etcd"])
	}
	last := m.ran.runs[len(m.ran.runs)-1].Args
	if slices.Contains(last, pin.Packages["etcd"]) || !slices.Contains(last, pin.Packages["etcdctl"]) {
		t.Errorf("the second go build was not for what was missing: %v", last)
	}
	fresh := newMachine(t, []string{fake})
	if together := fresh.compile(fresh.resolveAll(fake), all...); together["etcd"] != alone["etcd"] {
		t.Errorf("alone %v, together elsewhere %v", alone["etcd"], together["etcd"])
	}
}

func TestHostsCompilerSettingsHaveNoEffect(t *testing.T) {
	plain := newMachine(t, []string{fake})
	want := plain.compile(plain.resolve(fake), "etcd")

	for name, variables := range map[string][]string{
		"environment": {"GOFLAGS=-tags=netgo -ldflags=-X=main.x=y -race", "GOAMD64=v3", "GOARM64=v9.0", "GOEXPERIMENT=nojsonv2", "GODEBUG=panicnil=1",
			"GOOS=windows", "GOARCH=arm", "CGO_ENABLED=1", "CGO_CFLAGS=-O0", "GO111MODULE=off", "GOTOOLCHAIN=go1.99.9", "GOWORK=/nonexistent/go.work", "GOFIPS140=latest", "GOROOT_FINAL=/x"},
		"go env -w": {"GOENV=" + goEnvFile(t, "GOFLAGS=-tags=netgo", "GOAMD64=v3", "GOARM64=v9.0", "GOTOOLCHAIN=go1.99.9", "GOFIPS140=latest")},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, []string{fake}, variables...)
			if got := m.compile(m.resolve(fake), "etcd"); got["etcd"] != want["etcd"] {
				t.Errorf("%v, not %v", got["etcd"], want["etcd"])
			}
		})
	}
}

func goEnvFile(t *testing.T, settings ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte(strings.Join(settings, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDownloadSettingsOfGoEnvAreHonoured(t *testing.T) {
	m := newMachine(t, []string{fake})
	var settings []string
	for _, name := range []string{"GOPROXY", "GOSUMDB", "GOMODCACHE", "GOCACHE"} {
		i := slices.IndexFunc(m.env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
		settings = append(settings, m.env[i])
		m.env = slices.Delete(m.env, i, i+1)
	}
	m.env = append(m.env, "GOENV="+goEnvFile(t, settings...))
	m.compile(m.resolve(fake), "etcd")
}

func TestLevelsAndFIPSModuleAreInTheBinary(t *testing.T) {
	m := newMachine(t, []string{fake})
	r := request(fake)
	r.FIPS, r.GOAMD64, r.GOARM64, r.GOPPC64 = true, "v2", "v8.1", "power9"
	pin, err := m.resolver().Resolve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	made := m.compile(pin, "etcd")
	info, err := buildinfo.ReadFile(extract(t, m.compiler().Content(made["etcd"])))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"GOFIPS140": "v1.0.0", "GOAMD64": "v2", "GOARM64": "v8.1", "GOPPC64": "power9"}
	found := 0
	for _, s := range info.Settings {
		if w, ok := want[s.Key]; ok && strings.HasPrefix(s.Value, w) {
			found++
		}
	}
	if found != 2 {
		t.Errorf("the build information has not the level and the module: %v", info.Settings)
	}
	if m.compiler().Has(m.resolve(fake), runtime.GOARCH, []string{"etcd"}) {
		t.Error("a binary of another level is taken for the plain one")
	}
}

func TestLostContentIsCompiledAgain(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolve(fake)
	made := m.compile(pin, "etcd")
	hex := strings.TrimPrefix(made["etcd"].Digest, "sha256:")
	var removed bool
	err := filepath.WalkDir(m.store.Dir(), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == hex {
			removed = true
			return os.Remove(path)
		}
		return err
	})
	if err != nil || !removed {
		t.Fatalf("removing the blob: %v, found: %v", err, removed)
	}
	if again := m.compile(pin, "etcd"); again["etcd"] != made["etcd"] || m.ran.count("build") != 2 {
		t.Errorf("%v again as %v, by %d compilers", made["etcd"], again["etcd"], m.ran.count("build"))
	}
}

func TestCallsForTheSameBinaryCompileItOnce(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolve(fake)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := m.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := m.ran.count("build"); n != 1 {
		t.Errorf("%d compilers ran", n)
	}
}

func TestProgressTellsEachStep(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolve(fake)
	// What go build tells depends on what its own cache has.
	m.env = set(m.env, "PATH="+script(t, `[ "$1" = build ] && printf 'go: downloading go1.99.9 (linux/amd64)\nunicode/utf8\n' >&2
exec "`+realGo(t)+`" "$@"
`)+":"+os.Getenv("PATH"))
	m.compile(pin, "etcd")
	m.compile(pin, "etcd")
	seen := map[etcd.Stage]int{}
	var modules, packages []string
	for _, e := range m.events {
		if e.Version != fake {
			t.Errorf("event of another version: %+v", e)
		}
		seen[e.Stage]++
		switch e.Stage {
		case etcd.Downloading:
			modules = append(modules, e.Detail)
		case etcd.Compiling:
			packages = append(packages, e.Detail)
		}
	}
	if seen[etcd.Resolving] != 1 || seen[etcd.Compiled] != 1 || seen[etcd.Reused] != 1 {
		t.Errorf("stages: %v", seen)
	}
	if !slices.Contains(modules, "go.etcd.io/etcd/server/v3 v3.6.99") || !slices.Contains(modules, "go1.99.9 (linux/amd64)") {
		t.Errorf("downloads told of: %v", modules)
	}
	if packages[0] != "" || packages[1] != "unicode/utf8" {
		t.Errorf("packages told of: %q", packages)
	}
}

func TestPrefetchedModulesCompileWithoutAnyProxy(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolveAll(fake)
	m.env = set(m.env, "GOMODCACHE="+filepath.Join(t.TempDir(), "other"))
	t.Cleanup(func() { _ = etcdtest.RemoveAll(m.env[len(m.env)-1][len("GOMODCACHE="):]) })
	if err := m.compiler().Prefetch(t.Context(), pin, []string{"amd64", "arm64"}, all); err != nil {
		t.Fatal(err)
	}
	cache := m.env[len(m.env)-1]
	m.env = append(set(m.env, "GOPROXY=off"), cache)
	m.compile(pin, all...)
}

func TestCancelledCompileLeavesNoProcessAndNoRecord(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolve(fake)
	pids := filepath.Join(t.TempDir(), "pids")
	// A go command whose build starts a child, tells both process numbers and
	// hangs. Everything else is the real one's business.
	dir := script(t, `case "$1" in
build) sh -c 'echo $$; exec sleep 600' >>`+pids+` & echo $$ >>`+pids+`; echo ready >>`+pids+`; wait ;;
*) exec "`+realGo(t)+`" "$@" ;;
esac
`)
	m.env = set(m.env, "PATH="+dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := m.compiler().Compile(ctx, pin, runtime.GOARCH, []string{"etcd"})
		failed <- err
	}()
	var numbers []string
	for len(numbers) < 3 {
		b, err := os.ReadFile(pids)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		numbers = strings.Fields(string(b))
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
	for _, n := range numbers {
		if n != "ready" && running(t, n) {
			t.Errorf("process %s still runs", n)
		}
	}
	if m.compiler().Has(pin, runtime.GOARCH, []string{"etcd"}) {
		t.Error("there is a record")
	}
	m.env = set(m.env, "PATH="+os.Getenv("PATH"))
	m.compile(pin, "etcd")
}

// running tells whether a process runs: one that nobody reaped does not.
func running(t *testing.T, pid string) bool {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

func realGo(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	return path
}
