package debian_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

var update = flag.Bool("update", false, "write golden files anew")

// baseSystem resolves and unpacks the small Debian of debiantest.
func baseSystem(t *testing.T, goarch string) ([]lock.Suite, lock.Debian, []*debian.Package) {
	t.Helper()
	f := newFixture(t)
	f.AddBase()
	f.req.Archs = []string{goarch}
	suites, sets := f.mustResolve(debiantest.BasePackages()...)
	r := f.again()
	var pkgs []*debian.Package
	for _, p := range sets[0].Packages {
		pkgs = append(pkgs, mustUnpack(t, r, p))
	}
	return suites, sets[0], pkgs
}

// system places packages and applies the rules.
func system(t *testing.T, pkgs []*debian.Package, o debian.RuleOptions) (*rootfs.Tree, debian.Report) {
	t.Helper()
	tr := rootfs.New()
	if err := debian.Place(tr, pkgs, o); err != nil {
		t.Fatal(err)
	}
	report, err := debian.Apply(context.Background(), tr, pkgs, o)
	if err != nil {
		t.Fatal(err)
	}
	return tr, report
}

// beyond lists what no package ships, with content. Of dpkg's files about each
// package those about libc6 stand for all.
func beyond(t *testing.T, tr *rootfs.Tree, pkgs []*debian.Package) string {
	t.Helper()
	shipped := map[string]bool{}
	for _, p := range pkgs {
		for _, e := range p.Entries {
			shipped[e.Path] = true
		}
	}
	var b strings.Builder
	err := tr.Walk(func(e *rootfs.Entry) error {
		if strings.HasPrefix(e.Path, "/var/lib/dpkg/info/") && !strings.Contains(e.Path, "libc6") {
			return nil
		}
		if shipped[e.Path] && (e.Type == rootfs.File || e.Type == rootfs.Dir && e.Mode == 0o755) || tr.Implied(e.Path) {
			return nil
		}
		fmt.Fprintf(&b, "%c %04o %d:%d %s", e.Type, e.Mode, e.UID, e.GID, e.Path)
		if e.Link != "" {
			fmt.Fprintf(&b, " -> %s", e.Link)
		}
		fmt.Fprintf(&b, " (%s)\n", e.Origin)
		if e.Type == rootfs.File {
			for line := range strings.Lines(read(t, e.Content)) {
				b.WriteString("\t" + strings.TrimSuffix(line, "\n") + "\n")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, file, got)
		return
	}
	if diff := cmp.Diff(readFile(t, file), got); diff != "" {
		t.Errorf("%s is not what there is now (-want +got); go test -update writes it anew:\n%s", file, diff)
	}
}

func sources(t *testing.T, suites []lock.Suite, set lock.Debian) []debian.Source {
	t.Helper()
	s, err := debian.RuntimeSources(nil, suites, set)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestABaseSystemIsWhatItsScriptsWouldHaveMade(t *testing.T) {
	for _, slim := range []bool{false, true} {
		suites, set, pkgs := baseSystem(t, "amd64")
		tr, report := system(t, pkgs, debian.RuleOptions{Arch: "amd64", Slim: slim, Day: 20000, Sources: sources(t, suites, set)})
		if len(report.Uncovered) > 0 {
			t.Errorf("uncovered: %v", report.Uncovered)
		}
		golden(t, map[bool]string{false: "base.golden", true: "base-slim.golden"}[slim], beyond(t, tr, pkgs))
	}
}

func TestArchitecturesDifferInTheirDiversions(t *testing.T) {
	for goarch, want := range map[string][]string{
		"amd64":   {"/lib32", "/libo32", "/libx32", "/lib64/ld-linux-x86-64.so.2"},
		"arm64":   {"/lib32", "/lib64", "/libo32", "/libx32", "/lib/ld-linux-aarch64.so.1"},
		"ppc64le": {"/lib32", "/libo32", "/libx32", "/lib64/ld64.so.2"},
		"s390x":   {"/lib32", "/lib64", "/libo32", "/libx32", "/lib/ld64.so.1"},
	} {
		_, _, pkgs := baseSystem(t, goarch)
		tr, _ := system(t, pkgs, debian.RuleOptions{Arch: goarch})
		lines := strings.Split(strings.TrimSpace(read(t, get(t, tr, "/var/lib/dpkg/diversions").Content)), "\n")
		var got []string
		for i := 0; i+2 < len(lines); i += 3 {
			got = append(got, lines[i])
			if to := lines[i+1]; !strings.HasSuffix(to, ".usr-is-merged") {
				t.Errorf("%s: %s goes to %s", goarch, lines[i], to)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: diversions (-want +got):\n%s", goarch, diff)
		}
		arch, _ := debian.DebianArch(goarch)
		for _, f := range []string{"arch", "arch-native"} {
			if got := read(t, get(t, tr, "/var/lib/dpkg/"+f).Content); got != arch+"\n" {
				t.Errorf("%s: %s is %q", goarch, f, got)
			}
		}
		get(t, tr, "/var/lib/dpkg/info/libc6:"+arch+".list")
	}
}

// made makes a package out of entries, without a .deb.
func made(name string, scripts map[string]string, entries ...rootfs.Entry) *debian.Package {
	control := fmt.Sprintf("Package: %s\nVersion: 1.0\nArchitecture: all\n", name)
	p := &debian.Package{
		Name: name, Version: "1.0", Arch: "all", ControlFile: []byte(control), Date: time.Unix(0, 0),
		Control: debian.Stanza{{Name: "Package", Value: name}, {Name: "Version", Value: "1.0"}, {Name: "Architecture", Value: "all"}},
	}
	for n, body := range scripts {
		p.Files = append(p.Files, debian.ControlFile{Name: n, Mode: 0o755, Content: rootfs.Bytes([]byte(body))})
	}
	for _, e := range entries {
		e.Component, e.Origin = "base", name
		p.Entries = append(p.Entries, e)
	}
	return p
}

func regular(path, body string) rootfs.Entry {
	return rootfs.Entry{Path: path, Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte(body))}
}

func TestAFileThatAnotherPackageDivertsIsMovedAside(t *testing.T) {
	_, _, pkgs := baseSystem(t, "amd64")
	pkgs = append(pkgs, made("old-multilib", nil,
		rootfs.Entry{Path: "/libx32", Type: rootfs.Symlink, Mode: 0o777, Link: "usr/libx32"},
		rootfs.Entry{Path: "/lib/old.so", Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes(nil)}))
	tr, _ := system(t, pkgs, debian.RuleOptions{Arch: "amd64"})
	if _, ok := tr.Get("/libx32"); ok {
		t.Error("/libx32 is there")
	}
	if e := get(t, tr, "/.libx32.usr-is-merged"); e.Link != "usr/libx32" {
		t.Errorf("moved aside: %+v", e)
	}
	get(t, tr, "/usr/lib/old.so") // through the link of base-files, whatever the packages' names
	if list := read(t, get(t, tr, "/var/lib/dpkg/info/old-multilib.list").Content); list != "/.\n/libx32\n/lib/old.so\n" {
		t.Errorf("its list has %q", list)
	}
}

func TestAMultilibDirectoryGetsItsLink(t *testing.T) {
	_, _, pkgs := baseSystem(t, "amd64")
	pkgs = append(pkgs, made("libc6-x32", nil, rootfs.Entry{Path: "/usr/libx32", Type: rootfs.Dir, Mode: 0o755}))
	tr, _ := system(t, pkgs, debian.RuleOptions{Arch: "amd64"})
	if e := get(t, tr, "/libx32"); e.Link != "usr/libx32" {
		t.Errorf("%+v", e)
	}
}

func TestTheOrderOfPackagesDoesNotShow(t *testing.T) {
	suites, set, pkgs := baseSystem(t, "s390x")
	o := debian.RuleOptions{Arch: "s390x", Slim: true, Day: 7, Sources: sources(t, suites, set)}
	list := func(tr *rootfs.Tree) string {
		var b strings.Builder
		tr.Walk(func(e *rootfs.Entry) error {
			digest := ""
			if e.Content != nil {
				digest = e.Content.Digest()
			}
			fmt.Fprintln(&b, e.Path, e.Type, e.Mode, e.UID, e.GID, e.Link, digest, e.Origin, e.Component, tr.Implied(e.Path))
			return nil
		})
		return b.String()
	}
	first, _ := system(t, pkgs, o)
	want := list(first)
	r := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		r.Shuffle(len(pkgs), func(i, k int) { pkgs[i], pkgs[k] = pkgs[k], pkgs[i] })
		again, _ := system(t, pkgs, o)
		if diff := cmp.Diff(want, list(again)); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestWithoutDpkgThereIsNoDatabaseToMaintain(t *testing.T) {
	_, _, pkgs := baseSystem(t, "amd64")
	var some []*debian.Package
	for _, p := range pkgs {
		if p.Name != "dpkg" {
			some = append(some, p)
		}
	}
	tr, _ := system(t, some, debian.RuleOptions{Arch: "amd64", Slim: true})
	get(t, tr, "/var/lib/dpkg/status.d/mawk")
	if e := get(t, tr, "/usr/bin/awk"); e.Link != "/etc/alternatives/awk" {
		t.Errorf("awk: %+v", e)
	}
	for _, p := range []string{"/var/lib/dpkg/status", "/var/lib/dpkg/alternatives", "/usr/sbin/policy-rc.d", "/etc/dpkg/dpkg.cfg.d/docker"} {
		if _, ok := tr.Get(p); ok {
			t.Errorf("%s is there", p)
		}
	}
}

func TestSourcesOfTheImage(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 3, d, 12, 0, 0, 0, time.UTC) }
	suites := []lock.Suite{
		{Archive: "debian", Suite: "trixie", Components: []string{"main"}, Arch: "amd64", Date: day(1)},
		{Archive: "debian", Suite: "trixie-updates", Components: []string{"main"}, Arch: "amd64", Date: day(3)},
		{Archive: "debian", Suite: "trixie", Components: []string{"main"}, Arch: "s390x", Date: day(1)},
		{Archive: "debian", Suite: "trixie-updates", Components: []string{"main"}, Arch: "s390x", Date: day(3), Skipped: "on request"},
		{Archive: "https://mirror.example/extra", Suite: "stable", Components: []string{"main", "contrib"}, Arch: "all", Date: day(9)},
	}
	tls := lock.Debian{Arch: "amd64", Packages: []lock.Package{{Name: "ca-certificates"}}}
	for _, c := range []struct {
		title string
		lines []string
		set   lock.Debian
		want  string
	}{
		{"the suites of the lock, as of the newest", nil, tls,
			"https://snapshot.debian.org/archive/debian/20260304T120000Z/ [trixie trixie-updates] [main] true; https://mirror.example/extra [stable] [main contrib] false"},
		{"without certificates no TLS, without a suite none of it", nil, lock.Debian{Arch: "s390x"},
			"http://snapshot.debian.org/archive/debian/20260302T120000Z/ [trixie] [main] true; https://mirror.example/extra [stable] [main contrib] false"},
		{"what the profile says", []string{"http://mirror.example/debian trixie main", "debian trixie-backports main"}, tls,
			"http://mirror.example/debian [trixie] [main] false; https://snapshot.debian.org/archive/debian/20260304T120000Z/ [trixie-backports] [main] true"},
		{"an archive that the lock does not know", []string{"debian-security trixie-security main"}, tls,
			"https://snapshot.debian.org/archive/debian-security/20260304T120000Z/ [trixie-security] [main] true"},
	} {
		got, err := debian.RuntimeSources(c.lines, suites, c.set)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, s := range got {
			all = append(all, fmt.Sprintf("%s %v %v %v", s.URI, s.Suites, s.Components, s.Pinned))
		}
		if diff := cmp.Diff(c.want, strings.Join(all, "; ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.title, diff)
		}
	}
	_, err := debian.RuntimeSources([]string{"debian trixie main"}, nil, tls)
	wantError(t, err, "debian", "write a URL")
	_, err = debian.RuntimeSources([]string{"trixie main"}, suites, tls)
	wantError(t, err, "trixie main")
}

func TestSourcesNameTheKeysOfTheProfile(t *testing.T) {
	_, _, pkgs := baseSystem(t, "amd64")
	key := debiantest.NewKey(now)
	tr, _ := system(t, pkgs, debian.RuleOptions{
		Arch: "amd64", Keys: [][]byte{key.Public(), key.PublicBinary()},
		Sources: []debian.Source{{URI: "http://mirror.example/debian", Suites: []string{"trixie"}, Components: []string{"main"}}},
	})
	want := "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\n" +
		"Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp /etc/apt/keyrings/profile-1.asc /etc/apt/keyrings/profile-2.pgp\n"
	if got := read(t, get(t, tr, "/etc/apt/sources.list.d/debian.sources").Content); got != want {
		t.Errorf("sources:\n%s", got)
	}
	if got := read(t, get(t, tr, "/etc/apt/keyrings/profile-2.pgp").Content); got != string(key.PublicBinary()) {
		t.Error("the key is another one")
	}
}

func TestARuleThatLacksItsFileSaysWhich(t *testing.T) {
	for _, c := range []struct{ pkg, want string }{
		{"libc-bin", "/usr/share/libc-bin/nsswitch.conf"},
		{"base-passwd", "/usr/share/base-passwd/passwd.master"},
		{"libpam-runtime", "/usr/share/pam/common-auth"},
		{"debianutils", "/usr/share/debianutils/shells"},
	} {
		_, err := debian.Apply(context.Background(), rootfs.New(), []*debian.Package{made(c.pkg, nil)}, debian.RuleOptions{Arch: "amd64"})
		wantError(t, err, c.want, "missing")
	}
}

// Whatever a package's data files hold, the rules end with an error or with
// accounts that nobody can log in to.
func FuzzRulesReadWhatPackagesShip(f *testing.F) {
	f.Add("root:*:0:0:root:/root:/bin/bash\n", "root:*:0:\n", "Name: x\nDefault: yes\nAuth-Type: Primary\nAuth:\n\t[success=end] pam_x.so\n", "/bin/sh\n", "interest-await x\n")
	f.Add("", "", "", "", "")
	f.Add("a:b", "x", "\t", "#", "interest /x\ninterest ../../x\n")
	f.Add("r::0:0:::\n", "g:!:1:r,s\n", "Session-Type: Additional\nSession:\n\tend\n", "//\n..\nx", "activate y\n")
	f.Fuzz(func(t *testing.T, passwd, group, pam, shells, triggers string) {
		common := []rootfs.Entry{regular("/usr/share/pam-configs/x", pam)}
		for _, kind := range []string{"auth", "account", "password", "session", "session-noninteractive"} {
			common = append(common, regular("/usr/share/pam/common-"+kind, "$x_primary\n$x_additional\n"))
		}
		pkgs := []*debian.Package{
			made("base-passwd", nil, regular("/usr/share/base-passwd/passwd.master", passwd), regular("/usr/share/base-passwd/group.master", group)),
			made("passwd", nil), made("libpam-runtime", nil, common...),
			made("debianutils", nil, regular("/usr/share/debianutils/shells", "/bin/sh\n"), regular("/usr/share/debianutils/shells.d/x", shells)),
			made("dpkg", map[string]string{"triggers": triggers}),
		}
		tr := rootfs.New()
		o := debian.RuleOptions{Arch: "amd64"}
		if err := debian.Place(tr, pkgs, o); err != nil {
			t.Fatal(err)
		}
		if _, err := debian.Apply(context.Background(), tr, pkgs, o); err != nil {
			return
		}
		for line := range strings.Lines(read(t, get(t, tr, "/etc/passwd").Content)) {
			if w := strings.Split(line, ":"); len(w) < 4 || w[1] != "x" {
				t.Errorf("passwd has %q", line)
			}
		}
		for line := range strings.Lines(read(t, get(t, tr, "/etc/shadow").Content)) {
			if w := strings.Split(line, ":"); len(w) != 9 || w[1] != "*" {
				t.Errorf("shadow has %q", line)
			}
		}
		err := tr.Walk(func(e *rootfs.Entry) error {
			if strings.Contains(e.Path, "..") || e.Type == rootfs.Symlink && !strings.HasPrefix(e.Path, "/etc/") {
				t.Errorf("it made %s", e.Path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
