package debian

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// Tree is the file tree of an image, as the rules see it. Paths are absolute.
type Tree interface {
	Get(path string) (*rootfs.Entry, bool)
	Resolve(path string) (string, error) // links in its directory part followed
	Add(rootfs.Entry) error              // an error where something else is
	Replace(rootfs.Entry) error          // whatever is there
}

// RuleOptions are what the rules need to know beside packages and tree.
type RuleOptions struct {
	Arch         string        // GOARCH of the image
	Slim         bool          // no documentation, manual pages, translations
	Exclude      []string      // patterns of paths to leave out of packages, as dpkg's path-exclude
	Day          int           // when every password "was changed", shadow(5): days since 1970
	Sources      []Source      // where apt in the image finds packages; none: its sources stay as they are
	Keys         [][]byte      // keyring files that Sources may be signed by, beside Debian's
	Certificates []Certificate // authorities to trust beside those of ca-certificates
	Store        Store         // remembers what is costly to compute; nil for none
}

func (o RuleOptions) debianArch() string {
	arch, _ := DebianArch(o.Arch)
	return arch
}

// Certificate is a certificate authority of the profile.
type Certificate struct {
	Name string // file name below /usr/local/share/ca-certificates, without .crt
	PEM  []byte // one or more CERTIFICATE blocks
}

// Finding is a package with maintainer scripts that no rule speaks for: what
// they would have done is missing from the image.
type Finding struct {
	Package string
	Version string
	Scripts []string // preinst, postinst
}

func (f Finding) String() string {
	return fmt.Sprintf("%s %s: no rule stands for its %s", f.Package, f.Version, strings.Join(f.Scripts, ", "))
}

// Report is what Apply has to say beside the tree.
type Report struct {
	Uncovered []Finding // by package
}

// rule is one row of the table in rules_table.go.
type rule struct {
	// pkg is the package whose maintainer scripts the rule stands for; empty
	// for what dpkg itself does, or what a container wants of it.
	pkg string
	// scripts are the ones that it stands for, all that they do in a fresh
	// image included.
	scripts []string
	// makes says, for people, what comes of it; nothing, and why, where a
	// script does nothing in a fresh image.
	makes string
	// component is where it all belongs; empty: with the package that an entry
	// stands for.
	component string
	// when says whether the rule applies; nil: wherever pkg is.
	when func(*ruleRun) bool

	// What the rule makes, in this order. Alternatives and diversions are the
	// exceptions: those of all packages are brought together, by the rule
	// that makes the former and by the one that makes dpkg's database.
	files        []outcome
	apply        func(*ruleRun) error
	alternatives []alternative
	diverts      map[string][]string // paths, by Debian's name of the architecture
}

// ruleRun is one rule at work.
type ruleRun struct {
	ctx  context.Context
	rows []rule // the whole table
	row  *rule
	tree Tree
	pkgs []*Package // by name
	pkg  *Package   // the rule's own, nil if it has none
	opts RuleOptions
}

// installScripts are the control files that act when a package is installed. A
// triggers file is none of them: it names whose postinst is to act.
var installScripts = []string{"preinst", "postinst"}

// Apply writes into the tree what the packages' maintainer scripts, and dpkg,
// would have made. The tree must hold the packages' files already. Entries
// have the origin and the component of the package that they stand for; the
// profile's own certificates have the origin "profile".
func Apply(ctx context.Context, tree Tree, pkgs []*Package, opts RuleOptions) (Report, error) {
	pkgs = slices.SortedFunc(slices.Values(pkgs), func(a, b *Package) int { return strings.Compare(a.Name, b.Name) })
	for i := range rules {
		row := &rules[i]
		run := &ruleRun{ctx: ctx, rows: rules, row: row, tree: tree, pkgs: pkgs, opts: opts}
		if row.pkg != "" {
			run.pkg = run.find(row.pkg)
		}
		applies := run.pkg != nil
		if row.when != nil {
			applies = row.when(run)
		}
		if !applies {
			continue
		}
		if err := run.make(); err != nil {
			return Report{}, fmt.Errorf("%s: %w", row.makes, err)
		}
	}
	return Report{Uncovered: Uncovered(pkgs)}, nil
}

// Uncovered tells of which packages the maintainer scripts do something in a
// fresh image that no rule stands for. Packages are told by name.
func Uncovered(pkgs []*Package) []Finding {
	covered := map[string]bool{}
	for _, row := range rules {
		for _, s := range row.scripts {
			covered[row.pkg+" "+s] = true
		}
	}
	var found []Finding
	for _, p := range slices.SortedFunc(slices.Values(pkgs), func(a, b *Package) int { return strings.Compare(a.Name, b.Name) }) {
		f := Finding{Package: p.Name, Version: p.Version}
		for _, s := range installScripts {
			if _, ok := p.File(s); ok && !covered[p.Name+" "+s] {
				f.Scripts = append(f.Scripts, s)
			}
		}
		if len(f.Scripts) > 0 {
			found = append(found, f)
		}
	}
	return found
}

func (r *ruleRun) make() error {
	for _, o := range r.row.files {
		if err := o.make(r); err != nil {
			return fmt.Errorf("%s: %w", o.path, err)
		}
	}
	if r.row.apply == nil {
		return nil
	}
	return r.row.apply(r)
}

func (r *ruleRun) find(name string) *Package {
	for _, p := range r.pkgs {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// entry fills in whom an entry belongs to.
func (r *ruleRun) entry(e rootfs.Entry, origin string) rootfs.Entry {
	e.Origin, e.Component = origin, r.row.component
	if e.Component == "" {
		e.Component = componentOf(origin)
	}
	return e
}

// dir makes a directory of root, unless there is one.
func (r *ruleRun) dir(p string, mode uint32, origin string) error {
	return r.tree.Add(r.entry(rootfs.Entry{Path: p, Type: rootfs.Dir, Mode: mode}, origin))
}

// file makes a file of root.
func (r *ruleRun) file(p string, mode uint32, content rootfs.Content, origin string) error {
	return r.tree.Replace(r.entry(rootfs.Entry{Path: p, Type: rootfs.File, Mode: mode, Content: content}, origin))
}

// link makes a symbolic link.
func (r *ruleRun) link(p, target, origin string) error {
	return r.tree.Replace(r.entry(rootfs.Entry{Path: p, Type: rootfs.Symlink, Mode: 0o777, Link: target}, origin))
}

// at finds what is at a path, links in its directory part followed.
func (r *ruleRun) at(p string) (*rootfs.Entry, bool) {
	resolved, err := r.tree.Resolve(p)
	if err != nil {
		return nil, false
	}
	return r.tree.Get(resolved)
}

// read returns the content of a file of the tree.
func (r *ruleRun) read(p string) ([]byte, error) {
	e, ok := r.at(p)
	if !ok || e.Type != rootfs.File {
		return nil, fmt.Errorf("%s is missing, or no file", p)
	}
	b, err := readAll(e.Content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	return b, nil
}

// shipped are the paths of files directly in a directory that packages ship
// and that are in the tree, sorted.
func (r *ruleRun) shipped(dir string) []string {
	found := map[string]bool{}
	for _, p := range r.pkgs {
		for _, e := range p.Entries {
			if path.Dir(e.Path) != dir || e.Type != rootfs.File {
				continue
			}
			if in, ok := r.tree.Get(e.Path); ok && in.Type == rootfs.File {
				found[e.Path] = true
			}
		}
	}
	return sortedKeys(found)
}

// hasParent says whether the directory that a path lies in is there.
func (r *ruleRun) hasParent(p string) bool {
	dir, ok := r.at(path.Dir(p))
	return ok && dir.Type == rootfs.Dir
}

// parents makes the directories above a path, for paths that no package ships.
func (r *ruleRun) parents(p, origin string) error {
	dir := path.Dir(p)
	if _, ok := r.at(dir); ok || dir == "/" {
		return nil
	}
	if err := r.parents(dir, origin); err != nil {
		return err
	}
	return r.dir(dir, 0o755, origin)
}
