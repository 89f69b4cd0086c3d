//go:build e2e

package e2e

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/etcdimg/etcdimg/pkg/registry/registrytest"
)

// runner is a machine of a CI system: nothing on its disk, no compiler.
type runner struct {
	*command
	called func() bool // whether a compiler was started
}

func newRunner(t *testing.T, args ...string) *runner {
	t.Helper()
	c := shared.command(args...).with("ETCDIMG_CACHE", filepath.Join(shared.scratch(t), "cache"))
	return &runner{c, withoutGo(t, c)}
}

// pushed runs a publish by digest to its end, and returns the digest.
func (r *runner) pushed(t *testing.T) string {
	t.Helper()
	stdout, stderr, err := r.run(t.Context())
	if err != nil {
		t.Error(err)
		return ""
	}
	if r.called() {
		t.Errorf("a compiler was started by %s:\n%s", strings.Join(r.argv, " "), stderr)
	}
	_, digest, ok := strings.Cut(strings.TrimSpace(stdout), "@")
	if !ok || strings.ContainsAny(digest, " \n") {
		t.Errorf("%s printed %q, want one digest", strings.Join(r.argv, " "), stdout)
	}
	return digest
}

// Machines with empty disks, one for each architecture, make out of the
// registry's cache what one machine makes of all of them, and start no compiler:
// not when one of them is killed in the middle of its push and started again,
// nor when two of them build the same.
func TestScaleOut(t *testing.T) {
	shared.image(t) // compiles
	dir := shared.scratch(t)
	profile := filepath.Join(dir, "hardened.yaml")
	write(t, profile, "include: "+shared.profile("hardened.yaml")+"\n")
	if _, _, err := shared.command("lock", profile, "-q").run(t.Context()); err != nil {
		t.Fatal(err)
	}
	alone := shared.command("build", profile, "--locked", "-o", filepath.Join(dir, "alone"), "--output", "json").mustBuild(t)
	reg := registrytest.New(t)
	repo, cacheRepo := reg.Host+"/etcd", reg.Host+"/cache"

	// Somebody built before, and left it in the registry.
	if _, _, err := shared.command("build", profile, "--locked", "-o", filepath.Join(dir, "before"), "--insecure", "--cache-repo", cacheRepo, "-q").run(t.Context()); err != nil {
		t.Fatal(err)
	}

	var wg sync.WaitGroup
	digests := make([]string, len(alone.Images)+1)
	publish := func(host, arch string) *runner {
		return newRunner(t, "publish", profile, host+"/etcd", "--locked", "--arch", arch, "--by-digest", "--insecure", "--cache-repo", host+"/cache", "--cache-repo-mode", "read")
	}
	for i, image := range alone.Images {
		if image.Arch == "s390x" {
			continue
		}
		r := publish(reg.Host, image.Arch)
		wg.Go(func() { digests[i] = r.pushed(t) })
	}
	twin := publish(reg.Host, "amd64")
	wg.Go(func() { digests[len(alone.Images)] = twin.pushed(t) })
	wg.Go(func() { killInMidPush(t, reg, func(host string) *runner { return publish(host, "s390x") }) })
	wg.Wait()
	again := publish(reg.Host, "s390x")
	var list strings.Builder
	for i, image := range alone.Images {
		if image.Arch == "s390x" {
			digests[i] = again.pushed(t)
		}
		if digests[i] != image.Digest {
			t.Errorf("the machine for %s made %s, one machine alone %s", image.Arch, digests[i], image.Digest)
		}
		if image.Arch == "amd64" && digests[len(alone.Images)] != digests[i] {
			t.Errorf("two machines made %s and %s for amd64", digests[i], digests[len(alone.Images)])
		}
		list.WriteString(repo + "@" + digests[i] + "\n")
	}
	file := filepath.Join(dir, "digests.txt")
	write(t, file, list.String())

	stdout, _, err := shared.command("index", repo+":v1", "--from", file, "--profile", profile, "--insecure").run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := repo + "@" + alone.Digest + "  v1\n"; stdout != want {
		t.Errorf("joined to %q, want %q", stdout, want)
	}
	// Byte for byte, with what is said about it.
	if _, _, err := shared.command("index", "-o", filepath.Join(dir, "joined"), "--from", file, "--insecure").run(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, "diff", "-r", filepath.Join(dir, "alone"), filepath.Join(dir, "joined"))

	t.Run("refuses what is missing or foreign", func(t *testing.T) {
		lines := strings.SplitAfter(list.String(), "\n")
		fewer := filepath.Join(dir, "fewer.txt")
		write(t, fewer, strings.Join(lines[:3], ""))
		if said := shared.command("index", repo+":v2", "--from", fewer, "--insecure").mustFail(t); !strings.Contains(said, "the image for s390x is missing") {
			t.Errorf("of a missing image it said %q", said)
		}
		nowhere := "sha256:" + strings.Repeat("0", 64)
		if said := shared.command("index", repo+":v2", repo+"@"+nowhere, "--from", fewer, "--insecure").mustFail(t); !strings.Contains(said, nowhere) {
			t.Errorf("of a digest that is nowhere it said %q", said)
		}
		other := filepath.Join(dir, "other.yaml")
		write(t, other, "include: hardened.yaml\nlabels: {other: \"yes\"}\n")
		if _, _, err := shared.command("lock", other, "-q").run(t.Context()); err != nil {
			t.Fatal(err)
		}
		printed, _, err := shared.command("publish", other, repo, "--locked", "--arch", "s390x", "--by-digest", "--insecure").run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, foreign, _ := strings.Cut(strings.TrimSpace(printed), "@")
		said := shared.command("index", repo+":v2", repo+"@"+foreign, "--from", fewer, "--insecure").mustFail(t)
		if !strings.Contains(said, "image "+foreign+" for s390x was not built from the lock of") || !strings.Contains(said, "labels") {
			t.Errorf("of a foreign image it said %q", said)
		}
	})
}

// killInMidPush starts a runner that reaches the registry through a proxy, which
// holds back its first manifest; and kills it then, when it has pushed blobs.
func killInMidPush(t *testing.T, reg *registrytest.Registry, start func(host string) *runner) {
	target, err := url.Parse(reg.Server.URL)
	if err != nil {
		t.Error(err)
		return
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	var holding sync.Once
	var uploads atomic.Int32
	reached, gone := make(chan struct{}), make(chan struct{})
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/"):
			holding.Do(func() { close(reached) })
			<-gone
			return
		case r.Method == http.MethodPost:
			uploads.Add(1)
		}
		forward.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	defer close(gone)
	var stdout, stderr bytes.Buffer
	cmd, err := start(strings.TrimPrefix(proxy.URL, "http://")).start(&stdout, &stderr)
	if err != nil {
		t.Error(err)
		return
	}
	select {
	case <-reached:
	case <-time.After(2 * time.Minute):
		t.Errorf("it pushed no manifest:\n%s", &stderr)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Errorf("it was not killed, and printed %s", &stdout)
	}
	if uploads.Load() == 0 {
		t.Error("it had pushed nothing yet: the test shows nothing")
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
