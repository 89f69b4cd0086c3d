package debian

import (
	"fmt"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// outcome is one entry that a rule makes, given by what it is. A slim image
// does without those that lie where it has nothing.
type outcome struct {
	path     string
	kind     rootfs.Type
	mode     uint32 // 0 for a copy: as the original has it
	uid, gid int
	link     string // of a symbolic link
	from     string // of a copy: the original
	text     string // of any other file
	in       bool   // only where its directory is there
	own      bool   // of a directory: mode and owner hold even where a package ships it
}

func directory(p string, mode uint32, uid, gid int) outcome {
	return outcome{path: p, kind: rootfs.Dir, mode: mode, uid: uid, gid: gid}
}

// ownDirectory is a directory that a package ships with another owner.
func ownDirectory(p string, mode uint32, uid, gid int) outcome {
	o := directory(p, mode, uid, gid)
	o.own = true
	return o
}

func directories(paths ...string) []outcome {
	var out []outcome
	for _, p := range paths {
		out = append(out, directory(p, 0o755, 0, 0))
	}
	return out
}

func symlink(p, target string) outcome {
	return outcome{path: p, kind: rootfs.Symlink, mode: 0o777, link: target}
}

func copied(p, from string) outcome {
	return outcome{path: p, kind: rootfs.File, from: from}
}

func empty(p string, mode uint32, gid int) outcome {
	return outcome{path: p, kind: rootfs.File, mode: mode, gid: gid}
}

func text(p, content string) outcome {
	return outcome{path: p, kind: rootfs.File, mode: 0o644, text: content}
}

// executable is text that can be run.
func executable(p, content string) outcome {
	o := text(p, content)
	o.mode = 0o755
	return o
}

// ifDirectory restricts an outcome to trees that have its directory.
func (o outcome) ifDirectory() outcome {
	o.in = true
	return o
}

func (o outcome) make(r *ruleRun) error {
	if r.opts.drops(o.path, o.kind) || o.in && !r.hasParent(o.path) {
		return nil
	}
	origin := r.origin()
	e := rootfs.Entry{Path: o.path, Type: o.kind, Mode: o.mode, UID: o.uid, GID: o.gid, Link: o.link}
	switch {
	case o.kind == rootfs.Dir && o.own:
		return r.tree.Replace(r.entry(e, origin))
	case o.kind == rootfs.Dir:
		return r.tree.Add(r.entry(e, origin))
	case o.from != "":
		original, ok := r.at(o.from)
		if !ok || original.Type != rootfs.File {
			return fmt.Errorf("%s is missing, or no file", o.from)
		}
		e.Mode, e.UID, e.GID, e.Content = original.Mode, original.UID, original.GID, original.Content
	case o.kind == rootfs.File:
		e.Content = rootfs.Bytes([]byte(o.text))
	}
	if err := r.parents(o.path, origin); err != nil {
		return err
	}
	return r.tree.Replace(r.entry(e, origin))
}

// origin is whom the rule's entries are from.
func (r *ruleRun) origin() string {
	if r.row.pkg != "" {
		return r.row.pkg
	}
	return "dpkg"
}
