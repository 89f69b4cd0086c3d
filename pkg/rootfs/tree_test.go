package rootfs_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

func dir(path string, mode uint32) rootfs.Entry {
	return rootfs.Entry{Path: path, Type: rootfs.Dir, Mode: mode, Component: "base", Origin: "test"}
}

func file(path, content string) rootfs.Entry {
	return rootfs.Entry{Path: path, Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte(content)), Component: "base", Origin: "test"}
}

func symlink(path, target string) rootfs.Entry {
	return rootfs.Entry{Path: path, Type: rootfs.Symlink, Mode: 0o777, Link: target, Component: "base", Origin: "test"}
}

func hardlink(path, target string) rootfs.Entry {
	return rootfs.Entry{Path: path, Type: rootfs.Hardlink, Mode: 0o644, Link: target, Component: "base", Origin: "test"}
}

func from(origin string, e rootfs.Entry) rootfs.Entry {
	e.Origin = origin
	return e
}

func tree(t *testing.T, entries ...rootfs.Entry) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New()
	for _, e := range entries {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// list is what a tree holds, a line an entry; implied directories are in
// parentheses.
func list(t *testing.T, tree *rootfs.Tree) string {
	t.Helper()
	var lines []string
	err := tree.Walk(func(e *rootfs.Entry) error {
		line := fmt.Sprintf("%c %04o %d:%d %s", e.Type, e.Mode, e.UID, e.GID, e.Path)
		if e.Link != "" {
			line += " -> " + e.Link
		}
		if tree.Implied(e.Path) {
			line = "(" + line + ")"
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func wantList(t *testing.T, tree *rootfs.Tree, want ...string) {
	t.Helper()
	if got, want := list(t, tree), strings.Join(want, "\n"); got != want {
		t.Errorf("the tree is\n%s\nwant\n%s", got, want)
	}
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not tell %q", err, w)
		}
	}
}

func TestPathsImplyTheirDirectories(t *testing.T) {
	wantList(t, tree(t, file("/usr/local/bin/etcd", "x")),
		"(d 0755 0:0 /)",
		"(d 0755 0:0 /usr)",
		"(d 0755 0:0 /usr/local)",
		"(d 0755 0:0 /usr/local/bin)",
		"f 0644 0:0 /usr/local/bin/etcd")
}

func TestAnImpliedDirectoryTakesTheFirstModeThatItIsGiven(t *testing.T) {
	wantList(t, tree(t, file("/var/lib/x", ""), dir("/var/lib", 0o700), dir("/var/lib", 0o711)),
		"(d 0755 0:0 /)",
		"(d 0755 0:0 /var)",
		"d 0700 0:0 /var/lib",
		"f 0644 0:0 /var/lib/x")
}

func TestModesKeepTheBitsAbove0777(t *testing.T) {
	su := file("/bin/su", "")
	su.Mode = 0o4755
	wantList(t, tree(t, dir("/tmp", 0o1777), dir("/var", 0o2775), su),
		"(d 0755 0:0 /)",
		"(d 0755 0:0 /bin)",
		"f 4755 0:0 /bin/su",
		"d 1777 0:0 /tmp",
		"d 2775 0:0 /var")
}

func TestTheSameTwiceIsNoClash(t *testing.T) {
	tr := tree(t, from("a", file("/etc/motd", "hi")), from("b", file("/etc/motd", "hi")), symlink("/x", "y"), symlink("/x", "y"))
	e, _ := tr.Get("/etc/motd")
	if e.Component != "base" || tr.Len() != 4 {
		t.Errorf("the tree is\n%s", list(t, tr))
	}
}

func TestClashesNameBothSides(t *testing.T) {
	other := file("/etc/motd", "hi")
	other.Mode = 0o600
	for name, c := range map[string]struct {
		first, second rootfs.Entry
		words         []string
	}{
		"content":                  {file("/etc/motd", "hi"), file("/etc/motd", "ho"), []string{"/etc/motd", "a", "b", "differ"}},
		"mode":                     {file("/etc/motd", "hi"), other, []string{"/etc/motd", "differ"}},
		"link target":              {symlink("/x", "y"), symlink("/x", "z"), []string{"/x", "differ"}},
		"file over directory":      {dir("/x", 0o755), file("/x", ""), []string{"/x", "b wants a file where a has a directory"}},
		"link over full directory": {file("/x/y", ""), symlink("/x", "z"), []string{"/x", "symbolic link", "directory"}},
		"directory over file":      {file("/x", ""), dir("/x", 0o755), []string{"/x", "differ"}},
		"beneath a file":           {file("/x", ""), file("/x/y", ""), []string{"/x/y", "/x", "file of a"}},
	} {
		t.Run(name, func(t *testing.T) {
			tr := tree(t, from("a", c.first))
			before := list(t, tr)
			wantError(t, tr.Add(from("b", c.second)), c.words...)
			if after := list(t, tr); after != before {
				t.Errorf("the failed Add changed the tree to\n%s", after)
			}
		})
	}
}

func TestReplaceTakesThePlaceOfAnythingButAFullDirectory(t *testing.T) {
	tr := tree(t, file("/a", "old"), symlink("/b", "a"), dir("/c", 0o755), file("/d/x", ""))
	for _, e := range []rootfs.Entry{file("/a", "new"), file("/b", "new"), file("/c", "new")} {
		if err := tr.Replace(e); err != nil {
			t.Error(err)
		}
	}
	wantError(t, tr.Replace(file("/d", "new")), "/d", "directory")
	wantList(t, tr,
		"(d 0755 0:0 /)",
		"f 0644 0:0 /a",
		"f 0644 0:0 /b",
		"f 0644 0:0 /c",
		"(d 0755 0:0 /d)",
		"f 0644 0:0 /d/x")
	if err := tr.Replace(dir("/d", 0o700)); err != nil {
		t.Error(err)
	}
	if e, _ := tr.Get("/d"); e.Mode != 0o700 {
		t.Errorf("mode %o", e.Mode)
	}
}

func TestLinksOnTheWayAreFollowed(t *testing.T) {
	tr := tree(t,
		symlink("/bin", "usr/bin"), symlink("/var/run", "/run"), symlink("/var/lock", "../run/lock"),
		file("/bin/sh", "x"), file("/var/run/etcd/pid", ""), file("/var/lock/l", ""),
		hardlink("/bin/ash", "/bin/sh"))
	wantList(t, tr,
		"(d 0755 0:0 /)",
		"l 0777 0:0 /bin -> usr/bin",
		"(d 0755 0:0 /run)",
		"(d 0755 0:0 /run/etcd)",
		"f 0644 0:0 /run/etcd/pid",
		"(d 0755 0:0 /run/lock)",
		"f 0644 0:0 /run/lock/l",
		"(d 0755 0:0 /usr)",
		"(d 0755 0:0 /usr/bin)",
		"h 0644 0:0 /usr/bin/ash -> /usr/bin/sh",
		"f 0644 0:0 /usr/bin/sh",
		"(d 0755 0:0 /var)",
		"l 0777 0:0 /var/lock -> ../run/lock",
		"l 0777 0:0 /var/run -> /run")
}

func TestADirectoryWhereALinkToOneIsLeavesTheLink(t *testing.T) {
	tr := tree(t, symlink("/bin", "usr/bin"), dir("/usr/bin", 0o755), symlink("/var/run", "/run"))
	for _, e := range []rootfs.Entry{dir("/bin", 0o700), dir("/var/run", 0o711)} {
		if err := tr.Add(e); err != nil {
			t.Error(err)
		}
	}
	wantList(t, tr,
		"(d 0755 0:0 /)",
		"l 0777 0:0 /bin -> usr/bin",
		"d 0711 0:0 /run",
		"(d 0755 0:0 /usr)",
		"d 0755 0:0 /usr/bin",
		"(d 0755 0:0 /var)",
		"l 0777 0:0 /var/run -> /run")
}

func TestLinksDoNotLeaveTheTree(t *testing.T) {
	tr := tree(t, symlink("/a", "../../../etc"), file("/a/passwd", "x"))
	if _, ok := tr.Get("/etc/passwd"); !ok {
		t.Errorf("the tree is\n%s", list(t, tr))
	}
}

func TestLinkLoopsAreErrors(t *testing.T) {
	tr := tree(t, symlink("/a", "b"), symlink("/b", "/a"), symlink("/self", "self/x"))
	for _, p := range []string{"/a/x", "/self/x"} {
		wantError(t, tr.Add(file(p, "")), p, "too many levels of symbolic links")
	}
	wantError(t, tr.Add(dir("/a", 0o755)), "/a", "too many levels of symbolic links")
	_, err := tr.ReadFile("/a")
	wantError(t, err, "/a", "too many levels of symbolic links")
}

func TestEntriesThatNoTreeCanHoldAreRefused(t *testing.T) {
	mutate := func(e rootfs.Entry, f func(*rootfs.Entry)) rootfs.Entry {
		f(&e)
		return e
	}
	for name, e := range map[string]rootfs.Entry{
		"relative path":            file("etc/passwd", ""),
		"path with ..":             file("/a/../b", ""),
		"path with a slash behind": dir("/a/", 0o755),
		"path with a zero byte":    file("/a\x00b", ""),
		"mode beyond 07777":        dir("/a", 0o10000),
		"negative owner":           mutate(file("/a", ""), func(e *rootfs.Entry) { e.UID = -1 }),
		"no component":             mutate(file("/a", ""), func(e *rootfs.Entry) { e.Component = "" }),
		"file without content":     mutate(file("/a", ""), func(e *rootfs.Entry) { e.Content = nil }),
		"directory with content":   mutate(dir("/a", 0o755), func(e *rootfs.Entry) { e.Content = rootfs.Bytes(nil) }),
		"link without target":      symlink("/a", ""),
		"relative hard link":       hardlink("/a", "b"),
		"no type":                  mutate(dir("/a", 0o755), func(e *rootfs.Entry) { e.Type = 0 }),
	} {
		t.Run(name, func(t *testing.T) {
			tr := rootfs.New()
			wantError(t, tr.Add(e))
			if tr.Len() != 1 {
				t.Errorf("the tree is\n%s", list(t, tr))
			}
		})
	}
}

func TestReadFileFollowsLinks(t *testing.T) {
	tr := tree(t, symlink("/lib", "usr/lib"), file("/lib/os-release", "ID=debian\n"),
		symlink("/etc/os-release", "../lib/os-release"), hardlink("/etc/copy", "/usr/lib/os-release"), symlink("/gone", "/nowhere"))
	for _, p := range []string{"/usr/lib/os-release", "/lib/os-release", "/etc/os-release", "/etc/copy"} {
		b, err := tr.ReadFile(p)
		if err != nil || string(b) != "ID=debian\n" {
			t.Errorf("%s reads %q, %v", p, b, err)
		}
	}
	for _, p := range []string{"/gone", "/nothing"} {
		if _, err := tr.ReadFile(p); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want fs.ErrNotExist", p, err)
		}
	}
	_, err := tr.ReadFile("/etc")
	wantError(t, err, "/etc", "directory")
}

func TestRemoveTakesWhatLiesBeneath(t *testing.T) {
	tr := tree(t, file("/usr/share/doc/a/b", ""), file("/usr/share/docs", ""))
	tr.Remove("/usr/share/doc")
	wantList(t, tr,
		"(d 0755 0:0 /)",
		"(d 0755 0:0 /usr)",
		"(d 0755 0:0 /usr/share)",
		"f 0644 0:0 /usr/share/docs")
	tr.Remove("/")
	wantList(t, tr, "(d 0755 0:0 /)")
}

func TestAComponentHasItsNewestDate(t *testing.T) {
	tr := rootfs.New()
	old, young := time.Unix(1_600_000_000, 0), time.Unix(1_700_000_000, 0)
	for _, d := range []time.Time{old, young, old} {
		tr.SetDate("etcd", d)
	}
	if got := tr.Date("etcd"); !got.Equal(young) {
		t.Errorf("date %v", got)
	}
	if got := tr.Date("base"); !got.Equal(time.Unix(0, 0)) {
		t.Errorf("a component without a date has %v", got)
	}
}

func TestWalkGoesByBytesOfThePath(t *testing.T) {
	tr := tree(t, file("/b", ""), file("/a/x", ""), file("/a-b", ""), file("/B", ""))
	var got []string
	if err := tr.Walk(func(e *rootfs.Entry) error { got = append(got, e.Path); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := "/ /B /a /a-b /a/x /b"; strings.Join(got, " ") != want {
		t.Errorf("walked %v, want %s", got, want)
	}
	stop := errors.New("stop")
	calls := 0
	if err := tr.Walk(func(*rootfs.Entry) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestLookupFollowsLinksToTheEnd(t *testing.T) {
	tree := rootfs.New()
	for _, e := range []rootfs.Entry{
		{Path: "/usr/bin/dash", Type: rootfs.File, Mode: 0o755, Content: rootfs.Bytes(nil)},
		{Path: "/usr/bin/sh", Type: rootfs.Symlink, Mode: 0o777, Link: "dash"},
		{Path: "/bin", Type: rootfs.Symlink, Mode: 0o777, Link: "usr/bin"},
		{Path: "/dangling", Type: rootfs.Symlink, Mode: 0o777, Link: "/nowhere"},
		{Path: "/loop", Type: rootfs.Symlink, Mode: 0o777, Link: "/loop"},
	} {
		e.Component, e.Origin = "base", "test"
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	if e, ok := tree.Lookup("/bin/sh"); !ok || e.Path != "/usr/bin/dash" {
		t.Errorf("/bin/sh is %v, %v", e, ok)
	}
	for _, p := range []string{"/dangling", "/loop", "/bin/bash"} {
		if e, ok := tree.Lookup(p); ok {
			t.Errorf("%s is %v", p, e)
		}
	}
}
