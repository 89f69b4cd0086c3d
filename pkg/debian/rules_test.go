package debian_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// slim leaves documentation out.
var slim = debian.RuleOptions{Slim: true}

// tree unpacks packages into a new tree.
func tree(t *testing.T, pkgs ...*debian.Package) *rootfs.Tree {
	t.Helper()
	out := rootfs.New()
	for _, p := range pkgs {
		for _, e := range slim.Keep(p.Entries) {
			if err := out.Add(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

func hardenedPackages(t *testing.T) (*fixture, []*debian.Package) {
	t.Helper()
	f := hardened(t)
	r := f.resolver()
	_, sets, err := r.Resolve(context.Background(), f.req)
	if err != nil {
		t.Fatal(err)
	}
	var pkgs []*debian.Package
	for _, p := range sets[0].Packages {
		pkgs = append(pkgs, mustUnpack(t, r, p))
	}
	return f, pkgs
}

func get(t *testing.T, tr *rootfs.Tree, path string) rootfs.Entry {
	t.Helper()
	e, ok := tr.Get(path)
	if !ok {
		t.Fatalf("%s is not there", path)
	}
	return *e
}

func TestRulesMakeBundleLocaltimeAndPackageList(t *testing.T) {
	f, pkgs := hardenedPackages(t)
	extra := debiantest.Certificate("Company CA")
	for _, store := range []debian.Store{nil, f.opts.Store, f.opts.Store} { // computed, computed, remembered
		tr := tree(t, pkgs...)
		report, err := debian.Apply(context.Background(), tr, pkgs, debian.RuleOptions{
			Arch: "s390x", Store: store, Certificates: []debian.Certificate{{Name: "company", PEM: bytes.TrimSpace(extra)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Uncovered) != 0 {
			t.Errorf("uncovered: %v", report.Uncovered)
		}
		bundle := read(t, get(t, tr, "/etc/ssl/certs/ca-certificates.crt").Content)
		var want string
		for _, name := range []string{"/usr/share/ca-certificates/mozilla/Example_Root_CA.crt", "/usr/share/ca-certificates/mozilla/Test_Root_(2).crt", "/usr/local/share/ca-certificates/company.crt"} {
			want += read(t, get(t, tr, name).Content)
		}
		if bundle != want || strings.Count(bundle, "BEGIN CERTIFICATE") != 3 || !strings.HasSuffix(bundle, "\n") {
			t.Errorf("bundle:\n%s", bundle)
		}
		if conf := read(t, get(t, tr, "/etc/ca-certificates.conf").Content); !strings.HasSuffix(conf, "\nmozilla/Example_Root_CA.crt\nmozilla/Test_Root_(2).crt\n") {
			t.Errorf("conf:\n%s", conf)
		}
		if l := get(t, tr, "/etc/ssl/certs/Test_Root_=2=.pem"); l.Link != "/usr/share/ca-certificates/mozilla/Test_Root_(2).crt" {
			t.Errorf("link: %+v", l)
		}
		hashed := 0
		err = tr.Walk(func(e *rootfs.Entry) error {
			if strings.HasPrefix(e.Path, "/etc/ssl/certs/") && strings.HasSuffix(e.Path, ".0") {
				hashed++
				get(t, tr, "/etc/ssl/certs/"+e.Link)
			}
			if e.Component != debian.CertificatesComponent && e.Path != "/" {
				t.Errorf("%s is of component %s", e.Path, e.Component)
			}
			return nil
		})
		if err != nil || hashed != 3 {
			t.Errorf("%d hashed links, %v", hashed, err)
		}
		if c := get(t, tr, "/usr/local/share/ca-certificates/company.crt"); c.Origin != "profile" {
			t.Errorf("the profile's certificate is from %s", c.Origin)
		}
		if l := get(t, tr, "/etc/localtime"); l.Link != "/usr/share/zoneinfo/Etc/UTC" || l.Type != rootfs.Symlink || l.Origin != "tzdata" {
			t.Errorf("localtime: %+v", l)
		}
		if _, ok := tr.Get("/etc/timezone"); ok {
			t.Error("there is an /etc/timezone")
		}
		if s := read(t, get(t, tr, "/var/lib/dpkg/status.d/tzdata").Content); s != string(pkgs[1].ControlFile) || !strings.HasPrefix(s, "Package: tzdata\nVersion: 2026c") {
			t.Errorf("status.d/tzdata:\n%s", s)
		}
		if s := read(t, get(t, tr, "/var/lib/dpkg/status.d/ca-certificates.md5sums").Content); !strings.Contains(s, "  usr/share/ca-certificates/mozilla/Example_Root_CA.crt\n") {
			t.Errorf("md5sums:\n%s", s)
		}
	}
}

func TestAScriptThatNoRuleSpeaksForIsReported(t *testing.T) {
	f := newFixture(t)
	f.Suite("debian", "trixie").Add(
		deb{Name: "loud", Scripts: map[string]string{"postinst": "x", "preinst": "x", "triggers": "x", "config": "x", "prerm": "x"}},
		deb{Name: "quiet", Scripts: map[string]string{"postrm": "x", "templates": "x"}})
	r := f.resolver()
	f.req.Packages = []string{"loud", "quiet"}
	_, sets, err := r.Resolve(context.Background(), f.req)
	if err != nil {
		t.Fatal(err)
	}
	pkgs := []*debian.Package{mustUnpack(t, r, sets[0].Packages[0]), mustUnpack(t, r, sets[0].Packages[1])}
	report, err := debian.Apply(context.Background(), rootfs.New(), pkgs, debian.RuleOptions{Arch: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(report.Uncovered); got != "[loud 1.0: no rule stands for its preinst, postinst]" {
		t.Error(got)
	}
}

func TestCertificatesOfTheProfileAloneMakeABundle(t *testing.T) {
	one := debiantest.Certificate("One")
	two := slices.Concat(debiantest.Certificate("Two"), debiantest.Certificate("Three"))
	tr := rootfs.New()
	_, err := debian.Apply(context.Background(), tr, nil, debian.RuleOptions{Certificates: []debian.Certificate{{"two", two}, {"one", one}, {"one-again", one}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, get(t, tr, "/etc/ssl/certs/ca-certificates.crt").Content); got != string(slices.Concat(one, one, two)) {
		t.Errorf("bundle:\n%s", got)
	}
	if c := get(t, tr, "/etc/ssl/certs/ca-certificates.crt"); c.Origin != "profile" || c.Component != debian.CertificatesComponent {
		t.Errorf("the bundle is of %s, from %s", c.Component, c.Origin)
	}
	hashed := 0
	tr.Walk(func(e *rootfs.Entry) error {
		if strings.HasSuffix(e.Path, ".0") || strings.HasSuffix(e.Path, ".1") {
			hashed++
			if e.Link != "one-again.pem" {
				t.Errorf("%s leads to %s", e.Path, e.Link)
			}
		}
		return nil
	})
	if hashed != 1 {
		t.Errorf("%d hashed links: one is there twice, and a file of several has none", hashed)
	}
}

func TestCertificatesThatAreNoneAreRefused(t *testing.T) {
	good := debiantest.Certificate("Good")
	for _, c := range []struct{ title, name, pem, want string }{
		{"no PEM", "x", "hello", "no PEM block"},
		{"a key", "x", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")})), "PRIVATE KEY"},
		{"damaged", "x", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), "block 1"},
		{"a name with a slash", "../x", string(good), "file name"},
		{"no name", "", string(good), "file name"},
	} {
		err := debian.CheckCertificate(debian.Certificate{Name: c.name, PEM: []byte(c.pem)})
		wantError(t, err, c.want)
	}
	_, err := debian.Apply(context.Background(), rootfs.New(), nil, debian.RuleOptions{Certificates: []debian.Certificate{{"a", good}, {"a", good}}})
	wantError(t, err, `"a" is there twice`)
}
