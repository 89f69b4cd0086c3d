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
	Add(rootfs.Entry) error     // an error where something else is
	Replace(rootfs.Entry) error // whatever is there
}

// RuleOptions are what the rules need to know beside packages and tree.
type RuleOptions struct {
	Arch         string        // GOARCH of the image
	Certificates []Certificate // authorities to trust beside those of ca-certificates
	Store        Store         // remembers what is costly to compute; nil for none
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
	Scripts []string // preinst, postinst, triggers
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
	// for what dpkg itself does.
	pkg string
	// scripts are the ones that it stands for, all that they do in a fresh
	// image included.
	scripts []string
	// makes says, for people, what comes of it.
	makes string
	// component is where it all belongs; empty: with the package that an entry
	// stands for.
	component string
	// when says whether the rule applies; nil: wherever pkg is.
	when func(*ruleRun) bool
	// apply makes it so; nil where the scripts do nothing in a fresh image.
	apply func(*ruleRun) error
}

// ruleRun is one rule at work.
type ruleRun struct {
	ctx  context.Context
	row  *rule
	tree Tree
	pkgs []*Package // by name
	pkg  *Package   // the rule's own, nil if it has none
	opts RuleOptions
}

// installScripts are the control files that act when a package is installed.
var installScripts = []string{"preinst", "postinst", "triggers"}

// Apply writes into the tree what the packages' maintainer scripts, and dpkg,
// would have made. The tree must hold the packages' files already. Entries
// have the origin and the component of the package that they stand for; the
// profile's own certificates have the origin "profile".
func Apply(ctx context.Context, tree Tree, pkgs []*Package, opts RuleOptions) (Report, error) {
	pkgs = slices.SortedFunc(slices.Values(pkgs), func(a, b *Package) int { return strings.Compare(a.Name, b.Name) })
	covered := map[string]bool{}
	for i := range rules {
		row := &rules[i]
		run := &ruleRun{ctx: ctx, row: row, tree: tree, pkgs: pkgs, opts: opts}
		if row.pkg != "" {
			if run.pkg = run.find(row.pkg); run.pkg != nil {
				for _, s := range row.scripts {
					covered[row.pkg+" "+s] = true
				}
			}
		}
		applies := run.pkg != nil
		if row.when != nil {
			applies = row.when(run)
		}
		if !applies || row.apply == nil {
			continue
		}
		if err := row.apply(run); err != nil {
			return Report{}, fmt.Errorf("%s: %w", row.makes, err)
		}
	}
	var report Report
	for _, p := range pkgs {
		f := Finding{Package: p.Name, Version: p.Version}
		for _, s := range installScripts {
			if _, ok := p.File(s); ok && !covered[p.Name+" "+s] {
				f.Scripts = append(f.Scripts, s)
			}
		}
		if len(f.Scripts) > 0 {
			report.Uncovered = append(report.Uncovered, f)
		}
	}
	return report, nil
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

// parents makes the directories above a path, for paths that no package ships.
func (r *ruleRun) parents(p, origin string) error {
	dir := path.Dir(p)
	if _, ok := r.tree.Get(dir); ok || dir == "/" {
		return nil
	}
	if err := r.parents(dir, origin); err != nil {
		return err
	}
	return r.dir(dir, 0o755, origin)
}
