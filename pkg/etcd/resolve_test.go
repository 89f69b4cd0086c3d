package etcd_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/modfile"

	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
	"github.com/etcdimg/etcdimg/pkg/lock"
)

func TestNewestVersionOfEachLineIsPinnedWithoutAnyProcess(t *testing.T) {
	for _, l := range etcd.Lines() {
		t.Run(l.Name, func(t *testing.T) {
			m := newMachine(t, nil, "PATH=/nonexistent")
			pin, err := m.resolver().Resolve(t.Context(), etcd.Request{Version: l.Newest})
			if err != nil {
				t.Fatal(err)
			}
			if n := m.ran.total(); n != 0 {
				t.Errorf("%d processes were started", n)
			}
			version := "v" + l.Newest
			if l.Tags != nil {
				version = l.Tags[l.Newest]
			} else if l.Incompatible {
				version += "+incompatible"
			}
			if pin.Version != l.Newest || pin.ModuleVersion != version || pin.Line != l.Name || pin.Toolchain != etcd.DefaultToolchain {
				t.Errorf("pinned %s %s of %s with %s", pin.Version, pin.ModuleVersion, pin.Line, pin.Toolchain)
			}
			if pin.Date.IsZero() || pin.Date.Location() != time.UTC {
				t.Errorf("the date is %v", pin.Date)
			}
			if sha := pin.Variables[l.GitSHA]; l.Name == "3.4" {
				if !strings.HasSuffix(version, "-"+sha) {
					t.Errorf("the identity is %q, which is not the commit of %s", sha, version)
				}
			} else if !strings.Contains(pin.GoSum, l.Identity+" "+pin.ModuleVersion+" "+sha+"\n") || !strings.HasPrefix(sha, "h1:") {
				t.Errorf("the identity is %q, which is not the checksum of %s", sha, l.Identity)
			}
			mod, err := modfile.Parse("go.mod", []byte(pin.GoMod), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range mod.Require {
				if i := slices.Index(l.Modules, r.Mod.Path); i >= 0 && (r.Mod.Version != pin.ModuleVersion || r.Indirect) {
					t.Errorf("go.mod requires %v, indirect: %v", r.Mod, r.Indirect)
				}
				made := slices.ContainsFunc(pin.Edits, func(e lock.Edit) bool { return e.Own && e.Module == r.Mod.Path })
				replaced := slices.ContainsFunc(mod.Replace, func(p *modfile.Replace) bool { return p.Old.Path == r.Mod.Path && p.New.Version != "" })
				if !made && !replaced && !strings.Contains(pin.GoSum, r.Mod.Path+" "+r.Mod.Version+"/go.mod h1:") {
					t.Errorf("go.sum has no line for the go.mod of %v", r.Mod)
				}
			}
		})
	}
}

func TestVersionBeyondTheEmbeddedOnesIsCompletedByTheGoCommand(t *testing.T) {
	m := newMachine(t, []string{fake, "3.6.98"})
	pin, err := m.resolver().Resolve(t.Context(), etcd.Request{Version: fake, Toolchain: etcdtest.Toolchain()})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"module etcdimg.build/etcd-3.6\n",
		"go.etcd.io/etcd/server/v3 v3.6.99\n",
		"go.etcd.io/etcd/etcdctl/v3 v3.6.99\n",
		"go.etcd.io/etcd/etcdutl/v3 v3.6.99\n",
		"go.etcd.io/etcd/api/v3 v3.6.99 // indirect\n",
	} {
		if !strings.Contains(pin.GoMod, want) {
			t.Errorf("go.mod has no %q:\n%s", want, pin.GoMod)
		}
	}
	if n := strings.Count(pin.GoSum, " v3.6.99 h1:"); n != 4 {
		t.Errorf("go.sum pins %d modules of etcd, not 4:\n%s", n, pin.GoSum)
	}
	if !pin.Date.Equal(etcdtest.Date()) {
		t.Errorf("the date is %v", pin.Date)
	}
	r := request(fake)
	r.Binaries = []string{"etcdutl", "etcdctl", "etcd"}
	again, err := newMachine(t, []string{"3.6.98", fake}).resolver().Resolve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if pin.GoMod != again.GoMod || pin.GoSum != again.GoSum {
		t.Error("another machine pins something else")
	}
}

func TestRequestsThatCanNotBeMetNameTheKeyAndTheRemedy(t *testing.T) {
	with := func(change func(*etcd.Request)) etcd.Request {
		r := request("3.6.16")
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		request etcd.Request
		key     string
		says    []string
	}{
		"line outside the catalogue": {request("3.99.0"), "etcd.versions", []string{"3.99", "3.5, 3.6, 3.7"}},
		"line instead of a version":  {request("3.6"), "etcd.versions", []string{`"3.6" names a line`, "3.6.16"}},
		"tag instead of a version":   {request("v3.6.16"), "etcd.versions", []string{"without its v: 3.6.16"}},
		"no version at all":          {request("latest"), "etcd.versions", []string{"MAJOR.MINOR.PATCH"}},
		"binary that there is not":   {with(func(r *etcd.Request) { r.Binaries = []string{"etcdadm"} }), "etcd.binaries", []string{"etcdadm", "etcd, etcdctl, etcdutl"}},
		"unknown origin":             {with(func(r *etcd.Request) { r.From = "git" }), "etcd.from", []string{`"git"`, "source or release"}},
		"unknown origin of one":      {with(func(r *etcd.Request) { r.FromByArch = map[string]string{"amd64": "git"} }), "etcd.from", []string{`"git"`, "source or release"}},
		"origin for no architecture": {with(func(r *etcd.Request) { r.FromByArch = map[string]string{"riscv64": "source"} }), "etcd.from", []string{`"riscv64"`, "amd64, arm64, ppc64le, s390x"}},
		"architecture that is none":  {with(func(r *etcd.Request) { r.Archs = []string{"x86_64"} }), "etcd.from", []string{`"x86_64"`, "amd64, arm64, ppc64le, s390x"}},
		"official release with FIPS": {with(func(r *etcd.Request) { r.From, r.FIPS = "release", true }), "etcd.fips", []string{"taken as they are", "from: source"}},
		"official release bumped": {with(func(r *etcd.Request) {
			r.FromByArch = map[string]string{"amd64": "release"}
			r.Bump = map[string]string{"golang.org/x/net": "v0.61.0"}
		}), "etcd.bump", []string{"taken as they are", "from: source for amd64"}},
		"official release of a level": {with(func(r *etcd.Request) { r.FromByArch, r.GOARM64 = map[string]string{"arm64": "release"}, "v9.0" }), "etcd.goarm64", []string{"from: source for arm64"}},
		"old line without etcdutl":    {etcd.Request{Version: "3.4.26", Binaries: []string{"etcd", "etcdutl"}}, "etcd.binaries", []string{`etcd 3.4 has no "etcdutl"`, "etcd, etcdctl"}},
		"version that has no module":  {etcd.Request{Version: "3.4.20"}, "etcd.versions", []string{"3.4.20 is not to be had as a Go module", "3.4.3, 3.4.9, 3.4.13, 3.4.15, 3.4.16, 3.4.24, 3.4.26"}},
		"line of one version":         {etcd.Request{Version: "2.3.7"}, "etcd.versions", []string{"of this line there are 2.3.8"}},
		"bump of an edited module":    {etcd.Request{Version: "3.1.20", Bump: map[string]string{"github.com/ugorji/go": "v1.2.0"}}, "etcd.bump", []string{"edited github.com/ugorji/go"}},
		"toolchain without a patch":   {with(func(r *etcd.Request) { r.Toolchain = "go1.27" }), "etcd.toolchain", []string{"go1.27.0"}},
		"toolchain without go":        {with(func(r *etcd.Request) { r.Toolchain = "1.27.4" }), "etcd.toolchain", []string{"go1.27.4"}},
		"toolchain that is a path":    {with(func(r *etcd.Request) { r.Toolchain = "../../bin/sh" }), "etcd.toolchain", []string{"not a Go release"}},
		"toolchain that is no module": {with(func(r *etcd.Request) { r.Toolchain = "go1.20.1" }), "etcd.toolchain", []string{"too old"}},
		"toolchain older than etcd":   {with(func(r *etcd.Request) { r.Toolchain = "go1.25.5" }), "etcd.toolchain", []string{"go1.25.5", "go1.26.0 or newer"}},
		"FIPS without its module":     {with(func(r *etcd.Request) { r.FIPS = true; r.Toolchain = "go1.23.12" }), "etcd.fips", []string{"go1.24 or newer"}},
		"amd64 level":                 {with(func(r *etcd.Request) { r.GOAMD64 = "v5" }), "etcd.goamd64", []string{"v1, v2, v3 or v4"}},
		"arm64 level":                 {with(func(r *etcd.Request) { r.GOARM64 = "8" }), "etcd.goarm64", []string{"v8.0"}},
		"ppc64le level":               {with(func(r *etcd.Request) { r.GOPPC64 = "power7" }), "etcd.goppc64", []string{"power8"}},
		"bump to a range":             {with(func(r *etcd.Request) { r.Bump = map[string]string{"google.golang.org/grpc": "latest"} }), "etcd.bump", []string{"latest", "v1.83.2"}},
		"bump of no module":           {with(func(r *etcd.Request) { r.Bump = map[string]string{"-x": "v1.0.0"} }), "etcd.bump", []string{"not a module path"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, nil, "PATH=/nonexistent")
			_, err := m.resolver().Resolve(t.Context(), c.request)
			wantError(t, err, c.says...)
			var key *etcd.KeyError
			if !errors.As(err, &key) || key.Key != c.key {
				t.Errorf("the error is about another key than %s: %#v", c.key, err)
			}
		})
	}
}

func TestAllThatIsWrongWithARequestIsToldAtOnce(t *testing.T) {
	err := etcd.Request{Version: "4.0.0", From: "git", Toolchain: "gcc", GOAMD64: "v9"}.Check()
	wantError(t, err, "etcd.versions: ", "etcd.from: ", "etcd.toolchain: ", "etcd.goamd64: ")
}

func TestVersionThatDoesNotExistListsThoseThatDo(t *testing.T) {
	m := newMachine(t, []string{fake, "3.6.98", "3.5.98"})
	_, err := m.resolver().Resolve(t.Context(), request("3.6.77"))
	wantError(t, err, "no etcd 3.6.77", "3.6.16, 3.6.98, 3.6.99")
	var key *etcd.KeyError
	if !errors.As(err, &key) || key.Key != "etcd.versions" || strings.Contains(err.Error(), "3.5.98") {
		t.Errorf("error: %v", err)
	}
}

func TestVersionOfWhichAProgramIsMissingCanBeHadWithoutIt(t *testing.T) {
	m := newMachine(t, []string{fake, "3.6.98"})
	ctl := filepath.Join(filepath.Dir(m.store.Dir()), "proxy", "go.etcd.io", "etcd", "etcdctl", "v3", "@v")
	for _, file := range []string{"v3.6.99.info", "v3.6.99.mod", "v3.6.99.zip"} {
		if err := os.Remove(filepath.Join(ctl, file)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(ctl, "list"), []byte("v3.6.98\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	pin := m.resolve(fake)
	if len(pin.Packages) != 1 || strings.Contains(pin.GoMod, "etcdctl") {
		t.Errorf("pinned %v:\n%s", pin.Packages, pin.GoMod)
	}
	r := request(fake)
	r.Binaries = []string{"etcd", "etcdctl"}
	_, err := m.resolver().Resolve(t.Context(), r)
	wantError(t, err, "etcd.versions: ", "no etcdctl 3.6.99", "of this line there are 3.6.16, 3.6.98")
	if strings.Contains(err.Error(), "3.6.16, 3.6.98, 3.6.99") {
		t.Errorf("the version itself is offered: %v", err)
	}
}

func TestBumpRaisesADependencyAndSaysWhereItCanNot(t *testing.T) {
	m := newMachine(t, []string{fake, "3.6.98"})
	const api = "go.etcd.io/etcd/api/v3"
	root := strings.TrimPrefix(m.env[slices.IndexFunc(m.env, func(s string) bool { return strings.HasPrefix(s, "GOPROXY=") })], "GOPROXY=file://")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(etcdtest.Publish(root, api, "v3.6.100", map[string]string{
		"go.mod":             "module " + api + "\n\ngo 1.21\n",
		"version/version.go": "package version\n\nvar (\n\tVersion = \"3.6.100\"\n\tAPIVersion = \"3.6\"\n\tGitSHA = \"\"\n)\n",
	}))
	must(etcdtest.Publish(root, "mirror.example/unused", "v1.0.0", map[string]string{"go.mod": "module mirror.example/unused\n", "unused.go": "package unused\n"}))
	must(os.WriteFile(filepath.Join(root, "go.etcd.io", "etcd", "api", "v3", "@v", "list"), []byte("v3.6.98\nv3.6.99\nv3.6.100\n"), 0o644))

	bumped := func(path, version string) (string, error) {
		r := request(fake)
		r.Bump = map[string]string{path: version}
		pin, err := m.resolver().Resolve(t.Context(), r)
		return pin.GoMod, err
	}
	mod, err := bumped(api, "v3.6.100")
	must(err)
	if !strings.Contains(mod, api+" v3.6.100") || !strings.Contains(mod, "server/v3 v3.6.99") {
		t.Errorf("go.mod:\n%s", mod)
	}
	_, err = bumped(api, "v3.6.98")
	wantError(t, err, "etcd.bump: ", "v3.6.98 is below what etcd 3.6.99 needs")
	_, err = bumped("mirror.example/unused", "v1.0.0")
	wantError(t, err, "etcd.bump: ", "nothing in etcd 3.6.99 comes from mirror.example/unused")
	_, err = bumped(api, "v3.6.101")
	wantError(t, err, "etcd.bump: ", "there is no "+api+" v3.6.101")
}

func TestPrereleaseIsPinnedLikeAnyVersion(t *testing.T) {
	m := newMachine(t, []string{"3.7.9-rc.0"})
	pin := m.resolve("3.7.9-rc.0")
	if pin.Line != "3.7" || pin.ModuleVersion != "v3.7.9-rc.0" {
		t.Errorf("pinned %s of %s", pin.ModuleVersion, pin.Line)
	}
}

func TestNothingOfTheMachineIsInAPin(t *testing.T) {
	m := newMachine(t, []string{fake})
	pin := m.resolve(fake)
	if found := regexp.MustCompile(`(/tmp|file:|proxy|modcache)`).FindString(pin.GoMod + pin.GoSum); found != "" {
		t.Errorf("the pin has %q", found)
	}
}
