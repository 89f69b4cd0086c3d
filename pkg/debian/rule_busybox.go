package debian

import (
	"fmt"
	"path"
	"path/filepath"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

const busyboxFile = "/usr/bin/busybox"

// applyApplets links every applet of busybox to where busybox --install would,
// in a tree whose /bin and /sbin are Debian's links into /usr. What another
// package brings stays.
func applyApplets(r *ruleRun) error {
	all, err := r.applets()
	if err != nil {
		return fmt.Errorf("%s of busybox-static %s: %w: choose another version with busybox-static=VERSION", busyboxFile, r.pkg.Version, err)
	}
	for _, dir := range []string{"bin", "sbin"} {
		if _, ok := r.tree.Get("/" + dir); ok {
			continue
		}
		if err := r.dir("/usr/"+dir, 0o755, r.pkg.Name); err != nil {
			return err
		}
		if err := r.link("/"+dir, "usr/"+dir, r.pkg.Name); err != nil {
			return err
		}
	}
	for _, a := range all {
		at, err := r.tree.Resolve(path.Join(a.Dir, a.Name))
		if err != nil {
			return err
		}
		if _, ok := r.tree.Get(at); ok {
			continue
		}
		target, err := filepath.Rel(path.Dir(at), busyboxFile)
		if err != nil {
			return err
		}
		if err := r.link(at, target, r.pkg.Name); err != nil {
			return err
		}
	}
	return nil
}

// applets reads the program that is in the tree. A Store remembers the outcome.
func (r *ruleRun) applets() ([]applet, error) {
	e, ok := r.at(busyboxFile)
	if !ok || e.Type != rootfs.File {
		return nil, fmt.Errorf("it is missing, or no file")
	}
	key := recordKey("applets 1", e.Content.Digest())
	var all []applet
	if r.opts.Store != nil && r.opts.Store.ReadRecord(kindApplets, key, &all) == nil && len(all) > 0 {
		return all, nil
	}
	program, err := readAll(e.Content)
	if err != nil {
		return nil, err
	}
	if all, err = applets(program); err != nil || r.opts.Store == nil {
		return all, err
	}
	return all, r.opts.Store.WriteRecord(kindApplets, key, all)
}
