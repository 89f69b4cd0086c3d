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

// setOwner changes mode and owner of what is there. Beneath it, directories
// get the execute bits that go with the read bits, as chmod's X does.
func setOwner(t *Tree, p profile.Path) error {
	at, err := t.Resolve(p.Path)
	if err != nil {
		return err
	}
	top, ok := t.entries[at]
	if !ok {
		return fmt.Errorf("nothing is there whose permissions could be set")
	}
	set := func(e *Entry, mode uint32) {
		c := *e
		c.UID, c.GID = p.UID, p.GID
		if c.Type != Symlink {
			c.Mode = mode
		}
		t.entries[e.Path] = &c
		delete(t.implied, e.Path)
	}
	set(top, uint32(p.Permissions))
	if !p.Recursive {
		return nil
	}
	fileMode := uint32(p.Permissions)
	if top.Type == Dir {
		fileMode &^= 0o7111
	}
	prefix := strings.TrimSuffix(at, "/") + "/"
	return t.Walk(func(e *Entry) error {
		switch {
		case !strings.HasPrefix(e.Path, prefix):
		case e.Type == Dir:
			set(e, uint32(p.Permissions))
		default:
			set(e, fileMode|e.Mode&0o111)
		}
		return nil
	})
}
