package debian

import (
	"fmt"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// shadowGroup is the group that may read password files; base-passwd(5) gives
// it its number on every Debian system.
const shadowGroup = 42

// applyAccounts makes passwd(5) and group(5) of the lists that base-passwd
// ships.
func applyAccounts(r *ruleRun) error {
	for _, f := range []string{"passwd", "group"} {
		o := copied("/etc/"+f, "/usr/share/base-passwd/"+f+".master")
		o.mode = 0o644
		if err := o.make(r); err != nil {
			return err
		}
	}
	return nil
}

// applyShadow moves the passwords into shadow(5) and gshadow(5), as
// shadowconfig(8) does when passwd is installed. None is valid, whatever
// base-passwd may say.
func applyShadow(r *ruleRun) error {
	for _, db := range []struct {
		file, shadow string
		line         string // of the shadow file: account, members
	}{
		{"/etc/passwd", "/etc/shadow", fmt.Sprintf("%%[1]s:*:%d:0:99999:7:::\n", r.opts.Day)},
		{"/etc/group", "/etc/gshadow", "%[1]s:*::%[2]s\n"},
	} {
		data, err := r.read(db.file)
		if err != nil {
			return err
		}
		var plain, shadow strings.Builder
		for line := range strings.Lines(string(data)) {
			f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
			if len(f) < 4 {
				return fmt.Errorf("%s: %q is no account", db.file, line)
			}
			fmt.Fprintf(&shadow, db.line, f[0], f[len(f)-1])
			f[1] = "x"
			plain.WriteString(strings.Join(f, ":") + "\n")
		}
		if err := r.file(db.file, 0o644, rootfs.Bytes([]byte(plain.String())), "base-passwd"); err != nil {
			return err
		}
		e := rootfs.Entry{Path: db.shadow, Type: rootfs.File, Mode: 0o640, GID: shadowGroup, Content: rootfs.Bytes([]byte(shadow.String()))}
		if err := r.tree.Replace(r.entry(e, "passwd")); err != nil {
			return err
		}
	}
	return nil
}

const shellsDir = "/usr/share/debianutils/shells.d"

// applyShells lists the login shells that packages bring, as update-shells(8)
// does: every one as its package names it, and as it is named with links
// followed.
func applyShells(r *ruleRun) error {
	const template = "/usr/share/debianutils/shells"
	var shells []string
	seen := map[string]bool{}
	add := func(shell string) {
		if !seen[shell] {
			seen[shell] = true
			shells = append(shells, shell)
		}
	}
	head, inTemplate := "", map[string]bool{}
	for _, file := range append([]string{template}, r.shipped(shellsDir)...) {
		data, err := r.read(file)
		if err != nil {
			return err
		}
		if file == template {
			head = string(data)
		}
		for line := range strings.Lines(string(data)) {
			shell, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "#")
			if shell == "" {
				continue
			}
			real, err := r.tree.Resolve(shell)
			if err != nil {
				return fmt.Errorf("%s: %w", shell, err)
			}
			add(shell)
			add(real)
			if file == template {
				inTemplate[shell] = true
			}
		}
	}
	list, state := head, ""
	for _, s := range shells {
		state += s + "\n"
		if !inTemplate[s] {
			list += s + "\n"
		}
	}
	if err := text("/etc/shells", list).make(r); err != nil {
		return err
	}
	return text("/var/lib/shells.state", state).make(r)
}
