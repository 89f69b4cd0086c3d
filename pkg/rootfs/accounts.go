package rootfs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/profile"
)

// ApplyAccounts writes the profile's users and groups into /etc/passwd,
// /etc/group and, where a package brought them, /etc/shadow and /etc/gshadow
// (passwd(5), group(5), shadow(5), gshadow(5)). An account that is there
// already gets the profile's line in place of its own; no password is ever
// valid. date is when the password "was changed", in days since 1970.
func ApplyAccounts(t *Tree, a profile.Accounts, days int) error {
	if len(a.Users) == 0 && len(a.Groups) == 0 {
		return nil
	}
	var passwd, shadow, group, gshadow []string
	for _, u := range a.Users {
		passwd = append(passwd, fmt.Sprintf("%s:x:%d:%d:%s:%s:%s", u.UserName, u.UID, u.GID, u.UserName, u.HomeDir, u.Shell))
		shadow = append(shadow, fmt.Sprintf("%s:*:%d:0:99999:7:::", u.UserName, days))
	}
	for _, g := range a.Groups {
		members := strings.Join(g.Members, ",")
		group = append(group, fmt.Sprintf("%s:x:%d:%s", g.GroupName, g.GID, members))
		gshadow = append(gshadow, fmt.Sprintf("%s:*::%s", g.GroupName, members))
	}
	for _, db := range []struct {
		path   string
		lines  []string
		create bool
	}{
		{"/etc/passwd", passwd, true},
		{"/etc/group", group, true},
		{"/etc/shadow", shadow, false},
		{"/etc/gshadow", gshadow, false},
	} {
		if err := mergeLines(t, db.path, db.lines, db.create); err != nil {
			return err
		}
	}
	return nil
}

func mergeLines(t *Tree, path string, lines []string, create bool) error {
	e := Entry{Path: path, Type: File, Mode: 0o644, Component: BaseComponent, Origin: "accounts"}
	var have []string
	if old, ok := t.Get(path); ok {
		b, err := t.ReadFile(path)
		if err != nil {
			return err
		}
		have = strings.Split(strings.TrimRight(string(b), "\n"), "\n")
		e.Mode, e.UID, e.GID, e.Component = old.Mode, old.UID, old.GID, old.Component
	} else if !create || len(lines) == 0 {
		return nil
	}
	for _, line := range lines {
		name, _, _ := strings.Cut(line, ":")
		i := slices.IndexFunc(have, func(l string) bool { return strings.HasPrefix(l, name+":") })
		if i >= 0 {
			have[i] = line
		} else {
			have = append(have, line)
		}
	}
	e.Content = Bytes([]byte(strings.Join(have, "\n") + "\n"))
	return t.Replace(e)
}

// LookupUser returns the numeric ids of an account in the tree's /etc/passwd.
// A number, or UID:GID, needs no such file; the group of a bare UID that has
// no line there is 0.
func LookupUser(t *Tree, name string) (uid, gid int, err error) {
	user, group, hasGroup := strings.Cut(name, ":")
	if uid, err := strconv.Atoi(user); err == nil {
		if !hasGroup {
			gid, _ := PrimaryGroup(t, uid)
			return uid, gid, nil
		}
		gid, err := strconv.Atoi(group)
		if err != nil {
			return 0, 0, fmt.Errorf("user %q: want NAME, UID or UID:GID", name)
		}
		return uid, gid, nil
	}
	for _, f := range passwdLines(t) {
		if f[0] == user {
			uid, err1 := strconv.Atoi(f[2])
			gid, err2 := strconv.Atoi(f[3])
			if err1 != nil || err2 != nil {
				return 0, 0, fmt.Errorf("user %q: /etc/passwd gives it the ids %s:%s", name, f[2], f[3])
			}
			return uid, gid, nil
		}
	}
	return 0, 0, fmt.Errorf("user %q is not in the image's /etc/passwd: add it to accounts.users", name)
}

// PrimaryGroup returns the group that the tree's /etc/passwd gives a user, and
// whether it has such a user.
func PrimaryGroup(t *Tree, uid int) (gid int, ok bool) {
	for _, f := range passwdLines(t) {
		if f[2] == strconv.Itoa(uid) {
			gid, err := strconv.Atoi(f[3])
			return gid, err == nil
		}
	}
	return 0, false
}

func passwdLines(t *Tree) [][]string {
	b, err := t.ReadFile("/etc/passwd")
	if err != nil {
		return nil
	}
	var lines [][]string
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), ":"); len(f) >= 7 {
			lines = append(lines, f)
		}
	}
	return lines
}
