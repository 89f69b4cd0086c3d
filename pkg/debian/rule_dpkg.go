package debian

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

const (
	adminDir  = "/var/lib/dpkg/"
	infoDir   = adminDir + "info/"
	statusDir = adminDir + "status.d"
)

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

// applyDatabase writes what dpkg knows once it has installed the packages:
// that they are, what each brought, who diverts what, and who waits for which
// trigger. All of it is of the base, whatever layer a package's own files are
// in: it is one thing, and changes with any of them.
func applyDatabase(r *ruleRun) error {
	arch := r.opts.debianArch()
	var status, diverted bytes.Buffer
	for _, p := range r.pkgs {
		status.Write(statusStanza(p))
		if err := r.packageInfo(p); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	for _, d := range diversions(r.rows, r.pkgs, arch) {
		fmt.Fprintf(&diverted, "%s\n%s\n%s\n", d.from, d.to, d.by)
	}
	files := []outcome{
		text(adminDir+"status", status.String()),
		text(adminDir+"diversions", diverted.String()),
		text(adminDir+"arch", arch+"\n"),
		text(adminDir+"arch-native", arch+"\n"),
		text(infoDir+"format", "1\n"),
		directory(adminDir+"updates", 0o755, 0, 0),
		empty(adminDir+"lock", 0o640, 0),
		empty(adminDir+"lock-frontend", 0o640, 0),
		empty(adminDir+"triggers/Lock", 0o600, 0),
		empty(adminDir+"triggers/Unincorp", 0o644, 0),
	}
	triggers, err := r.triggers()
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(triggers) {
		files = append(files, text(adminDir+"triggers/"+name, triggers[name]))
	}
	for _, o := range files {
		if err := o.make(r); err != nil {
			return fmt.Errorf("%s: %w", o.path, err)
		}
	}
	return nil
}

// packageInfo writes a package's files below /var/lib/dpkg/info: those of its
// control archive, and the list of what it brought, in the order in which it
// did. The list has what a slim image leaves out, too: dpkg excludes paths from
// unpacking, not from its lists.
func (r *ruleRun) packageInfo(p *Package) error {
	base := infoDir + infoName(p)
	var list strings.Builder
	list.WriteString("/.\n")
	for _, e := range p.Entries {
		list.WriteString(e.Path + "\n")
	}
	if err := text(base+".list", list.String()).make(r); err != nil {
		return err
	}
	for _, f := range p.Files {
		if err := r.file(base+"."+f.Name, f.Mode, f.Content, r.origin()); err != nil {
			return err
		}
	}
	return nil
}

// infoName is how a package's files are named: with the architecture where
// packages of several may be installed beside each other.
func infoName(p *Package) string {
	if p.Control.Get("Multi-Arch") == "same" {
		return p.Name + ":" + p.Arch
	}
	return p.Name
}

// triggers are the files of /var/lib/dpkg/triggers: who is interested in what,
// deb-triggers(5). All interests in paths stand in one file.
func (r *ruleRun) triggers() (map[string]string, error) {
	out := map[string]string{}
	for _, p := range r.pkgs {
		f, ok := p.File("triggers")
		if !ok {
			continue
		}
		data, err := readAll(f.Content)
		if err != nil {
			return nil, fmt.Errorf("triggers of %s: %w", p.Name, err)
		}
		for line := range strings.Lines(string(data)) {
			line, _, _ = strings.Cut(line, "#")
			w := strings.Fields(line)
			if len(w) != 2 || !strings.HasPrefix(w[0], "interest") {
				continue // what a package activates, its postinst's rule has done
			}
			name, who := w[1], infoName(p)
			if w[0] == "interest-noawait" {
				who += "/noawait"
			}
			if strings.HasPrefix(name, "/") {
				out["File"] += name + " " + who + "\n"
			} else if controlName.MatchString(name) {
				out[name] += who + "\n"
			}
		}
	}
	return out, nil
}

// statusFields are the fields that dpkg knows, in the order in which it writes
// them; others follow as the package has them.
var statusFields = []string{
	"Package", "Essential", "Protected", "Status", "Priority", "Section", "Installed-Size", "Origin", "Maintainer",
	"Bugs", "Architecture", "Multi-Arch", "Source", "Version", "Replaces", "Provides", "Depends", "Pre-Depends",
	"Recommends", "Suggests", "Breaks", "Conflicts", "Enhances", "Conffiles", "Description",
}

// relationFields hold lists of relations, which dpkg writes into one line.
var relationFields = []string{"Replaces", "Provides", "Depends", "Pre-Depends", "Recommends", "Suggests", "Breaks", "Conflicts", "Enhances"}

// statusStanza is a package's paragraph in /var/lib/dpkg/status.
func statusStanza(p *Package) []byte {
	var b bytes.Buffer
	for _, name := range statusFields {
		value := p.Control.Get(name)
		switch name {
		case "Status":
			value = "install ok installed"
		case "Conffiles":
			value = ""
			for _, c := range p.Conffiles {
				if c.MD5 != "" {
					value += "\n " + c.Path + " " + c.MD5
				}
			}
		case "Multi-Arch", "Essential", "Protected":
			if value == "no" {
				value = ""
			}
		}
		if slices.Contains(relationFields, name) {
			value = strings.Join(strings.Fields(value), " ")
		}
		writeField(&b, name, value)
	}
	for _, f := range p.Control {
		if !slices.ContainsFunc(statusFields, func(name string) bool { return strings.EqualFold(name, f.Name) }) {
			writeField(&b, f.Name, f.Value)
		}
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// writeField writes a field whose value may go on in lines of their own.
func writeField(b *bytes.Buffer, name, value string) {
	switch {
	case value == "":
	case strings.HasPrefix(value, "\n"):
		b.WriteString(name + ":" + value + "\n")
	default:
		b.WriteString(name + ": " + value + "\n")
	}
}
