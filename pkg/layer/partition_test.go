package layer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/layer"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// describe is a line for each group: its components and its paths.
func describe(groups []layer.Group) string {
	var lines []string
	for _, g := range groups {
		var paths []string
		for _, e := range g.Entries {
			paths = append(paths, e.Path)
		}
		lines = append(lines, fmt.Sprintf("%s: %s", strings.Join(g.Components, "+"), strings.Join(paths, " ")))
	}
	return strings.Join(lines, "\n")
}

func wantGroups(t *testing.T, groups []layer.Group, want ...string) {
	t.Helper()
	if got, want := describe(groups), strings.Join(want, "\n"); got != want {
		t.Errorf("the groups are\n%s\nwant\n%s", got, want)
	}
}

func fourComponents(t *testing.T) *rootfs.Tree {
	t.Helper()
	return tree(t,
		file("base", "/etc/passwd", "0123456789"),
		file("certs", "/etc/ssl/ca.crt", "01234567890123456789"),
		file("etcd", "/bin/etcd", strings.Repeat("x", 100)),
		file("migrate", "/bin/migrate", "0123"))
}

func TestEveryComponentHasItsLayerInTheOrderGiven(t *testing.T) {
	wantGroups(t, partition(t, fourComponents(t), layer.ByComponent, 8, "base", "etcd"),
		"base: /etc /etc/passwd",
		"etcd: /bin /bin/etcd",
		"certs: /etc /etc/ssl /etc/ssl/ca.crt",
		"migrate: /bin /bin/migrate")
}

func TestBeyondTheBudgetTheSmallestShareALayer(t *testing.T) {
	order := []string{"base", "certs", "etcd", "migrate"}
	wantGroups(t, partition(t, fourComponents(t), layer.ByComponent, 3, order...),
		"base+migrate: /bin /bin/migrate /etc /etc/passwd",
		"certs: /etc /etc/ssl /etc/ssl/ca.crt",
		"etcd: /bin /bin/etcd")
	wantGroups(t, partition(t, fourComponents(t), layer.ByComponent, 2, order...),
		"base+certs+migrate: /bin /bin/migrate /etc /etc/passwd /etc/ssl /etc/ssl/ca.crt",
		"etcd: /bin /bin/etcd")
	wantGroups(t, partition(t, fourComponents(t), layer.ByComponent, 1, order...),
		"base+certs+etcd+migrate: /bin /bin/etcd /bin/migrate /etc /etc/passwd /etc/ssl /etc/ssl/ca.crt")
}

func TestASingleLayerHoldsEverything(t *testing.T) {
	wantGroups(t, partition(t, fourComponents(t), layer.Single, 8),
		"base+certs+etcd+migrate: /bin /bin/etcd /bin/migrate /etc /etc/passwd /etc/ssl /etc/ssl/ca.crt")
}

func TestAHardLinkLiesBehindItsTargetInItsLayer(t *testing.T) {
	tr := tree(t,
		file("etcd", "/usr/bin/z", "x"),
		link(rootfs.Hardlink, "base", "/a", "/usr/bin/z"),
		link(rootfs.Symlink, "base", "/b", "a"))
	wantGroups(t, partition(t, tr, layer.ByComponent, 8, "base"),
		"base: /b",
		"etcd: /usr /usr/bin /usr/bin/z /a")
}

func TestAHardLinkWithoutTargetIsAnError(t *testing.T) {
	tr := tree(t, file("base", "/a", ""), link(rootfs.Hardlink, "base", "/b", "/a"))
	tr.Remove("/a")
	if _, err := layer.Partition(tr, layer.ByComponent, 8, nil, nil); err == nil || !strings.Contains(err.Error(), "/b") {
		t.Errorf("error %v", err)
	}
}

func TestEveryLayerSaysTheSameOfADirectory(t *testing.T) {
	tr := tree(t, file("base", "/opt/a", ""), file("etcd", "/opt/b", ""), dir("base", "/opt", 0o711, 9))
	groups := partition(t, tr, layer.ByComponent, 8, "base")
	if len(groups) != 2 {
		t.Fatalf("groups: %s", describe(groups))
	}
	for _, g := range groups {
		if e := g.Entries[0]; e.Path != "/opt" || e.Mode != 0o711 || e.UID != 9 {
			t.Errorf("%v says %+v", g.Components, e)
		}
	}
}

func TestOnlyARootOfItsOwnIsMentioned(t *testing.T) {
	tr := tree(t, file("base", "/a", ""), dir("base", "/", 0o755, 0))
	wantGroups(t, partition(t, tr, layer.ByComponent, 8), "base: /a")
	tr = tree(t, dir("package", "/", 0o755, 0), file("base", "/a", ""))
	wantGroups(t, partition(t, tr, layer.ByComponent, 8), "base: /a")
	tr = tree(t, file("base", "/a", ""), file("etcd", "/b", ""), dir("base", "/", 0o711, 0))
	wantGroups(t, partition(t, tr, layer.ByComponent, 8), "base: / /a", "etcd: / /b")
}

func TestATreeOfNothingHasNoLayers(t *testing.T) {
	if groups := partition(t, rootfs.New(), layer.ByComponent, 8); len(groups) != 0 {
		t.Errorf("groups: %s", describe(groups))
	}
}

func TestALayerHasTheNewestDateOfItsComponents(t *testing.T) {
	tr := fourComponents(t)
	tr.SetDate("certs", releaseDate.AddDate(0, 0, -1))
	tr.SetDate("etcd", releaseDate)
	for _, g := range partition(t, tr, layer.ByComponent, 8) {
		if want := tr.Date(g.Components[0]); !g.Date.Equal(want) {
			t.Errorf("%v has date %v, want %v", g.Components, g.Date, want)
		}
	}
	if g := single(t, tr); !g.Date.Equal(releaseDate) {
		t.Errorf("one layer has date %v", g.Date)
	}
	epoch := time.Unix(1_000_000_000, 0)
	groups, err := layer.Partition(tr, layer.ByComponent, 8, nil, &epoch)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if !g.Date.Equal(epoch) {
			t.Errorf("%v has date %v though another is given for everything", g.Components, g.Date)
		}
	}
}

func TestTheOrderOfAddingDoesNotShow(t *testing.T) {
	entries := []rootfs.Entry{
		dir("base", "/etc", 0o755, 0), file("base", "/etc/b", "b"), file("etcd", "/bin/etcd", "x"),
		file("certs", "/etc/a", "a"), link(rootfs.Symlink, "base", "/z", "etc"),
	}
	want := describe(partition(t, tree(t, entries...), layer.ByComponent, 2, "base"))
	slices.Reverse(entries)
	if got := describe(partition(t, tree(t, entries...), layer.ByComponent, 2, "base")); got != want {
		t.Errorf("added backwards:\n%s\nforwards:\n%s", got, want)
	}
}

func TestImpossiblePartitionsAreRefused(t *testing.T) {
	if _, err := layer.Partition(rootfs.New(), layer.ByComponent, 0, nil, nil); err == nil || !strings.Contains(err.Error(), "0") {
		t.Errorf("budget 0: %v", err)
	}
	if _, err := layer.Partition(fourComponents(t), "package", 8, nil, nil); err == nil || !strings.Contains(err.Error(), `"package"`) {
		t.Errorf("unknown strategy: %v", err)
	}
}
