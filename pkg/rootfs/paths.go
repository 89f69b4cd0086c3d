package rootfs

import (
	"fmt"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/profile"
)

// ApplyPaths makes the profile's changes to the tree, in their order. Links on
// the way to a path are followed, so a mode set on /var/run/x lands where x
// really is.
func ApplyPaths(t *Tree, paths []profile.Path) error {
	for _, p := range paths {
		if err := applyPath(t, p); err != nil {
			return fmt.Errorf("paths: %s: %w", p.Path, err)
		}
	}
	return nil
}

func applyPath(t *Tree, p profile.Path) error {
	e := Entry{Path: p.Path, Mode: uint32(p.Permissions), UID: p.UID, GID: p.GID, Component: BaseComponent, Origin: "paths"}
	switch p.Type {
	case "directory":
		e.Type = Dir
		if err := t.Replace(e); err != nil {
			return err
		}
		if p.Recursive {
			return setOwner(t, p)
		}
		return nil
	case "empty-file":
		e.Type, e.Content = File, Bytes(nil)
	case "symlink":
		e.Type, e.Link, e.Mode = Symlink, p.Source, 0o777
	case "hardlink":
		target, err := t.Resolve(p.Source)
		if err != nil {
			return err
		}
		old, ok := t.Get(target)
		if !ok || old.Type != File {
			return fmt.Errorf("hard link to %s, which is no file in the image", p.Source)
		}
		e.Type, e.Link, e.Mode, e.UID, e.GID = Hardlink, target, old.Mode, old.UID, old.GID
		e.Component = old.Component
	case "permissions":
		return setOwner(t, p)
	default:
		return fmt.Errorf("unknown type %q", p.Type)
	}
	return t.Replace(e)
}

// setOwner changes mode and owner of what is there. Beneath it, as chmod's X
// does it, files get execute bits only where they had one, and none of the
// bits that only make sense for directories.
func setOwner(t *Tree, p profile.Path) error {
	at, err := t.Follow(p.Path)
	if err != nil {
		return err
	}
	top, ok := t.entries[at]
	if !ok {
		return fmt.Errorf("nothing is there whose permissions could be set")
	}
	mode := uint32(p.Permissions)
	t.change(top, mode, p.UID, p.GID)
	if !p.Recursive {
		return nil
	}
	prefix := strings.TrimSuffix(at, "/") + "/"
	return t.Walk(func(e *Entry) error {
		switch {
		case e.Path == at || !strings.HasPrefix(e.Path, prefix):
		case e.Type == Dir:
			t.change(e, mode, p.UID, p.GID)
		case e.Mode&0o111 != 0:
			t.change(e, mode&0o777, p.UID, p.GID)
		default:
			t.change(e, mode&0o666, p.UID, p.GID)
		}
		return nil
	})
}

// change sets mode and owner of an entry under all of its hard-linked names. A
// symbolic link has an owner only.
func (t *Tree) change(e *Entry, mode uint32, uid, gid int) {
	names := []string{e.Path}
	if e.Type == File || e.Type == Hardlink {
		names = t.names(e)
	}
	for _, name := range names {
		c := *t.entries[name]
		c.UID, c.GID = uid, gid
		if c.Type != Symlink {
			c.Mode = mode
		}
		t.entries[name] = &c
		delete(t.implied, name)
	}
}

// names are the paths under which the tree has a file.
func (t *Tree) names(e *Entry) []string {
	file := e.Path
	if e.Type == Hardlink {
		file = e.Link
	}
	var names []string
	for p, other := range t.entries {
		if p == file || other.Type == Hardlink && other.Link == file {
			names = append(names, p)
		}
	}
	return names
}
