package profile

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// debianUsers are the accounts that base-passwd gives every Debian system,
// with their primary groups.
var debianUsers = map[string][2]int{
	"root": {0, 0}, "daemon": {1, 1}, "bin": {2, 2}, "sys": {3, 3}, "sync": {4, 65534}, "games": {5, 60},
	"man": {6, 12}, "lp": {7, 7}, "mail": {8, 8}, "news": {9, 9}, "uucp": {10, 10}, "proxy": {13, 13},
	"www-data": {33, 33}, "backup": {34, 34}, "list": {38, 38}, "irc": {39, 39}, "_apt": {42, 65534}, "nobody": {65534, 65534},
}

// hasPackage tells whether the profile asks for a package or for one of the
// groups that contain it.
func (p *Profile) hasPackage(name string, groups ...string) bool {
	return !slices.Contains(p.Contents.Packages, "!"+name) && slices.ContainsFunc(p.Contents.Packages, func(item string) bool {
		bare, _, _ := strings.Cut(item, "=")
		return bare == name || slices.Contains(groups, bare)
	})
}

// RunAs is the user that containers start as: 0 and 0 where run-as is absent.
// ok is false where the user has a name that neither the profile nor Debian's
// base-passwd has, or something that is neither a name nor UID nor UID:GID.
func (p *Profile) RunAs() (uid, gid int, ok bool) {
	user := p.Accounts.RunAs
	if user == "" || user == "root" {
		return 0, 0, true
	}
	number, group, hasGroup := strings.Cut(user, ":")
	if id, err := strconv.ParseInt(number, 10, 64); err == nil && isDecimal(number) {
		uid = int(id)
		for _, u := range p.Accounts.Users {
			if u.UID == uid {
				gid = u.GID
			}
		}
		if hasGroup {
			g, err := strconv.ParseInt(group, 10, 64)
			return uid, int(g), err == nil && isDecimal(group) && id <= maxID && g <= maxID
		}
		return uid, gid, id <= maxID
	}
	for _, u := range p.Accounts.Users {
		if u.UserName == user {
			return u.UID, u.GID, true
		}
	}
	if ids, known := debianUsers[user]; known && p.hasPackage("base-passwd", "@essential", "@required") {
		return ids[0], ids[1], true
	}
	return 0, 0, false
}

func checkRunAs(p *Profile, j *judge) {
	if _, _, ok := p.RunAs(); ok {
		return
	}
	const key = "accounts.run-as"
	user := p.Accounts.RunAs
	if strings.ContainsAny(user, ":") || isDecimal(user) {
		j.report(key, fmt.Sprintf("%q is not UID or UID:GID", user), "write numbers from 0 to 4294967294, or the name of a user")
		return
	}
	remedy := "add it to accounts.users, or write a UID"
	var names []string
	for _, u := range p.Accounts.Users {
		names = append(names, u.UserName)
	}
	if near := nearest(user, names); near != "" {
		remedy = fmt.Sprintf("did you mean %s?", near)
	}
	j.report(key, fmt.Sprintf("user %q is not there", user), remedy)
}

func checkAccounts(p *Profile, j *judge) {
	users := unique{what: "uid", names: map[string]bool{}, ids: map[int]string{}}
	for i, u := range p.Accounts.Users {
		key := fmt.Sprintf("accounts.users[%d]", i)
		users.add(j, key, "username", u.UserName, u.UID)
		if strings.Contains(u.HomeDir+u.Shell, ":") {
			j.report(key, "homedir or shell has a colon, which passwd(5) can not hold", "choose a path without one")
		}
	}
	if p.hasPackage("base-passwd", "@essential", "@required") {
		for name := range debianUsers {
			users.names[name] = true
		}
	}
	groups := unique{what: "gid", names: map[string]bool{}, ids: map[int]string{}}
	for i, g := range p.Accounts.Groups {
		key := fmt.Sprintf("accounts.groups[%d]", i)
		groups.add(j, key, "groupname", g.GroupName, g.GID)
		for k, member := range g.Members {
			if !users.names[member] && !j.unread.touch("accounts.users") {
				j.report(fmt.Sprintf("%s.members[%d]", key, k), fmt.Sprintf("user %q is not there", member), "add it to accounts.users")
			}
		}
	}
}

// unique finds names and numbers that are given twice.
type unique struct {
	what  string // uid or gid
	names map[string]bool
	ids   map[int]string
}

func (u unique) add(j *judge, key, nameKey, name string, id int) {
	if !j.read(key+"."+nameKey) || !j.read(key+"."+u.what) {
		return
	}
	other, taken := u.ids[id]
	switch {
	case u.names[name]:
		j.report(key+"."+nameKey, fmt.Sprintf("%q is given twice", name), "keep one of them")
	case taken:
		j.report(key+"."+u.what, fmt.Sprintf("%d is the %s of %s already", id, u.what, other), "choose another number")
	default:
		u.ids[id] = name
	}
	u.names[name] = true
}

// checkPathsOnce lets paths set the permissions of a file of contents.files.
func checkPathsOnce(p *Profile, j *judge) {
	files, paths := map[string]string{}, map[string]string{}
	for i, f := range p.Contents.Files {
		key := fmt.Sprintf("contents.files[%d]", i)
		once(j, key, f.Path, files)
		if f.Path == "/" {
			j.report(key+".path", "/ is a directory", "name the file in the image")
		}
	}
	for i, f := range p.Paths {
		key := fmt.Sprintf("paths[%d]", i)
		if file, ok := files[f.Path]; ok && f.Type != "permissions" && j.read(key+".type") {
			j.report(key+".path", fmt.Sprintf("%s is made by %s already", f.Path, file), "keep one of them, or write type: permissions")
			continue
		}
		once(j, key, f.Path, paths)
	}
}

// once reports a path that is in made, and puts it there.
func once(j *judge, key, path string, made map[string]string) {
	if other, ok := made[path]; ok && path != "" {
		j.report(key+".path", fmt.Sprintf("%s is made by %s already", path, other), "keep one of them")
		return
	}
	made[path] = key
}

func checkPathTypes(p *Profile, j *judge) {
	for i, f := range p.Paths {
		key := fmt.Sprintf("paths[%d]", i)
		if !j.read(key) || !j.read(key+".type") {
			continue
		}
		link := f.Type == "symlink" || f.Type == "hardlink"
		switch {
		case link && f.Source == "":
			j.report(key+".source", "a "+f.Type+" needs a source", "add what the link leads to")
		case !link && f.Source != "":
			j.report(key+".source", "only links have a source", "remove it, or write type: symlink")
		case f.Type == "hardlink" && path.Clean("/"+f.Source) != f.Source:
			j.report(key+".source", fmt.Sprintf("%q is not an absolute, clean path", f.Source), "write "+path.Clean("/"+f.Source))
		case link && f.Source == f.Path:
			j.report(key+".source", "the link leads to itself", "name another path")
		}
		switch {
		case f.Type == "hardlink" && (f.Permissions != 0 || f.UID != 0 || f.GID != 0):
			j.report(key, "a hard link has the owner and mode of what it repeats", "set them there, and leave uid, gid and permissions out here")
		case f.Type == "symlink" && f.Permissions != 0 && f.Permissions != 0o777:
			j.report(key+".permissions", "a symbolic link has no permissions of its own", "leave them out")
		case f.Type == "permissions" && p.origins != nil && !p.written(key+".permissions"):
			j.report(key+".permissions", "is missing", "add the mode to set, as 0o755")
		}
		if f.Recursive && f.Type != "directory" && f.Type != "permissions" {
			j.report(key+".recursive", fmt.Sprintf("nothing is beneath what has type %s", f.Type), "remove it")
		}
		if f.Path == "/" && f.Type != "permissions" {
			j.report(key+".path", "/ is there always", "write type: permissions to change it")
		}
	}
}

func checkVolumesOnce(p *Profile, j *judge) {
	twice(j, "volumes", p.Volumes)
	if i := slices.Index(p.Volumes, "/"); i >= 0 {
		j.report(fmt.Sprintf("volumes[%d]", i), "/ can not be a volume", "name a directory beneath it")
	}
}

// checkVolumesWritable: a named volume takes over owner and mode of the
// directory that it covers, so a directory that the user can't write is a
// volume that it can't write.
func checkVolumesWritable(p *Profile, j *judge) {
	uid, gid, known := p.RunAs()
	if !known || uid == 0 {
		return
	}
	for i, volume := range p.Volumes {
		key := fmt.Sprintf("volumes[%d]", i)
		at := p.pathFor(volume)
		switch {
		case volume == "/" || slices.Index(p.Volumes, volume) < i:
		case at == nil && (volume == "/tmp" || volume == "/var/tmp") && p.hasPackage("base-files", "@essential", "@required"):
		case at == nil:
			j.report(key, fmt.Sprintf("user %s can not write %s: no entry of paths gives it an owner", p.Accounts.RunAs, volume),
				fmt.Sprintf("add to paths: {path: %s, type: directory, uid: %d, gid: %d, permissions: 0o700}", volume, uid, gid))
		case at.Type != "directory" && at.Type != "permissions":
			j.report(key, fmt.Sprintf("%s is made as %s", volume, at.Type), "make it a directory in paths")
		case !p.writable(at, uid, gid):
			j.report(key, fmt.Sprintf("user %s can not write %s, which has mode %s and owner %d:%d", p.Accounts.RunAs, volume, at.Permissions, at.UID, at.GID),
				fmt.Sprintf("change its entry in paths, as by uid: %d and permissions: 0o700", uid))
		}
	}
}

// pathFor is the last entry that decides owner and mode of a directory.
func (p *Profile) pathFor(dir string) *Path {
	var found *Path
	for i, f := range p.Paths {
		if f.Path == dir || f.Recursive && strings.HasPrefix(dir, strings.TrimSuffix(f.Path, "/")+"/") {
			found = &p.Paths[i]
		}
	}
	return found
}

// writable follows path_resolution(7): the first class that applies decides.
// Making files in a directory takes its write and its search bit.
func (p *Profile) writable(at *Path, uid, gid int) bool {
	bits := at.Permissions
	switch {
	case at.UID == uid:
		bits >>= 6
	case at.GID == gid || p.isMember(uid, at.GID):
		bits >>= 3
	}
	return bits&0o3 == 0o3
}

func (p *Profile) isMember(uid, gid int) bool {
	for _, g := range p.Accounts.Groups {
		if g.GID != gid {
			continue
		}
		for _, u := range p.Accounts.Users {
			if u.UID == uid && slices.Contains(g.Members, u.UserName) {
				return true
			}
		}
	}
	return false
}
