package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/profile"
)

// ApplyAccounts writes the profile's users and groups into /etc/passwd,
// /etc/group and, where a package brought them, /etc/shadow and /etc/gshadow
// (passwd(5), group(5), shadow(5), gshadow(5)). An account that is there
// already gets the profile's line in place of its own; no password is ever
// valid. days is when the password "was changed", in days since 1970.
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
		if text := strings.TrimRight(string(b), "\n"); text != "" {
			have = strings.Split(text, "\n")
		}
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
	uid, err = parseID(user)
	switch {
	case err == nil && !hasGroup:
		gid, _, err = PrimaryGroup(t, uid)
		return uid, gid, err
	case hasGroup:
		gid, gerr := parseID(group)
		if err != nil || gerr != nil {
			return 0, 0, fmt.Errorf("user %q: want NAME, UID or UID:GID", name)
		}
		return uid, gid, nil
	}
	lines, err := passwdLines(t)
	if err != nil {
		return 0, 0, err
	}
	for _, f := range lines {
		if f[0] == user {
			uid, err1 := parseID(f[2])
			gid, err2 := parseID(f[3])
			if err1 != nil || err2 != nil {
				return 0, 0, fmt.Errorf("user %q: /etc/passwd gives it the ids %s:%s", name, f[2], f[3])
			}
			return uid, gid, nil
		}
	}
	return 0, 0, fmt.Errorf("user %q is not in the image's /etc/passwd: add it to accounts.users", name)
}

// parseID reads a user or group id of 32 bits; the highest means "none" to
// chown(2).
func parseID(s string) (int, error) {
	id, err := strconv.ParseUint(s, 10, 32)
	if err == nil && id == math.MaxUint32 {
		err = strconv.ErrRange
	}
	return int(id), err
}

// PrimaryGroup returns the group that the tree's /etc/passwd gives a user, and
// whether it has such a user.
func PrimaryGroup(t *Tree, uid int) (gid int, ok bool, err error) {
	lines, err := passwdLines(t)
	if err != nil {
		return 0, false, err
	}
	for _, f := range lines {
		if f[2] == strconv.Itoa(uid) {
			gid, err := parseID(f[3])
			return gid, err == nil, nil
		}
	}
	return 0, false, nil
}

// passwdLines are the fields of every whole line; none where there is no such
// file.
func passwdLines(t *Tree) ([][]string, error) {
	b, err := t.ReadFile("/etc/passwd")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var lines [][]string
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), ":"); len(f) >= 7 {
			lines = append(lines, f)
		}
	}
	return lines, nil
}
