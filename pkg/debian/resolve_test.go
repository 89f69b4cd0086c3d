package debian_test

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
)

type deb = debiantest.Deb

// fields are control fields by turns of name and value.
func fields(kv ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

func TestHardenedResolvesForFourArchitecturesFromOneIndex(t *testing.T) {
	f := hardened(t)
	suites, sets := f.mustResolve()
	if len(sets) != 4 {
		t.Fatalf("%d sets", len(sets))
	}
	for i, set := range sets {
		if set.Arch != archs[i] {
			t.Errorf("set %d is for %s, not %s", i, set.Arch, archs[i])
		}
		if got := names(set); got != "ca-certificates=20250419 tzdata=2026c-0+deb13u1" {
			t.Errorf("%s: %s", set.Arch, got)
		}
		if !reflect.DeepEqual(set.Omitted, []string{"debconf", "openssl"}) {
			t.Errorf("omitted: %v", set.Omitted)
		}
	}
	tz := sets[0].Packages[1]
	if tz.Suite != "trixie-updates" || tz.Archive != "debian" || tz.Snapshot != "20260305T040607Z" || tz.Arch != "all" {
		t.Errorf("tzdata is locked as %+v", tz)
	}
	if len(suites) != 3 || suites[0].Arch != "all" || suites[2].Archive != "debian-security" || suites[1].SignedBy[0] != f.Key.Fingerprint() {
		t.Errorf("suites: %+v", suites)
	}
	for _, path := range f.Requests() {
		if strings.Contains(path, "binary-s390x") {
			t.Errorf("asked for %s", path)
		}
	}
}

func TestAMirrorThatLacksArchitecturesGivesTheSameLock(t *testing.T) {
	f := hardened(t)
	suites, sets := f.mustResolve()
	f.Patch(func(files map[string][]byte) {
		for name := range files {
			if !strings.Contains(name, "dists/trixie/") && (strings.Contains(name, "binary-s390x") || strings.Contains(name, "binary-ppc64el") || strings.Contains(name, "binary-all")) {
				if strings.Contains(name, "by-hash") {
					delete(files, name)
				} else {
					files[name] = []byte("the index of another day")
				}
			}
		}
	})
	f.opts.Store = newStore(t)
	suites2, sets2 := f.mustResolve()
	if !reflect.DeepEqual(suites, suites2) || !reflect.DeepEqual(sets, sets2) {
		t.Errorf("the locks differ:\n%+v\n%+v\n%+v\n%+v", suites, suites2, sets, sets2)
	}
}

func TestASuiteThatCanNotBeVerifiedForAnArchitectureIsNamed(t *testing.T) {
	f := hardened(t)
	f.Suite("debian", "trixie-updates").Add(deb{Name: "arched", Arch: "s390x"})
	f.Patch(func(files map[string][]byte) {
		for name := range files {
			if strings.Contains(name, "dists/trixie-updates/") && strings.Contains(name, "binary-s390x") {
				delete(files, name)
			}
		}
	})
	_, _, err := f.resolve("openssl", "tzdata", "!debconf")
	wantError(t, err, "suite trixie-updates", "architecture s390x", "by-hash", "404", "--skip-suite trixie-updates:s390x")

	f.opts.SkipSuites = []string{"trixie-updates:s390x"}
	suites, sets := f.mustResolve()
	if got := names(sets[0]); got != "openssl=3.5.6-1 tzdata=2026c-0+deb13u1" {
		t.Errorf("amd64: %s", got)
	}
	if got := names(sets[3]); got != "openssl=3.5.6-1 tzdata=2026a-0+deb13u1" {
		t.Errorf("s390x: %s", got)
	}
	skipped := 0
	for _, s := range suites {
		if s.Skipped != "" {
			skipped++
			if s.Suite != "trixie-updates" || s.Arch != "s390x" {
				t.Errorf("skipped: %+v", s)
			}
		}
	}
	if skipped != 1 || len(suites) != 12 {
		t.Errorf("%d of %d suites are skipped", skipped, len(suites))
	}
}

func TestByHashFallsBackToThePlainPath(t *testing.T) {
	f := hardened(t)
	f.Patch(func(files map[string][]byte) {
		for name := range files {
			if strings.Contains(name, "by-hash") {
				delete(files, name)
			}
		}
	})
	f.mustResolve()
}

func TestEveryFormOfAnIndexIsRead(t *testing.T) {
	for _, form := range []string{"xz", "gz", "zst", "none"} {
		for _, byHash := range []bool{false, true} {
			f := newFixture(t)
			s := f.Suite("debian", "trixie").Add(deb{Name: "some"})
			s.Forms, s.ByHash = []string{form}, byHash
			if _, sets := f.mustResolve("some"); names(sets[0]) != "some=1.0" {
				t.Errorf("%s: %s", form, names(sets[0]))
			}
		}
	}
}

func TestHighestVersionOverAllSuitesWins(t *testing.T) {
	f := newFixture(t)
	f.req.Repositories = []string{"debian trixie main", "debian trixie-updates main"}
	f.Suite("debian", "trixie").Add(deb{Name: "one", Version: "1:1.0"}, deb{Name: "two", Version: "1.0~rc1"}, deb{Name: "same", Version: "2"})
	f.Suite("debian", "trixie-updates").Add(deb{Name: "one", Version: "2.0"}, deb{Name: "two", Version: "1.0"}, deb{Name: "same", Version: "2"})
	_, sets := f.mustResolve("one", "two", "same")
	if got := names(sets[0]); got != "one=1:1.0 same=2 two=1.0" {
		t.Error(got)
	}
	if s := sets[0].Packages[1].Suite; s != "trixie" {
		t.Errorf("an equal version is taken from %s, not from the first suite", s)
	}
}

// TestDependencies tells what each request comes to in one small archive.
func TestDependencies(t *testing.T) {
	f := newFixture(t)
	amd := func(d deb) deb { d.Arch = "amd64"; return d }
	f.req.Archs = []string{"amd64"}
	f.Suite("debian", "trixie").Add(
		amd(deb{Name: "base", Fields: fields("Essential", "yes", "Priority", "required")}),
		amd(deb{Name: "tools", Fields: fields("Priority", "required", "Depends", "awk")}),
		amd(deb{Name: "gawk", Fields: fields("Priority", "optional", "Provides", "awk", "Depends", "libbig")}),
		amd(deb{Name: "mawk", Fields: fields("Priority", "required", "Provides", "awk")}),
		amd(deb{Name: "original-awk", Fields: fields("Priority", "required", "Provides", "awk")}),
		amd(deb{Name: "libbig"}),
		amd(deb{Name: "wants-awk", Fields: fields("Depends", "awk")}),
		amd(deb{Name: "chooses", Fields: fields("Depends", "missing | gawk | mawk, libbig (>= 0.5)")}),
		amd(deb{Name: "zz-has-mawk", Fields: fields("Depends", "mawk", "Recommends", "libbig", "Suggests", "base")}),
		amd(deb{Name: "pre", Fields: fields("Pre-Depends", "libbig (= 1.0)")}),
		amd(deb{Name: "allowed", Fields: fields("Multi-Arch", "allowed")}),
		amd(deb{Name: "any", Fields: fields("Depends", "allowed:any, libbig:amd64, mawk:native")}),
		amd(deb{Name: "other-arch", Fields: fields("Depends", "libbig:s390x | mawk")}),
		amd(deb{Name: "restricted", Fields: fields("Depends", "libbig [s390x], mawk [amd64], gawk [!amd64]")}),
		amd(deb{Name: "virtual-new", Fields: fields("Provides", "api (= 5)")}),
		amd(deb{Name: "virtual-bare", Fields: fields("Provides", "api", "Priority", "important")}),
		amd(deb{Name: "wants-api", Fields: fields("Depends", "api (>= 4)")}),
		amd(deb{Name: "loop-a", Fields: fields("Depends", "loop-b")}),
		amd(deb{Name: "loop-b", Fields: fields("Depends", "loop-a (<< 2)")}),
		amd(deb{Name: "old", Version: "1"}), amd(deb{Name: "old", Version: "2"}),
		amd(deb{Name: "mta-a", Fields: fields("Provides", "mta", "Conflicts", "mta")}),
	)
	for _, c := range []struct{ title, packages, want, omitted string }{
		{"essential", "@essential", "base", ""},
		{"required brings mawk by priority and name", "@required", "base mawk original-awk tools", ""},
		{"a provider by priority, then name", "wants-awk", "mawk wants-awk", ""},
		{"the first alternative that there is", "chooses", "chooses gawk libbig", ""},
		{"what is there anyway satisfies", "chooses zz-has-mawk", "chooses libbig mawk zz-has-mawk", ""},
		{"recommendations are ignored", "zz-has-mawk", "mawk zz-has-mawk", ""},
		{"pre-depends", "pre", "libbig pre", ""},
		{"architecture qualifiers", "any", "allowed any libbig mawk", ""},
		{"another architecture does not count", "other-arch", "mawk other-arch", ""},
		{"architecture restrictions", "restricted", "mawk restricted", ""},
		{"versioned provides", "wants-api", "virtual-new wants-api", ""},
		{"a loop", "loop-a", "loop-a loop-b", ""},
		{"a pin", "old=1", "old", ""},
		{"left out", "pre !libbig", "pre", "libbig"},
		{"a provider that is left out", "wants-awk !mawk", "wants-awk", "mawk"},
		{"left out of a group", "@essential !base", "", "base"},
		{"left out, wanted by nobody", "mawk !libbig", "mawk", ""},
		{"a package may conflict with what it provides", "mta-a", "mta-a", ""},
	} {
		t.Run(c.title, func(t *testing.T) {
			_, sets, err := f.resolve(strings.Fields(c.packages)...)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range sets[0].Packages {
				got = append(got, p.Name)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s: got %v, want %s", c.packages, got, c.want)
			}
			if o := strings.Join(sets[0].Omitted, " "); o != c.omitted {
				t.Errorf("%s: omitted %q, want %q", c.packages, o, c.omitted)
			}
		})
	}
	if _, sets := f.mustResolve("old=1"); sets[0].Packages[0].Version != "1" {
		t.Errorf("pinned to 1, got %s", names(sets[0]))
	}
}

// TestWhatCanNotBeResolvedIsExplained looks for the chain from the profile to
// the trouble, for what is on offer, and for a way out.
func TestWhatCanNotBeResolvedIsExplained(t *testing.T) {
	f := newFixture(t)
	f.req.Repositories = []string{"debian trixie main", "debian trixie-updates main"}
	f.Suite("debian", "trixie").Add(
		deb{Name: "top", Version: "3", Fields: fields("Depends", "middle")},
		deb{Name: "middle", Version: "2", Fields: fields("Depends", "bottom (>= 9) | nowhere")},
		deb{Name: "bottom", Version: "1"},
		deb{Name: "p1", Fields: fields("Provides", "virtual (= 3)")},
		deb{Name: "breaker", Fields: fields("Breaks", "bottom (<< 2)", "Depends", "bottom")},
		deb{Name: "excl-a", Fields: fields("Provides", "role", "Conflicts", "role")},
		deb{Name: "excl-b", Fields: fields("Provides", "role")},
		deb{Name: "damaged", Fields: fields("Depends", "b@d")},
	)
	f.Suite("debian", "trixie-updates").Add(deb{Name: "bottom", Version: "1.5"})
	for _, c := range []struct {
		title, packages string
		want            []string
	}{
		{"a dependency", "top", []string{"the profile wants top", "top 3 (trixie) has Depends: middle", "middle 2 (trixie) has Depends: bottom (>= 9) | nowhere",
			"bottom: 1.5 (trixie-updates), 1 (trixie)", "nowhere: nothing", "!bottom"}},
		{"a name", "unheard-of", []string{"the profile wants unheard-of", "no repository", "amd64", "Check the name"}},
		{"a version", "bottom=7", []string{"bottom=7", "1.5 (trixie-updates), 1 (trixie)"}},
		{"a virtual package", "virtual", []string{"virtual package", "virtual (= 3) by p1 1.0 (trixie)"}},
		{"breaks", "breaker", []string{"breaker 1.0 (trixie) has Breaks: bottom (<< 2)", "can not be installed together"}},
		{"conflicts with what another provides", "excl-a excl-b", []string{"excl-a", "excl-b", "Conflicts: role"}},
		{"a damaged field", "damaged", []string{"damaged 1.0 (trixie)", "Depends", `"b@d" is not a dependency`}},
		{"everything at once", "unheard-of bottom=7", []string{"unheard-of", "bottom=7"}},
	} {
		t.Run(c.title, func(t *testing.T) {
			_, _, err := f.resolve(strings.Fields(c.packages)...)
			wantError(t, err, c.want...)
		})
	}
}

func TestARequestIsCheckedAtOnce(t *testing.T) {
	f := newFixture(t)
	f.req = debian.Request{
		Repositories: []string{"debian trixie", "ubuntu noble main", "ftp://mirror.example/debian trixie main", "debian tri$xie main", "debian trixie main", "debian trixie contrib"},
		Packages:     []string{"UPPER", "a b", "x", "yy", "!yy", "@everything", "zz=1:x y", "zz=1", "zz=2"},
		Archs:        []string{"m68k"},
		Keyring:      [][]byte{[]byte("no key")},
	}
	_, _, err := f.again().Resolve(context.Background(), f.req)
	wantError(t, err, `"debian trixie"`, `"ubuntu noble main"`, "ftp://", `"tri$xie"`, "suite trixie is there already", `"UPPER"`, `"a b"`, `"x"`, "both asked for and left out",
		`"@everything"`, `"1:x y" is not a version`, "pinned to 1, too", `"m68k"`, "keyring 1 of the profile")
	for _, bad := range []string{"trixie-updates", ":s390x", "trixie:vax", "a b:s390x"} {
		if _, err := debian.NewResolver(debian.Options{Store: f.opts.Store, SkipSuites: []string{bad}}); err == nil {
			t.Errorf("%q is accepted as a suite to skip", bad)
		}
	}
	if _, err := debian.NewResolver(debian.Options{Store: f.opts.Store, Mirror: "mirror.example"}); err == nil {
		t.Error("a mirror without a scheme is accepted")
	}
}

func TestNothingWantedAsksNobody(t *testing.T) {
	f := newFixture(t)
	suites, sets, err := f.resolve()
	if err != nil || len(suites) != 0 || len(sets) != 4 || len(f.Requests()) != 0 {
		t.Errorf("%v %v %v %v", suites, sets, err, f.Requests())
	}
	f.req.Repositories = nil
	_, _, err = f.resolve("some")
	wantError(t, err, "contents.repositories is empty")
}

func TestBinaryAllIsReadWhereIndexesOfArchitecturesLackIt(t *testing.T) {
	f := newFixture(t)
	f.req.Archs = []string{"amd64"}
	s := f.Suite("debian", "trixie").Add(deb{Name: "native", Arch: "amd64", Fields: fields("Depends", "everywhere")}, deb{Name: "everywhere"})
	s.SeparateAll = true
	if _, sets := f.mustResolve("native"); names(sets[0]) != "everywhere=1.0 native=1.0" {
		t.Error(names(sets[0]))
	}
}

func TestFileURLsServe(t *testing.T) {
	f := hardened(t)
	dir := t.TempDir()
	f.Write(t, dir)
	f.opts.Mirror = "file://" + dir
	r := f.again()
	_, sets, err := r.Resolve(context.Background(), f.req)
	if err != nil {
		t.Fatal(err)
	}
	mustUnpack(t, r, sets[0].Packages[0])

	f.opts.Mirror = ""
	f.opts.Store = newStore(t)
	f.req.Repositories = []string{"file://" + dir + "/debian trixie main"}
	_, sets, err = f.again().Resolve(context.Background(), f.req)
	if err != nil {
		t.Fatal(err)
	}
	if p := sets[0].Packages[1]; p.Archive != "file://"+dir+"/debian" || p.Snapshot != "" || p.Version != "2026a-0+deb13u1" {
		t.Errorf("%+v", p)
	}
}
