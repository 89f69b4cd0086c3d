package sbom

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
	"github.com/etcdimg/etcdimg/pkg/sbom/sbomtest"
)

const subject = "sha256:1111111111111111111111111111111111111111111111111111111111111111"

// makeBoth makes both SBOMs of an image, with its own SBOM in it.
func makeBoth(t *testing.T, w *workbench, f Facts) (spdx.Document, cdx.BOM, []byte) {
	t.Helper()
	m := &Maker{Store: w.store, Modules: w}
	inside, err := m.Inside(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	put(t, f.Tree, rootfs.Entry{Path: f.InsidePath(), Type: rootfs.File, Mode: 0o644, Content: inside, Origin: "sbom"})
	s := sbomtest.New(t)
	var one spdx.Document
	var other cdx.BOM
	for format, into := range map[Format]any{SPDX: &one, CycloneDX: &other} {
		b, err := m.Image(t.Context(), format, f, subject, []string{"sha256:22"})
		if err != nil {
			t.Fatal(err)
		}
		checkSchema(t, s, format, b)
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	r, err := inside.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	s.CheckSPDX(t, b)
	return one, other, b
}

// Nothing in the image is unnamed, and nothing is named that is not there.
func TestAnSBOMNamesWhatIsThereAndNothingElse(t *testing.T) {
	w := newWorkbench(t)
	f := w.facts(t)
	one, other, inside := makeBoth(t, w, f)

	var files, modules []string
	err := f.Tree.Walk(func(e *rootfs.Entry) error {
		if e.Type == rootfs.Dir {
			return nil
		}
		files = append(files, e.Path)
		if e.Type != rootfs.File || !strings.HasPrefix(e.Path, "/usr/local/bin/") {
			return nil
		}
		r, err := e.Content.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		info, err := buildinfo.Read(r.(io.ReaderAt))
		if err != nil {
			return err
		}
		modules = append(modules, info.Main.Path+" "+info.Main.Version+" "+info.Main.Sum, "stdlib "+strings.TrimPrefix(info.GoVersion, "go")+" ")
		for _, d := range info.Deps {
			modules = append(modules, d.Path+" "+d.Version+" "+d.Sum)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(modules)
	modules = slices.Compact(modules)

	var gotFiles, gotModules, gotDebs []string
	for _, file := range one.Files {
		gotFiles = append(gotFiles, file.FileName)
	}
	for _, p := range one.Packages {
		id := string(p.PackageSPDXIdentifier)
		switch {
		case strings.HasPrefix(id, "Package-go-"), strings.HasPrefix(id, "Package-stdlib-"):
			sum := ""
			for _, ref := range p.PackageExternalReferences {
				if ref.RefType == "go-module-h1" {
					sum = ref.Locator
				}
			}
			gotModules = append(gotModules, p.PackageName+" "+strings.TrimPrefix(p.PackageVersion, "go")+" "+sum)
		case strings.HasPrefix(id, "Package-deb-"):
			gotDebs = append(gotDebs, p.PackageName+" "+p.PackageVersion)
		}
	}
	equal(t, "files", gotFiles, files)
	equal(t, "modules", gotModules, modules)
	equal(t, "Debian packages", gotDebs, []string{"ca-certificates 20260101+x", "tool 2.0-1+b1"})

	gotFiles = nil
	var walk func(components *[]cdx.Component)
	walk = func(components *[]cdx.Component) {
		if components == nil {
			return
		}
		for _, c := range *components {
			if c.Type == cdx.ComponentTypeFile {
				gotFiles = append(gotFiles, c.Name)
			}
			walk(c.Components)
		}
	}
	walk(other.Components)
	equal(t, "files in CycloneDX", gotFiles, files)

	if bytes.Contains(inside, []byte("1111111111")) || bytes.Contains(inside, []byte(f.InsidePath())) {
		t.Error("the SBOM in the image names itself, or the image's digest")
	}
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestEveryPackageHasALicenceAndASupplier(t *testing.T) {
	w := newWorkbench(t)
	one, other, _ := makeBoth(t, w, w.facts(t))
	want := map[string]string{
		"etcd " + version + "-0":                 "Apache-2.0",
		"etcd " + version:                        "ISC",
		"go.etcd.io/etcd/server/v3 v" + version:  "ISC",
		"go.etcd.io/etcd/etcdctl/v3 v" + version: "ISC",
		"go.etcd.io/etcd/api/v3 v" + version:     "ISC",
		"ca-certificates 20260101+x":             "GPL-2.0-or-later AND MPL-2.0",
	}
	for _, p := range one.Packages {
		if !ValidLicence(p.PackageLicenseDeclared) || !ValidLicence(p.PackageLicenseConcluded) {
			t.Errorf("%s: licence %q", p.PackageName, p.PackageLicenseDeclared)
		}
		if p.PackageSupplier.SupplierType != "Organization" {
			t.Errorf("%s has no supplier", p.PackageName)
		}
		if l, ok := want[p.PackageName+" "+p.PackageVersion]; ok && l != p.PackageLicenseDeclared {
			t.Errorf("%s: licence %q, want %q", p.PackageName, p.PackageLicenseDeclared, l)
		}
		delete(want, p.PackageName+" "+p.PackageVersion)
	}
	if len(want) > 0 {
		t.Errorf("no such packages: %v", want)
	}
	if len(one.OtherLicenses) != 1 || one.OtherLicenses[0].ExtractedText != "Do with it what you want." {
		t.Errorf("own licences are %v", one.OtherLicenses)
	}
	for _, c := range *other.Components {
		if c.Type != cdx.ComponentTypeFile && (c.Licenses == nil || c.Supplier == nil) {
			t.Errorf("CycloneDX: %s has no licence or no supplier", c.Name)
		}
	}
}

func TestRelationshipsTellWhoBroughtWhat(t *testing.T) {
	w := newWorkbench(t)
	one, _, _ := makeBoth(t, w, w.facts(t))
	name := map[string]string{"DOCUMENT": "document"}
	for _, p := range one.Packages {
		name[string(p.PackageSPDXIdentifier)] = strings.TrimSuffix(p.PackageName+" "+p.PackageVersion, " ")
	}
	for _, f := range one.Files {
		name[string(f.FileSPDXIdentifier)] = f.FileName
	}
	got := map[string]bool{}
	for _, r := range one.Relationships {
		from, to := name[string(r.RefA.ElementRefID)], name[string(r.RefB.ElementRefID)]
		if from == "" || to == "" {
			t.Errorf("%v %s %v: one of them is not there", r.RefA, r.Relationship, r.RefB)
		}
		got[from+" "+r.Relationship+" "+to] = true
	}
	for _, want := range []string{
		"document DESCRIBES etcd 3.6.99-0",
		"etcd 3.6.99-0 CONTAINS etcd 3.6.99",
		"etcd 3.6.99-0 CONTAINS /etc/passwd",
		"etcd 3.6.99-0 CONTAINS /var/lib/db/sbom/etcd.spdx.json",
		"etcd 3.6.99 CONTAINS /usr/local/bin/etcd",
		"etcd 3.6.99 CONTAINS /usr/local/bin/etcd-default",
		"etcd 3.6.99 DEPENDS_ON go.etcd.io/etcd/api/v3 v3.6.99",
		"/usr/local/bin/etcd STATIC_LINK go.etcd.io/etcd/api/v3 v3.6.99",
		"/usr/local/bin/etcdctl STATIC_LINK go.etcd.io/etcd/api/v3 v3.6.99",
		"tool 2.0-1+b1 CONTAINS /usr/bin/tool",
		"/etc/ssl/certs/ca-certificates.crt GENERATED_FROM ca-certificates 20260101+x",
	} {
		if !got[want] {
			t.Errorf("it does not tell that %s", want)
		}
	}
	if got["/usr/local/bin/etcdctl STATIC_LINK go.etcd.io/etcd/server/v3 v3.6.99"] {
		t.Error("etcdctl has what only etcd has")
	}
}

func TestPackagesThatTheDatabaseAndTheLockTellApart(t *testing.T) {
	w := newWorkbench(t)
	for _, c := range []struct {
		change func(*Facts)
		says   string
	}{
		{func(f *Facts) { f.Debian = f.Debian[:1] }, "names the package tool 2.0-1+b1, which nobody installed"},
		{func(f *Facts) { f.Debian[0].Version = "1" }, "the package ca-certificates 1 was installed, but the image's own database does not name it"},
	} {
		f := w.facts(t)
		c.change(&f)
		_, err := (&Maker{Store: w.store, Modules: w}).Inside(t.Context(), f)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("error is %v, want %q in it", err, c.says)
		}
	}
}

// Everything is looked at once; another cache comes to the same bytes.
func TestSBOMsAreTheSameBytes(t *testing.T) {
	w := newWorkbench(t)
	scans := 0
	documents := func(store *workbench) string {
		f := w.facts(t)
		m := &Maker{Store: store.store, Modules: w, OnScan: func() { scans++ }}
		inside, err := m.Inside(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		put(t, f.Tree, rootfs.Entry{Path: f.InsidePath(), Type: rootfs.File, Mode: 0o644, Content: inside, Origin: "sbom"})
		all := inside.Digest()
		for _, format := range []Format{SPDX, CycloneDX} {
			b, err := m.Image(t.Context(), format, f, subject, nil)
			if err != nil {
				t.Fatal(err)
			}
			all += "\n" + string(b)
		}
		return all
	}
	first := documents(w)
	if again := documents(w); again != first || scans != 1 || w.asked != 1 {
		t.Errorf("again: same %v, %d scans, modules asked for %d times", again == first, scans, w.asked)
	}
	if other := documents(newWorkbench(t)); other != first {
		t.Error("another cache comes to another SBOM")
	}
}
