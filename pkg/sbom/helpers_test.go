package sbom

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
	"github.com/etcdimg/etcdimg/pkg/sbom/sbomtest"
)

// workbench compiles look-alikes of etcd, without a network.
type workbench struct {
	environ []string
	store   *cache.Cache
	pin     lock.Etcd
	asked   int // how often files of modules were asked for
}

const version = "3.6.99"

func newWorkbench(t *testing.T) *workbench {
	t.Helper()
	dir := t.TempDir()
	env, err := etcdtest.Proxy(dir, version)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := etcdtest.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	w := &workbench{environ: append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GOPATH=" + filepath.Join(dir, "gopath")}, env...)}
	if w.store, err = cache.Open(filepath.Join(dir, "store")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	r := &etcd.Resolver{Go: etcd.NewGo(w.environ, etcd.Processes{})}
	w.pin, err = r.Resolve(t.Context(), etcd.Request{Version: version, Toolchain: etcdtest.Toolchain(), Binaries: []string{"etcd", "etcdctl"}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *workbench) compiler() *etcd.Compiler {
	return &etcd.Compiler{Go: etcd.NewGo(w.environ, etcd.Processes{}), Store: w.store}
}

// RootFiles gets modules as builds get them, and counts.
func (w *workbench) RootFiles(ctx context.Context, modules []Module, wanted func(string) bool) (map[Module]map[string]string, error) {
	w.asked++
	var all []etcd.PublishedModule
	for _, m := range modules {
		all = append(all, etcd.PublishedModule(m))
	}
	found, err := w.compiler().RootFiles(ctx, all, wanted)
	files := map[Module]map[string]string{}
	for m, f := range found {
		files[Module(m)] = f
	}
	return files, err
}

// facts are those of an image with two programs of etcd, two Debian packages
// and a few files of its own.
func (w *workbench) facts(t *testing.T) Facts {
	t.Helper()
	tree := rootfs.New()
	w.programs(t, tree)
	file := func(path, content, origin string) {
		put(t, tree, rootfs.Entry{Path: path, Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte(content)), Origin: origin})
	}
	file("/usr/lib/os-release", "ID=debian\nVERSION_ID=13\n", "os-release")
	put(t, tree, rootfs.Entry{Path: "/etc/os-release", Type: rootfs.Symlink, Mode: 0o777, Link: "../usr/lib/os-release", Origin: "os-release"})
	put(t, tree, rootfs.Entry{Path: "/usr/local/bin/etcd-default", Type: rootfs.Hardlink, Mode: 0o555, Link: "/usr/local/bin/etcd", Origin: "etcd " + version})
	file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", "accounts")
	file("/var/lib/dpkg/status", "Package: ca-certificates\nStatus: install ok installed\nMaintainer: Some Body <some@example.org>\nArchitecture: all\nVersion: 20260101+x\nDescription: d\n\n"+
		"Package: tool\nStatus: install ok installed\nMaintainer: Debian Tool Team <tool@example.org>\nArchitecture: amd64\nSource: tools (2.0-1)\nVersion: 2.0-1+b1\nDescription: d\n\n", "dpkg")
	file("/usr/share/doc/ca-certificates/copyright", "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: 2003 Some Body\nLicense: GPL-2+\n\nFiles: mozilla/*\nLicense: MPL-2.0\n", "ca-certificates")
	file("/usr/share/doc/tool/copyright", "Files: *\nLicense: tool-licence\n Do with it what you want.\n", "tool")
	file("/usr/bin/tool", "a tool", "tool")
	file(bundleFile, "certificates", "ca-certificates")
	return Facts{
		Name: "etcd", Version: version + "-0", Arch: "amd64", Created: etcdtest.Date(), Licence: "Apache-2.0", Tree: tree,
		Etcd: []lock.Etcd{w.pin},
		Debian: []lock.Package{
			{Name: "ca-certificates", Version: "20260101+x", Arch: "all", Archive: "debian", Snapshot: "20260301T000000Z", Path: "pool/main/c/ca.deb", SHA256: strings.Repeat("ab", 32)},
			{Name: "tool", Version: "2.0-1+b1", Arch: "amd64", Archive: "https://example.org/debian/", Path: "pool/main/t/tool.deb", SHA256: strings.Repeat("cd", 32)},
		},
	}
}

// programs puts etcd and etcdctl for amd64 into a tree.
func (w *workbench) programs(t *testing.T, tree *rootfs.Tree) {
	t.Helper()
	c := w.compiler()
	made, err := c.Compile(t.Context(), w.pin, "amd64", []string{"etcd", "etcdctl"})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range made {
		put(t, tree, rootfs.Entry{Path: "/usr/local/bin/" + name, Type: rootfs.File, Mode: 0o555, Content: c.Content(b), Component: "etcd-" + version, Origin: "etcd " + version})
	}
}

func put(t *testing.T, tree *rootfs.Tree, e rootfs.Entry) {
	t.Helper()
	if e.Component == "" {
		e.Component = rootfs.BaseComponent
	}
	if err := tree.Add(e); err != nil {
		t.Fatal(err)
	}
}

// checkSchema holds a document against the schema of its format.
func checkSchema(t *testing.T, s sbomtest.Schemas, format Format, document []byte) {
	t.Helper()
	if format == CycloneDX {
		s.CheckCycloneDX(t, document)
		return
	}
	s.CheckSPDX(t, document)
}
