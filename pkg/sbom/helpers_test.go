package sbom

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// workbench compiles look-alikes of etcd, without a network.
type workbench struct {
	environ []string
	store   *cache.Cache
	pin     lock.Etcd
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

// programs puts etcd and etcdctl for amd64 into a tree.
func (w *workbench) programs(t *testing.T, tree *rootfs.Tree) {
	t.Helper()
	c := &etcd.Compiler{Go: etcd.NewGo(w.environ, etcd.Processes{}), Store: w.store}
	made, err := c.Compile(t.Context(), w.pin, "amd64", []string{"etcd", "etcdctl"})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range made {
		add(t, tree, rootfs.Entry{Path: "/usr/local/bin/" + name, Type: rootfs.File, Mode: 0o555, Content: c.Content(b), Component: "etcd-" + version, Origin: "etcd " + version})
	}
}

func add(t *testing.T, tree *rootfs.Tree, e rootfs.Entry) {
	t.Helper()
	if e.Component == "" {
		e.Component = rootfs.BaseComponent
	}
	if err := tree.Add(e); err != nil {
		t.Fatal(err)
	}
}
