package debian_test

import (
	"context"
	"encoding/binary"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// packageOf is a package of one program, as it is unpacked.
func packageOf(name string, program []byte) *debian.Package {
	return &debian.Package{Name: name, Version: "1", Entries: []rootfs.Entry{{
		Path: "/usr/bin/" + path.Base(strings.TrimSuffix(name, "-static")), Type: rootfs.File, Mode: 0o755,
		Content: rootfs.Bytes(program), Component: rootfs.BaseComponent, Origin: name,
	}}}
}

// links are the symbolic links to busybox, by the path that a process sees.
func links(t *testing.T, tr *rootfs.Tree) []string {
	t.Helper()
	var found []string
	err := tr.Walk(func(e *rootfs.Entry) error {
		if e.Type == rootfs.Symlink && strings.HasSuffix(e.Link, "busybox") {
			target, err := tr.Resolve(path.Join(path.Dir(e.Path), e.Link))
			if err != nil || target != "/usr/bin/busybox" {
				t.Errorf("%s leads to %s (%v)", e.Path, target, err)
			}
			found = append(found, e.Path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestEveryAppletIsLinkedWhereBusyboxWouldInstallIt(t *testing.T) {
	for arch, order := range map[string]binary.AppendByteOrder{"amd64": binary.LittleEndian, "s390x": binary.BigEndian} {
		p := packageOf("busybox-static", debiantest.Busybox(order, debiantest.BusyboxApplets()))
		store := newFixture(t).opts.Store
		for _, o := range []debian.RuleOptions{{Arch: arch}, {Arch: arch, Store: store}, {Arch: arch, Store: store}} { // read, read, remembered
			tr, report := system(t, []*debian.Package{p}, o)
			if len(report.Uncovered) > 0 {
				t.Errorf("uncovered: %v", report.Uncovered)
			}
			var want []string
			for _, a := range debiantest.BusyboxApplets() {
				a = "/" + a
				if strings.HasPrefix(a, "/bin/") || strings.HasPrefix(a, "/sbin/") {
					a = "/usr" + a
				}
				want = append(want, a)
			}
			slices.Sort(want)
			if got := links(t, tr); !slices.Equal(got, want) {
				t.Errorf("%s: links %v\nwant %v", arch, got, want)
			}
			for dir, link := range map[string]string{"/bin": "usr/bin", "/sbin": "usr/sbin"} {
				if e := get(t, tr, dir); e.Link != link {
					t.Errorf("%s leads to %q", dir, e.Link)
				}
			}
		}
	}
}

func TestAppletsLeaveOtherPackagesProgramsAlone(t *testing.T) {
	box := packageOf("busybox-static", debiantest.Busybox(binary.LittleEndian, debiantest.BusyboxApplets()))
	tr, _ := system(t, []*debian.Package{box, packageOf("grep", []byte("the real one"))}, debian.RuleOptions{Arch: "amd64"})
	if e := get(t, tr, "/usr/bin/grep"); e.Type != rootfs.File || e.Origin != "grep" {
		t.Errorf("grep is a %s of %s", e.Type, e.Origin)
	}
	if e := get(t, tr, "/usr/bin/cat"); e.Link != "busybox" {
		t.Errorf("cat leads to %q", e.Link)
	}
}

func TestAWholeDebianKeepsBusyboxForRescue(t *testing.T) {
	_, _, pkgs := baseSystem(t, "amd64")
	tr, _ := system(t, append(pkgs, packageOf("busybox-static", debiantest.Busybox(binary.LittleEndian, debiantest.BusyboxApplets()))), debian.RuleOptions{Arch: "amd64"})
	if got := links(t, tr); len(got) > 0 {
		t.Errorf("%v lead to busybox", got)
	}
}

func TestBusyboxThatIsNotUnderstoodIsRefused(t *testing.T) {
	whole := debiantest.Busybox(binary.LittleEndian, debiantest.BusyboxApplets())
	list := debiantest.BusyboxApplets()
	unsorted := slices.Clone(list)
	unsorted[10], unsorted[11] = unsorted[11], unsorted[10]
	elsewhere := slices.Clone(list)
	elsewhere[slices.Index(elsewhere, "bin/sh")] = "usr/bin/sh"
	for name, c := range map[string]struct {
		program []byte
		says    string
	}{
		"empty":              {nil, "no table of applets"},
		"another program":    {[]byte("\x7fELF hello\x00world\x00"), "no table of applets"},
		"names out of order": {debiantest.Busybox(binary.LittleEndian, unsorted), "no table of applets"},
		"a few applets":      {debiantest.Busybox(binary.LittleEndian, list[:9]), "no table of applets"},
		"sh elsewhere":       {debiantest.Busybox(binary.LittleEndian, elsewhere), "where its 30 applets belong"},
		"two of them":        {append(slices.Clone(whole), whole...), "two tables"},
	} {
		t.Run(name, func(t *testing.T) {
			pkgs := []*debian.Package{packageOf("busybox-static", c.program)}
			tr := rootfs.New()
			if err := debian.Place(tr, pkgs, debian.RuleOptions{Arch: "amd64"}); err != nil {
				t.Fatal(err)
			}
			_, err := debian.Apply(context.Background(), tr, pkgs, debian.RuleOptions{Arch: "amd64"})
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "busybox-static=VERSION") {
				t.Errorf("%v, want %q and a remedy", err, c.says)
			}
		})
	}
}
