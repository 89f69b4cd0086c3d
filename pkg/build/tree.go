package build

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/operator"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// binDir is where etcd's programs are in every image.
const binDir = "/usr/local/bin"

// binaryMode lets everybody run a program and nobody change it.
const binaryMode = 0o555

func etcdComponent(e lock.Etcd) string { return "etcd-" + e.Version }

// componentOrder has what changes least at the bottom.
func componentOrder(l *lock.Lock) []string {
	order := []string{rootfs.BaseComponent, "certificates"}
	for _, e := range l.Etcd {
		order = append(order, etcdComponent(e))
	}
	return append(order, migrateComponent, sbomComponent)
}

const migrateComponent = "migrate"

// programs are what was compiled for one architecture.
type programs struct {
	etcd    []map[string]rootfs.Content // in the lock's order
	migrate map[string]rootfs.Content   // empty for an image without it
	script  []byte                      // that runs migrate
}

// complete adds to a tree of packages everything else that a profile has.
// day is when passwords "were changed", in days since 1970.
func complete(t *rootfs.Tree, p *profile.Profile, arch profile.Arch, l *lock.Lock, made programs, day int) error {
	for _, step := range []func() error{
		func() error { return addOSRelease(t, p.OSRelease) },
		func() error { return addFiles(t, p, arch) },
		func() error { return addBinaries(t, l, made.etcd) },
		func() error { return addMigrate(t, made.migrate) },
		func() error { return rootfs.ApplyAccounts(t, p.Accounts, day) },
		func() error { return rootfs.ApplyPaths(t, p.Paths) },
		func() error { return addMigrateScript(t, made) }, // last: paths may bring the shell
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// passwordDay is the date of the base as shadow(5) has dates, in days since
// 1970.
func passwordDay(t *rootfs.Tree, epoch *time.Time) int {
	date := t.Date(rootfs.BaseComponent)
	if epoch != nil {
		date = *epoch
	}
	return int(date.Unix() / (24 * 60 * 60))
}

// addBinaries puts every version's programs under their versioned names, and
// the first version's under the plain ones too. An image of one version has
// the plain names only.
func addBinaries(t *rootfs.Tree, l *lock.Lock, binaries []map[string]rootfs.Content) error {
	for i, e := range l.Etcd {
		component := etcdComponent(e)
		t.SetDate(component, e.Date)
		for _, name := range slices.Sorted(maps.Keys(binaries[i])) {
			entry := rootfs.Entry{
				Path: path.Join(binDir, name), Type: rootfs.File, Mode: binaryMode,
				Content: binaries[i][name], Component: component, Origin: "etcd " + e.Version,
			}
			plain := entry.Path
			if len(l.Etcd) > 1 {
				entry.Path += "-" + e.Version
			}
			if err := t.Add(entry); err != nil {
				return err
			}
			if i > 0 || entry.Path == plain {
				continue
			}
			link := entry
			link.Path, link.Type, link.Content, link.Link = plain, rootfs.Hardlink, nil, entry.Path
			if err := t.Add(link); err != nil {
				return err
			}
		}
	}
	return nil
}

func addMigrate(t *rootfs.Tree, binaries map[string]rootfs.Content) error {
	for name, content := range binaries {
		if err := t.Add(migrateFile(name, content)); err != nil {
			return err
		}
	}
	return nil
}

// addMigrateScript adds the script where something can run it.
func addMigrateScript(t *rootfs.Tree, made programs) error {
	if _, ok := t.Lookup("/bin/sh"); !ok || len(made.migrate) == 0 {
		return nil
	}
	return t.Add(migrateFile(operator.Script, rootfs.Bytes(made.script)))
}

func migrateFile(name string, content rootfs.Content) rootfs.Entry {
	return rootfs.Entry{
		Path: path.Join(binDir, name), Type: rootfs.File, Mode: binaryMode,
		Content: content, Component: migrateComponent, Origin: migrateComponent,
	}
}

// addOSRelease writes os-release(5) where no package brings one, so that a
// scanner knows which distribution's packages it sees.
func addOSRelease(t *rootfs.Tree, o profile.OSRelease) error {
	const file, link = "/usr/lib/os-release", "/etc/os-release"
	if _, ok := t.Get(file); ok || o == (profile.OSRelease{}) {
		return nil
	}
	var b strings.Builder
	for _, f := range []struct{ key, value string }{
		{"PRETTY_NAME", o.PrettyName},
		{"NAME", o.Name},
		{"VERSION_ID", o.VersionID},
		{"ID", o.ID},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, "%s=%s\n", f.key, shellQuote(f.value))
		}
	}
	e := rootfs.Entry{Path: file, Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte(b.String())), Component: rootfs.BaseComponent, Origin: "os-release"}
	if err := t.Add(e); err != nil {
		return err
	}
	return t.Add(rootfs.Entry{Path: link, Type: rootfs.Symlink, Mode: 0o777, Link: "../usr/lib/os-release", Component: rootfs.BaseComponent, Origin: "os-release"})
}

// shellQuote quotes a value as os-release(5) wants it.
func shellQuote(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(s) + `"`
}

func addFiles(t *rootfs.Tree, p *profile.Profile, arch profile.Arch) error {
	for _, f := range p.Contents.Files {
		b, err := p.ReadLocal(f.SourceFor(arch))
		if err != nil {
			return fmt.Errorf("contents.files: %s: %w", f.Path, err)
		}
		e := rootfs.Entry{
			Path: f.Path, Type: rootfs.File, Mode: uint32(f.Permissions), UID: f.UID, GID: f.GID,
			Content: rootfs.Bytes(b), Component: rootfs.BaseComponent, Origin: "contents.files",
		}
		if err := t.Replace(e); err != nil {
			return err
		}
	}
	return nil
}
