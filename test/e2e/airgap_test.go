//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// narrow is a profile that is quick to compile: one small program, for this
// machine's architecture.
func narrow(t *testing.T, dir string) string {
	t.Helper()
	profile := filepath.Join(dir, "narrow.yaml")
	text := `name: narrow
etcd: {versions: [3.6.16], binaries: [etcdctl], toolchain: go1.27.4}
contents: {repositories: [debian trixie main], packages: [tzdata, "!debconf"], slim: true}
cmd: /usr/local/bin/etcdctl version
archs: [` + runtime.GOARCH + "]\n"
	if err := os.WriteFile(profile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return profile
}

// What fetch and cache export bring together suffices where there is no network
// interface at all, no module cache, no cache of etcdimg's, and a Go of another
// release than the one that compiles; and it gives the same bytes.
func TestAnExportSufficesBehindAnAirGap(t *testing.T) {
	dir := shared.scratch(t)
	profile := narrow(t, dir)
	run := func(c *command) string {
		t.Helper()
		stdout, _, err := c.run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return stdout
	}
	run(shared.command("lock", profile))
	run(shared.command("fetch", profile, "--locked"))
	export := filepath.Join(dir, "inputs.tar")
	sum := run(shared.command("cache", "export", export, profile))
	near := shared.command("build", profile, "--locked", "-o", filepath.Join(dir, "near"), "--output", "json").mustBuild(t)

	far := func(args ...string) *command {
		return shared.command(args...).with("ETCDIMG_CACHE", filepath.Join(dir, "far")).
			with("GOMODCACHE", filepath.Join(dir, "modules")).with("GOPATH", filepath.Join(dir, "gopath")).
			with("GOPROXY", "").with("GOFLAGS", "-modcacherw").with("GOSUMDB", "")
	}
	c := far("build", profile, "--locked", "--offline", "-o", filepath.Join(dir, "early"))
	offline(t, c)
	said := c.mustFail(t)
	for _, want := range []string{"the cache lacks:", "package tzdata ", "where there is one, run etcdimg fetch " + profile} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in:\n%s", want, said)
		}
	}
	c = far("cache", "import", export)
	offline(t, c)
	if got := run(c); !strings.HasSuffix(got, sum[strings.Index(sum, "\n"):]) {
		t.Errorf("imported is %s, exported was %s", got, sum)
	}
	c = far("build", profile, "--locked", "--offline", "-o", filepath.Join(dir, "far-out"), "--output", "json")
	offline(t, c)
	if built := c.mustBuild(t); built.Digest != near.Digest {
		t.Errorf("behind the air gap the image is %s, before it %s", built.Digest, near.Digest)
	}
}
