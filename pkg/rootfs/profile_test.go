package rootfs_test

import (
	"testing"

	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

func apply(t *testing.T, tr *rootfs.Tree, paths ...profile.Path) {
	t.Helper()
	if err := rootfs.ApplyPaths(tr, paths); err != nil {
		t.Fatal(err)
	}
}

func executable(path string) rootfs.Entry {
	e := file(path, "x")
	e.Mode = 0o755
	return e
}

func TestPathsMakeWhatTheyName(t *testing.T) {
	tr := tree(t, executable("/usr/local/bin/etcd"))
	apply(t, tr,
		profile.Path{Path: "/var/lib/etcd", Type: "directory", UID: 65532, GID: 65532, Permissions: 0o700},
		profile.Path{Path: "/tmp", Type: "directory", Permissions: 0o1777},
		profile.Path{Path: "/etc/empty", Type: "empty-file", Permissions: 0o600},
		profile.Path{Path: "/etcd", Type: "symlink", Source: "usr/local/bin/etcd"},
		profile.Path{Path: "/usr/local/bin/etcd-3.6.16", Type: "hardlink", Source: "/usr/local/bin/etcd"})
	wantList(t, tr,
		"(d 0755 0:0 /)",
		"(d 0755 0:0 /etc)",
		"f 0600 0:0 /etc/empty",
		"l 0777 0:0 /etcd -> usr/local/bin/etcd",
		"d 1777 0:0 /tmp",
		"(d 0755 0:0 /usr)",
		"(d 0755 0:0 /usr/local)",
		"(d 0755 0:0 /usr/local/bin)",
		"f 0755 0:0 /usr/local/bin/etcd",
		"h 0755 0:0 /usr/local/bin/etcd-3.6.16 -> /usr/local/bin/etcd",
		"(d 0755 0:0 /var)",
		"(d 0755 0:0 /var/lib)",
		"d 0700 65532:65532 /var/lib/etcd")
}

func TestPathsThatCanNotBeAppliedSayWhich(t *testing.T) {
	for name, c := range map[string]struct {
		path profile.Path
		word string
	}{
		"permissions of nothing":         {profile.Path{Path: "/nothing", Type: "permissions"}, "nothing is there"},
		"hard link to nothing":           {profile.Path{Path: "/x", Type: "hardlink", Source: "/nothing"}, "/nothing"},
		"hard link to a directory":       {profile.Path{Path: "/x", Type: "hardlink", Source: "/usr"}, "/usr"},
		"file where a full directory is": {profile.Path{Path: "/usr", Type: "empty-file"}, "directory"},
		"unknown type":                   {profile.Path{Path: "/x", Type: "device"}, "device"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, rootfs.ApplyPaths(tree(t, file("/usr/x", "")), []profile.Path{c.path}), c.path.Path, c.word)
		})
	}
}

func TestPermissionsLandWhereTheLinksLead(t *testing.T) {
	tr := tree(t, symlink("/var/run", "/run"), dir("/run/etcd", 0o755), symlink("/link", "run/etcd"))
	apply(t, tr, profile.Path{Path: "/var/run/etcd", Type: "permissions", Permissions: 0o700, UID: 1, GID: 2})
	if e, _ := tr.Get("/run/etcd"); e.Mode != 0o700 || e.UID != 1 || e.GID != 2 {
		t.Errorf("the tree is\n%s", list(t, tr))
	}
	apply(t, tr, profile.Path{Path: "/link", Type: "permissions", Permissions: 0o711})
	wantList(t, tr,
		"(d 0755 0:0 /)",
		"l 0777 0:0 /link -> run/etcd",
		"(d 0755 0:0 /run)",
		"d 0711 0:0 /run/etcd",
		"(d 0755 0:0 /var)",
		"l 0777 0:0 /var/run -> /run")
}

func TestRecursivePermissionsLeaveFilesWithoutWhatIsForDirectories(t *testing.T) {
	tr := tree(t, executable("/srv/a/run"), file("/srv/a/data", ""), symlink("/srv/a/link", "data"), dir("/srvx", 0o755))
	apply(t, tr, profile.Path{Path: "/srv", Type: "permissions", Permissions: 0o2750, UID: 7, GID: 8, Recursive: true})
	wantList(t, tr,
		"(d 0755 0:0 /)",
		"d 2750 7:8 /srv",
		"d 2750 7:8 /srv/a",
		"f 0640 7:8 /srv/a/data",
		"l 0777 7:8 /srv/a/link -> data",
		"f 0750 7:8 /srv/a/run",
		"d 0755 0:0 /srvx")
}

func TestARecursiveDirectoryOwnsWhatItHolds(t *testing.T) {
	tr := tree(t, file("/var/lib/etcd/x", ""))
	apply(t, tr, profile.Path{Path: "/var/lib/etcd", Type: "directory", Permissions: 0o700, UID: 7, GID: 7, Recursive: true})
	if e, _ := tr.Get("/var/lib/etcd/x"); e.UID != 7 || e.Mode != 0o600 {
		t.Errorf("the tree is\n%s", list(t, tr))
	}
}

func TestPermissionsHoldForAllNamesOfAFile(t *testing.T) {
	for _, path := range []string{"/a", "/b"} {
		tr := tree(t, file("/a", "x"), hardlink("/b", "/a"))
		apply(t, tr, profile.Path{Path: path, Type: "permissions", Permissions: 0o4755, UID: 3})
		wantList(t, tr, "(d 0755 0:0 /)", "f 4755 3:0 /a", "h 4755 3:0 /b -> /a")
	}
}

func TestADirectoryMayBeALink(t *testing.T) {
	tr := tree(t, symlink("/var/run", "/run"))
	apply(t, tr, profile.Path{Path: "/var/run", Type: "directory", Permissions: 0o711})
	wantList(t, tr,
		"(d 0755 0:0 /)",
		"d 0711 0:0 /run",
		"(d 0755 0:0 /var)",
		"l 0777 0:0 /var/run -> /run")
}

var accounts = profile.Accounts{
	RunAs:  "nonroot",
	Users:  []profile.User{{UserName: "nonroot", UID: 65532, GID: 65533, HomeDir: "/home/nonroot", Shell: "/sbin/nologin"}},
	Groups: []profile.Group{{GroupName: "nonroot", GID: 65533, Members: []string{"nonroot", "daemon"}}},
}

func wantFile(t *testing.T, tr *rootfs.Tree, path, want string) {
	t.Helper()
	got, err := tr.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s is %q, %v; want %q", path, got, err, want)
	}
}

func TestAccountsMakeTheirFiles(t *testing.T) {
	tr := rootfs.New()
	if err := rootfs.ApplyAccounts(tr, accounts, 0); err != nil {
		t.Fatal(err)
	}
	wantFile(t, tr, "/etc/passwd", "nonroot:x:65532:65533:nonroot:/home/nonroot:/sbin/nologin\n")
	wantFile(t, tr, "/etc/group", "nonroot:x:65533:nonroot,daemon\n")
	wantList(t, tr, "(d 0755 0:0 /)", "(d 0755 0:0 /etc)", "f 0644 0:0 /etc/group", "f 0644 0:0 /etc/passwd")
}

func TestAccountsJoinWhatAPackageBrought(t *testing.T) {
	shadow := file("/etc/shadow", "root:*:19000:0:99999:7:::\n")
	shadow.Mode, shadow.GID, shadow.Component = 0o640, 42, "debian"
	tr := tree(t,
		file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnonroot:x:1:1::/:/bin/sh\nnonroot2:x:2:2::/:/bin/sh\n"),
		file("/etc/group", "root:x:0:"), shadow, file("/etc/gshadow", ""))
	if err := rootfs.ApplyAccounts(tr, accounts, 20000); err != nil {
		t.Fatal(err)
	}
	wantFile(t, tr, "/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnonroot:x:65532:65533:nonroot:/home/nonroot:/sbin/nologin\nnonroot2:x:2:2::/:/bin/sh\n")
	wantFile(t, tr, "/etc/group", "root:x:0:\nnonroot:x:65533:nonroot,daemon\n")
	wantFile(t, tr, "/etc/shadow", "root:*:19000:0:99999:7:::\nnonroot:*:20000:0:99999:7:::\n")
	wantFile(t, tr, "/etc/gshadow", "nonroot:*::nonroot,daemon\n")
	if e, _ := tr.Get("/etc/shadow"); e.Mode != 0o640 || e.GID != 42 || e.Component != "debian" {
		t.Errorf("shadow lost its mode, owner or component: %+v", e)
	}
}

func TestNoAccountsMakeNoFiles(t *testing.T) {
	tr := rootfs.New()
	if err := rootfs.ApplyAccounts(tr, profile.Accounts{RunAs: "0"}, 0); err != nil {
		t.Fatal(err)
	}
	wantList(t, tr, "(d 0755 0:0 /)")
}

func TestUsersAreFoundByNameAndByNumber(t *testing.T) {
	tr := rootfs.New()
	if err := rootfs.ApplyAccounts(tr, accounts, 0); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]int{
		"nonroot": {65532, 65533}, "65532": {65532, 65533}, "65532:5": {65532, 5}, "0": {0, 0}, "12:0": {12, 0},
		"4294967294": {4294967294, 0},
	} {
		uid, gid, err := rootfs.LookupUser(tr, name)
		if err != nil || uid != want[0] || gid != want[1] {
			t.Errorf("%s is %d:%d, %v; want %v", name, uid, gid, err, want)
		}
	}
	for _, name := range []string{"nobody", "", "nonroot:nonroot", "nonroot:5", "5:", "5:staff", "-1", "1:-1", "4294967295", "non"} {
		if uid, gid, err := rootfs.LookupUser(tr, name); err == nil {
			t.Errorf("%q is %d:%d, want an error", name, uid, gid)
		}
	}
	if gid, ok, err := rootfs.PrimaryGroup(tr, 65532); err != nil || !ok || gid != 65533 {
		t.Errorf("primary group %d, %v", gid, ok)
	}
	if _, ok, err := rootfs.PrimaryGroup(tr, 1); err != nil || ok {
		t.Error("a user that is not there has a group")
	}
}
