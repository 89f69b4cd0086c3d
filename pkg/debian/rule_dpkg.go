package debian

import "github.com/etcdimg/etcdimg/pkg/rootfs"

const statusDir = "/var/lib/dpkg/status.d"

// applyStatusFiles writes /var/lib/dpkg/status.d/<package> and
// <package>.md5sums, the form in which images without dpkg say what they hold.
// Each package's own files lie in its own layer component.
func applyStatusFiles(r *ruleRun) error {
	for _, p := range r.pkgs {
		name := statusDir + "/" + p.Name
		if err := r.parents(name, p.Name); err != nil {
			return err
		}
		if err := r.file(name, 0o644, rootfs.Bytes(p.ControlFile), p.Name); err != nil {
			return err
		}
		if sums, ok := p.File("md5sums"); ok {
			if err := r.file(name+".md5sums", 0o644, sums.Content, p.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
