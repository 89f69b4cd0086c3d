//go:build e2e

package signing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/debian/debiantest"
	"github.com/etcdimg/etcdimg/pkg/etcd/etcdtest"
)

// lab is a registry, the command, and a folder to work in.
type lab struct {
	*testing.T
	repo     string // the checkout
	dir      string
	registry string // 127.0.0.1:PORT
	environ  []string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{T: t, repo: filepath.Join(here, "..", "..", ".."), dir: t.TempDir()}
	// Where the last test left it, it is not linked again.
	bin := filepath.Join(l.repo, ".cache", "e2e-signing")
	path := strings.Join([]string{bin, filepath.Join(l.repo, ".cache", "tools"), os.Getenv("PATH")}, ":")
	t.Setenv("PATH", path)
	l.registry = l.startRegistry()
	l.run("go", "build", "-C", l.repo, "-o", filepath.Join(bin, "etcdimg"), "./cmd/etcdimg")
	proxy := filepath.Join(l.dir, "go")
	environ, err := etcdtest.Proxy(proxy, "3.6.99")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { etcdtest.RemoveAll(proxy) })
	mirror := debiantest.NewMirror(time.Now())
	mirror.AddHardened()
	mirror.Write(t, filepath.Join(l.dir, "mirror"))
	l.environ = append(environ,
		"ETCDIMG_CACHE="+filepath.Join(l.dir, "cache"),
		"ETCDIMG_DEBIAN_MIRROR=file://"+filepath.Join(l.dir, "mirror"), "ETCDIMG_DEBIAN_SNAPSHOT=none",
		"COSIGN_PASSWORD=secret", "HOME="+l.dir,
	)
	l.write("archive.key", mirror.Key.Public())
	l.write("hardened.yaml", fmt.Appendf(nil, `
include: %s
etcd: {versions: [3.6.99], toolchain: %s}
contents: {keyring: [archive.key]}
migrate: false
archs: [%s]
`, filepath.Join(l.repo, "configs", "hardened.yaml"), etcdtest.Toolchain(), runtime.GOARCH))
	return l
}

func (l *lab) write(name string, b []byte) {
	l.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), b, 0o644); err != nil {
		l.Fatal(err)
	}
}

// startRegistry runs Debian's docker-registry on a free port of the loopback
// interface until the test ends.
func (l *lab) startRegistry() string {
	l.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	l.write("registry.yml", fmt.Appendf(nil, "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", filepath.Join(l.dir, "registry"), address))
	cmd := exec.Command(l.tool("docker-registry"), "serve", filepath.Join(l.dir, "registry.yml"))
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for range 200 {
		if resp, err := http.Get("http://" + address + "/v2/"); err == nil {
			resp.Body.Close()
			return address
		}
		time.Sleep(50 * time.Millisecond)
	}
	l.Fatal("the registry does not answer")
	return ""
}

// tool finds a program that the test needs.
func (l *lab) tool(name string) string {
	l.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	why := name + " is not installed; hack/test-tools does it"
	// The newer cosign is there for make test-all.
	if os.Getenv("ETCDIMG_E2E_STRICT") != "" && (name != "cosign3" || os.Getenv("ETCDIMG_ALL") != "") {
		l.Fatalf("can not be run here, and ETCDIMG_E2E_STRICT is set: %s", why)
	}
	fmt.Printf("*** NOT RUN: %s: %s\n", l.Name(), why)
	l.Skip("NOT RUN: " + why)
	return ""
}

// run runs a command in the lab's folder to its good end.
func (l *lab) run(argv ...string) string {
	l.Helper()
	out, err := l.try(argv...)
	if err != nil {
		l.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

// try runs a command in the lab's folder.
func (l *lab) try(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(l.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = l.dir
	if argv[0] != "go" {
		cmd.Env = append(os.Environ(), l.environ...)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = ctx.Err()
	}
	return out.String(), err
}
