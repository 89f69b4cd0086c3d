package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"etcdimg": main})
}

// TestScripts runs the command as people do, against a Debian archive and a Go
// module proxy that exist for this test only: no script needs a network.
func TestScripts(t *testing.T) {
	w := newWorld(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"registry": registryCommand, "forge": forgeCommand},
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, w.environ...)
			e.Setenv("ETCDIMG_CACHE", filepath.Join(e.WorkDir, "cache"))
			e.Setenv("ETCDIMG_DEBIAN_MIRROR", "file://"+filepath.Join(w.dir, "mirror"))
			e.Setenv("ETCDIMG_DEBIAN_SNAPSHOT", "none")
			e.Setenv("ARCH", runtime.GOARCH)
			e.Setenv("WORLD", w.dir)
			e.Setenv("ETCDIMG_RELEASES", filepath.Join(w.dir, "releases"))
			e.Setenv("MODULES", w.modules)
			if err := os.WriteFile(filepath.Join(e.WorkDir, "archive.key"), w.key, 0o644); err != nil {
				return err
			}
			e.Setenv("REPO", w.repo)
			multi := fmt.Sprintf("include: %s\netcd: {toolchain: %s}\ncontents: {keyring: [archive.key]}\n", filepath.Join(w.repo, "configs", "busybox-multi.yaml"), etcdtest.Toolchain())
			if err := os.WriteFile(filepath.Join(e.WorkDir, "multi-base.yaml"), []byte(multi), 0o644); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "base.yaml"), []byte(w.base), 0o644)
		},
	})
}

// world is what scripts have in place of the network.
type world struct {
	repo    string   // the checkout
	dir     string   // mirror, mirror-newer, mirror-bad-deb, releases, …
	environ []string // the Go module proxy's
	modules string   // a Go module proxy with the modules that this test itself was built of
	key     []byte   // that signs the archives, and the releases in releases-signed
	base    string   // a profile that scripts include
}

func newWorld(t *testing.T) world {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	w := world{repo: filepath.Dir(filepath.Dir(here)), dir: t.TempDir()}
	proxy := filepath.Join(w.dir, "go")
	environ, err := etcdtest.Proxy(proxy, "3.6.98", "3.6.99")
	if err == nil {
		err = etcdtest.PublishWith(filepath.Join(proxy, "proxy"), "3.6.96", "example.org/needed", "v1.0.0", "v1.1.0")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { etcdtest.RemoveAll(proxy) })
	w.environ = environ
	cached, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	w.modules = "file://" + filepath.Join(strings.TrimSpace(string(cached)), "cache", "download")

	// Without a compiler, for all architectures.
	if err := etcdtest.Release(filepath.Join(w.dir, "releases"), "3.6.97", "amd64", "arm64", "ppc64le", "s390x"); err != nil {
		t.Fatal(err)
	}

	now := time.Now()
	mirror := debiantest.NewMirror(now)
	for _, page := range []string{"releases", "releases-signed"} {
		if err := etcdtest.Release(filepath.Join(w.dir, page), "3.6.99", runtime.GOARCH); err != nil {
			t.Fatal(err)
		}
	}
	sums := filepath.Join(w.dir, "releases-signed", "v3.6.99", "SHA256SUMS")
	checksums, err := os.ReadFile(sums)
	if err == nil {
		err = os.WriteFile(sums+".asc", debiantest.DetachSign(checksums, now, mirror.Key), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	mirror.AddHardened()
	mirror.AddBusybox()
	mirror.Suite("debian", "trixie").Add(debiantest.Deb{Name: "example-tool", Scripts: map[string]string{"postinst": "#!/bin/sh\nuseradd tool\n"}})
	mirror.Write(t, filepath.Join(w.dir, "mirror"))
	w.key = mirror.Key.Public()
	mirror.AddNewer()
	mirror.Write(t, filepath.Join(w.dir, "mirror-newer"))
	for name, damage := range map[string]func(path string) bool{
		"mirror-bad-deb":   func(path string) bool { return strings.HasSuffix(path, ".deb") },
		"mirror-bad-index": func(path string) bool { return strings.Contains(path, "Packages") || strings.Contains(path, "by-hash") },
	} {
		bad := debiantest.NewMirror(now)
		bad.Key = mirror.Key
		bad.AddHardened()
		bad.Patch(func(files map[string][]byte) {
			for path, b := range files {
				if damage(path) && len(b) > 0 {
					files[path] = append(b[:len(b)-1:len(b)-1], b[len(b)-1]^1)
				}
			}
		})
		bad.Write(t, filepath.Join(w.dir, name))
	}
	stranger := debiantest.NewMirror(now)
	stranger.AddHardened()
	stranger.Write(t, filepath.Join(w.dir, "mirror-other-key"))

	w.base = fmt.Sprintf(`
name: etcd
etcd:
  versions: [3.6.99]
  toolchain: %s
contents:
  repositories: [debian trixie main, debian trixie-updates main, debian-security trixie-security main]
  keyring: [archive.key]
  packages: [ca-certificates, tzdata, "!openssl", "!debconf"]
  slim: true
accounts:
  run-as: nonroot
  users: [{username: nonroot, uid: 65532}]
  groups: [{groupname: nonroot, gid: 65532}]
paths:
  - {path: /var/lib/etcd, type: directory, uid: 65532, gid: 65532, permissions: 0o700}
cmd: /usr/local/bin/etcd
work-dir: /var/lib/etcd
volumes: [/var/lib/etcd]
archs: [%s]
os-release: {id: debian, version-id: "13"}
`, etcdtest.Toolchain(), runtime.GOARCH)
	return w
}
