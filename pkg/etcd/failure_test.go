package etcd_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

func TestModuleThatIsNotThePinnedOneIsRefused(t *testing.T) {
	// The proxy serves something else under the name of a version whose
	// checksum is pinned, as one would that was broken into.
	m := newMachine(t, []string{"3.6.16"})
	pin, err := m.resolver().Resolve(t.Context(), request("3.6.16"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
	var sum *etcd.ChecksumError
	if !errors.As(err, &sum) {
		t.Fatalf("error: %v", err)
	}
	// Which of the modules the go command looks at first is its own affair.
	name, _, _ := strings.Cut(strings.TrimSuffix(sum.Module, "/go.mod"), "@")
	if !strings.HasPrefix(name, "go.etcd.io/etcd/") || !strings.Contains(pin.GoSum, sum.Want) || strings.Contains(pin.GoSum, sum.Got) {
		t.Errorf("the error is about %+v", sum)
	}
	wantError(t, err, "compiling etcd 3.6.16 for "+runtime.GOARCH, sum.Module, sum.Got, sum.Want, "the lock's go.sum")
	if m.compiler().Has(pin, runtime.GOARCH, []string{"etcd"}) {
		t.Error("there is a record")
	}
}

func TestModuleWhoseFilesWereChangedIsRefused(t *testing.T) {
	honest := newMachine(t, []string{fake})
	pin := honest.resolve(fake)
	crooked := newMachine(t, []string{fake})
	root := filepath.Join(filepath.Dir(crooked.store.Dir()), "proxy")
	const server = "go.etcd.io/etcd/server/v3"
	if err := etcdtest.Publish(root, server, "v"+fake, map[string]string{
		"go.mod":  "module " + server + "\n\ngo 1.21\n\nrequire go.etcd.io/etcd/api/v3 v" + fake + "\n",
		"main.go": "package main\n\nfunc main() { println(\"mine\") }\n",
	}); err != nil {
		t.Fatal(err)
	}
	_, err := crooked.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
	var sum *etcd.ChecksumError
	if !errors.As(err, &sum) || sum.Module != server+"@v"+fake {
		t.Errorf("error: %v", err)
	}
}

func TestGoThatIsMissingOrTooOldIsToldWithItsRemedy(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		says []string
	}{
		"none":        {"/nonexistent", []string{"no go on the PATH", "install Go 1.21"}},
		"too old":     {script(t, `echo '{"GOVERSION": "go1.19.8", "GOPROXY": "https://mirror.example"}'`), []string{"is go1.19.8", "install Go 1.21"}},
		"versionless": {script(t, `echo '{}'`), []string{"of an unknown version"}},
		"not go":      {script(t, `echo 'usage: go FROM TO'; exit 2`), []string{"asking", "for its settings", "exit status 2"}},
		"babbling":    {script(t, `echo 'hello'`), []string{"not understood"}},
		"not mine":    {relative(t), []string{"no go on the PATH"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, []string{fake})
			pin := m.resolve(fake)
			m.env = set(m.env, "PATH="+c.path)
			_, err := m.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
			wantError(t, err, c.says...)
			_, err = m.resolver().Resolve(t.Context(), request("3.6.98"))
			wantError(t, err, c.says...)
		})
	}
}

// relative returns a PATH that finds a go command in the working directory.
func relative(t *testing.T) string {
	t.Helper()
	t.Chdir(script(t, "echo '{}'"))
	return "."
}

func TestColdModuleCacheWithoutNetworkNamesModuleAndProxy(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolve(fake)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for name, proxy := range map[string]string{
		"unreachable":  strings.Replace(closed.URL, "http://", "https://someone:secret@", 1),
		"switched off": "off",
	} {
		t.Run(name, func(t *testing.T) {
			cold := newMachine(t, nil)
			cold.env = set(cold.env, "GOPROXY="+proxy, "NO_PROXY=127.0.0.1")
			shown := strings.Replace(proxy, "secret", "xxxxx", 1)
			_, err := cold.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
			wantError(t, err, "go.etcd.io/etcd/", "@v3.6.99", "not in the module cache", "GOPROXY is "+shown)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells a password: %v", err)
			}
			err = cold.compiler().Prefetch(t.Context(), pin, []string{runtime.GOARCH}, []string{"etcd"})
			wantError(t, err, "not in the module cache")
			_, err = cold.resolver().Resolve(t.Context(), request(fake))
			wantError(t, err, "pinning etcd 3.6.99", "not in the module cache", "GOPROXY is "+shown)
		})
	}
}

func TestToolchainThatCanNotBeHadIsToldApartFromOneThatCanNotBeVerified(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolve(fake)
	pin.Toolchain = "go1.99.9"
	_, err := m.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
	wantError(t, err, "toolchain go1.99.9")

	m.env = set(m.env, "GOPROXY=off")
	_, err = m.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
	wantError(t, err, "toolchain go1.99.9 is neither on this machine nor to be downloaded", "etcd.toolchain: "+etcdtest.Toolchain())
}

func TestProgramNamedLikeTheToolchainIsNotRun(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolve(fake)
	pin.Toolchain = "go1.99.9"
	dir := script(t, "")
	ran := filepath.Join(dir, "ran")
	if err := os.WriteFile(filepath.Join(dir, "go1.99.9"), []byte("#!/bin/sh\ntouch "+ran+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	m.env = set(m.env, "PATH="+os.Getenv("PATH")+":"+dir)
	_, err := m.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
	wantError(t, err, "toolchain go1.99.9")
	if _, err := os.Stat(ran); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was run: %v", err)
	}
}

func TestCompilersWordsAreInTheError(t *testing.T) {
	m := newMachine(t, []string{fake})
	root := filepath.Join(filepath.Dir(m.store.Dir()), "proxy")
	const server = "go.etcd.io/etcd/server/v3"
	if err := etcdtest.Publish(root, server, "v3.6.96", map[string]string{
		"go.mod":  "module " + server + "\n\ngo 1.21\n",
		"main.go": "package main\n\nfunc main() { undefinedThing() }\n",
	}); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3"} {
		if err := etcdtest.Publish(root, other, "v3.6.96", map[string]string{"go.mod": "module " + other + "\n\ngo 1.21\n", "main.go": "package main\n\nfunc main() {}\n"}); err != nil {
			t.Fatal(err)
		}
	}
	pin := m.resolve("3.6.96")
	_, err := m.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
	wantError(t, err, "compiling etcd 3.6.96 for "+runtime.GOARCH, "main.go:3", "undefined: undefinedThing")
}

func TestLockThatWouldRunSomethingElseIsRefused(t *testing.T) {
	m := newMachine(t, []string{fake})
	for name, c := range map[string]struct {
		arch     string
		binaries []string
		change   func(*lock.Etcd)
		says     string
	}{
		"linker flag in a variable":  {change: func(p *lock.Etcd) { p.Variables["main.x"] = "y -extld=/bin/sh" }, says: "no value for one"},
		"linker flag as a variable":  {change: func(p *lock.Etcd) { p.Variables["main.x=y -extld"] = "z" }, says: "no linker variable"},
		"environment in a setting":   {change: func(p *lock.Etcd) { p.Settings["GOFLAGS"] = "-toolexec=/bin/sh" }, says: `"GOFLAGS" is no setting`},
		"unknown level":              {change: func(p *lock.Etcd) { p.Settings["GOAMD64"] = "v9" }, says: `no value for it`},
		"flag as a package":          {change: func(p *lock.Etcd) { p.Packages["etcd"] = "-toolexec=/bin/sh" }, says: "no package"},
		"path as a name":             {change: func(p *lock.Etcd) { p.Packages["../etcd"] = "go.etcd.io/etcd/server/v3" }, says: "no binary name"},
		"two outputs of one name":    {change: func(p *lock.Etcd) { p.Packages["other"] = "mirror.example/server" }, says: "both called server"},
		"path as the toolchain":      {change: func(p *lock.Etcd) { p.Toolchain = "path" }, says: "toolchain: "},
		"directory as a replacement": {change: func(p *lock.Etcd) { p.GoMod += "\nreplace go.etcd.io/etcd/api/v3 => /etc\n" }, says: "go.etcd.io/etcd/api/v3 is replaced by a directory"},
		"go.mod of no form":          {change: func(p *lock.Etcd) { p.GoMod = "{" }, says: "goMod: "},
		"unknown architecture":       {arch: "riscv64", change: func(*lock.Etcd) {}, says: "amd64, arm64, ppc64le, s390x"},
		"unknown binary":             {binaries: []string{"etcdadm"}, change: func(*lock.Etcd) {}, says: `has no "etcdadm"; there are etcd, etcdctl, etcdutl`},
	} {
		t.Run(name, func(t *testing.T) {
			pin, err := m.resolver().Resolve(t.Context(), etcd.Request{Version: "3.6.16"})
			if err != nil {
				t.Fatal(err)
			}
			c.change(&pin)
			if c.arch == "" {
				c.arch = "amd64"
			}
			if c.binaries == nil {
				c.binaries = []string{"etcd"}
			}
			_, err = m.compiler().Compile(t.Context(), pin, c.arch, c.binaries)
			wantError(t, err, "the lock of etcd 3.6.16 can not be compiled", c.says)
			if n := m.ran.total(); n != 0 {
				t.Errorf("%d processes were started", n)
			}
		})
	}
}

func TestWhatIsNotTheExpectedBinaryIsNotStored(t *testing.T) {
	real := realGo(t)
	for name, c := range map[string]struct{ build, says string }{
		"another toolchain's": {`GOTOOLCHAIN=local; export GOTOOLCHAIN; exec "` + real + `" "$@"`, "compiled it, not go1.99.9"},
		"not ELF":             {`echo '#!/bin/sh' >"$4/server"`, "no ELF file"},
		"nothing":             {`exit 0`, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, []string{fake})
			pin := m.resolve(fake)
			if name == "another toolchain's" {
				pin.Toolchain = "go1.99.9"
			}
			m.env = set(m.env, "PATH="+script(t, `case "$1" in
build) `+c.build+` ;;
*) exec "`+real+`" "$@" ;;
esac
`)+":"+os.Getenv("PATH"))
			_, err := m.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
			wantError(t, err, "etcd is not what was to be made", c.says)
			if m.compiler().Has(pin, runtime.GOARCH, []string{"etcd"}) {
				t.Error("there is a record")
			}
		})
	}
	t.Run("another architecture's", func(t *testing.T) {
		m := newMachine(t, []string{fake})
		pin := m.resolve(fake)
		m.env = set(m.env, "PATH="+script(t, `GOARCH=`+map[bool]string{true: "arm64", false: "amd64"}[runtime.GOARCH == "amd64"]+` exec "`+real+`" "$@"`)+":"+os.Getenv("PATH"))
		_, err := m.compiler().Compile(t.Context(), pin, runtime.GOARCH, []string{"etcd"})
		wantError(t, err, "not for "+runtime.GOARCH)
	})
}

func TestNothingIsPassedOnThatChangesTheOutput(t *testing.T) {
	m := newMachine(t, []string{fake}, "GOFLAGS=-race", "GOEXPERIMENT=x", "CC=evil", "CGO_LDFLAGS=-x", "GODEBUG=x=1", "GOROOT=/nonexistent", "LD_LIBRARY_PATH=/nonexistent", "HTTPS_PROXY=http://mirror.example:3128", "SSL_CERT_FILE=/etc/ssl/x.pem", "NETRC=/x")
	m.compile(m.resolve(fake), "etcd")
	for _, c := range m.ran.runs {
		if c.Args[0] != "build" {
			continue
		}
		for _, want := range []string{"HTTPS_PROXY=http://mirror.example:3128", "SSL_CERT_FILE=/etc/ssl/x.pem", "NETRC=/x", "CGO_ENABLED=0", "GOENV=off", "GOFLAGS=", "GOTOOLCHAIN=" + etcdtest.Toolchain()} {
			if !slices.Contains(c.Env, want) {
				t.Errorf("the compiler's environment has no %s", want)
			}
		}
		for _, kv := range c.Env {
			name, _, _ := strings.Cut(kv, "=")
			if slices.Contains([]string{"GOEXPERIMENT", "CC", "CGO_LDFLAGS", "GODEBUG", "GOROOT", "LD_LIBRARY_PATH"}, name) {
				t.Errorf("the compiler's environment has %s", kv)
			}
		}
	}
}
