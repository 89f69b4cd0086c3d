//go:build e2e

package e2e

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The versions that data is carried between in these tests.
const (
	line34 = "3.4.26"
	line35 = "3.5.35"
	newest = "3.7.3"
)

const dataDir = "/var/lib/etcd"

// migrateTo is the operator's command line for a directory.
func migrateTo(dir, version string, more ...string) []string {
	return options([]string{"/usr/local/bin/migrate", "--data-dir=" + dir, "--target-version=" + version, "--target-storage=etcd3"}, more)
}

// thenEtcd has the operator become an etcd that listens everywhere.
func thenEtcd(migrate []string, dir string) []string {
	return options(migrate, []string{"--"}, everywhere, []string{"--data-dir=" + dir})
}

// wantFile checks the content of a file of a container, running or not.
func (c *container) wantFile(t *testing.T, path, want string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), c.path, "cp", c.name+":"+path, "-")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("reading %s in %s: %v", path, c.name, err)
	}
	r := tar.NewReader(strings.NewReader(string(out)))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != want {
		t.Errorf("%s is %q, want %q (%v)", path, b, want, err)
	}
}

// fails runs a container that must end with an exit code, and returns what it
// said.
func (e *engine) fails(t *testing.T, code int, options []string, image string, args ...string) string {
	t.Helper()
	line := append(append([]string{"run", "--rm"}, options...), image)
	cmd := exec.CommandContext(t.Context(), e.path, append(line, args...)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		t.Fatalf("%q ends with %v, want exit code %d\n%s", args, err, code, out)
	}
	return string(out)
}

// fill writes some keys, and holds checks that they are there.
func (c *container) fill(t *testing.T) {
	t.Helper()
	client := c.client(t)
	for i := range 20 {
		client.put(t, fmt.Sprintf("/registry/key%d", i), fmt.Sprint("value ", i))
	}
}

func (c *container) holds(t *testing.T) {
	t.Helper()
	client := c.client(t)
	for i := range 20 {
		client.mustGet(t, fmt.Sprintf("/registry/key%d", i), fmt.Sprint("value ", i))
	}
}

// loadVersion loads the hardened image with another etcd.
func loadVersion(t *testing.T, e *engine, version string) string {
	t.Helper()
	dir := shared.scratch(t)
	profile, archive, tag := filepath.Join(dir, "other.yaml"), filepath.Join(dir, "other.tar"), unique("etcdimg-e2e")+":test"
	text := fmt.Sprintf("include: %s\netcd: {versions: [%s]}\n", shared.profile("hardened.yaml"), version)
	if err := os.WriteFile(profile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	shared.command("build", profile, "--arch", "amd64", "--tag", tag, "-o", archive, "--output", "json").mustBuild(t)
	return e.load(t, archive, tag)
}

// The image without a shell, by the operator that becomes the server: nothing
// of the root file system is written to, nothing is allowed, and the user is the
// image's.
func TestMigrateInTheHardenedImage(t *testing.T) {
	e := shared.engine(t)
	image := loadHardened(t, e, "amd64")

	// The volume itself can not be renamed; what is below it can.
	for name, dir := range map[string]string{"mount point": dataDir, "folder in a volume": dataDir + "/data"} {
		t.Run("from nothing, "+name, func(t *testing.T) {
			on := options(restricted, publishClients, []string{"--volume", e.volume(t) + ":" + dataDir})
			c := e.start(t, on, image, thenEtcd(migrateTo(dir, hardenedVersion), dir)...)
			c.fill(t)
			c.wantFile(t, dir+"/version.txt", hardenedVersion+"/etcd3")
			c.stop(t)
			c.do(t, "start", c.name)
			c.holds(t)
			c.stop(t)
		})
	}

	older := loadVersion(t, e, line35)
	for name, dir := range map[string]string{"mount point": dataDir, "folder in a volume": dataDir + "/data"} {
		t.Run("from the minor before, "+name, func(t *testing.T) {
			on := options(restricted, publishClients, []string{"--volume", e.volume(t) + ":" + dataDir})
			c := e.start(t, on, older, thenEtcd(migrateTo(dir, line35), dir)...)
			c.fill(t)
			c.stop(t)
			d := e.start(t, on, image, thenEtcd(migrateTo(dir, hardenedVersion), dir)...)
			d.holds(t)
			d.wantFile(t, dir+"/version.txt", hardenedVersion+"/etcd3")
			d.stop(t)

			// Back needs programs that the image lacks; nothing changes.
			said := e.fails(t, 1, on, older, migrateTo(dir, line35)...)
			has(t, "the refusal", said, "migrate: ", "not bundled", "busybox-multi")
			d.do(t, "start", d.name)
			d.holds(t)
			d.stop(t)
		})
	}

	t.Run("data without version.txt", func(t *testing.T) {
		on := options(restricted, publishClients, []string{"--volume", e.volume(t) + ":" + dataDir})
		c := e.start(t, on, older, options(everywhere, []string{"--data-dir=" + dataDir})...)
		c.fill(t)
		c.stop(t)
		said := e.fails(t, 1, on, image, migrateTo(dataDir, hardenedVersion)...)
		has(t, "the refusal", said, "version.txt is missing", "--current-version=3.5.")
		d := e.start(t, on, image, thenEtcd(migrateTo(dataDir, hardenedVersion, "--current-version="+line35+"/etcd3"), dataDir)...)
		d.holds(t)
		d.stop(t)
	})

	t.Run("a version that the image has not", func(t *testing.T) {
		on := options(restricted, []string{"--volume", e.volume(t) + ":" + dataDir})
		said := e.fails(t, 1, on, image, migrateTo(dataDir, newest)...)
		has(t, "the refusal", said, "etcd "+newest+" is not bundled in /usr/local/bin", "["+hardenedVersion+"]", "busybox-multi")
	})

	t.Run("no place to write", func(t *testing.T) {
		said := e.fails(t, 1, options(restricted, []string{"--volume", e.volume(t) + ":" + dataDir + ":ro"}), image, migrateTo(dataDir, hardenedVersion)...)
		has(t, "the refusal", said, dataDir)
		if usage := e.fails(t, 2, restricted, image, "migrate"); strings.Count(strings.TrimSpace(usage), "\n") != 0 {
			t.Errorf("a usage error of several lines: %s", usage)
		}
	})
}

// The image of many versions, by the script, as a control plane starts it.
func TestMigrateIfNeededInTheImageOfManyVersions(t *testing.T) {
	e := shared.engine(t)
	image := loadMulti(t, e, "amd64", multiVersions)

	const dir = "/var/etcd/data"
	script := func(target string) []string {
		return []string{"--env", "DATA_DIRECTORY=" + dir, "--env", "TARGET_VERSION=" + target, "--env", "TARGET_STORAGE=etcd3"}
	}
	serve := "/usr/local/bin/migrate-if-needed.sh && /usr/local/bin/etcd --version && exec " + strings.Join(everywhere, " ") + " --data-dir=" + dir

	t.Run("then the server", func(t *testing.T) {
		on := options(publishClients, []string{"--volume", e.volume(t) + ":/var/etcd"})
		steps := []string{line34, newest, line35}
		for i, version := range steps {
			c := e.start(t, options(on, script(version)), image, "/bin/sh", "-c", serve)
			if i == 0 {
				c.fill(t)
			}
			c.holds(t)
			has(t, "the log", c.logs(t), "etcd Version: "+version)
			c.wantFile(t, dir+"/version.txt", version+"/etcd3")
			c.stop(t)
		}
	})

	t.Run("plain names", func(t *testing.T) {
		const ask = "/usr/local/bin/migrate-if-needed.sh && etcd --version && ETCDCTL_API=3 etcdctl version && stat -c %a /usr/local/bin/etcd /usr/local/bin/etcdctl"
		moved := e.do(t, options([]string{"run", "--rm"}, script(line34), []string{image, "/bin/sh", "-c", ask})...)
		has(t, "etcd and etcdctl", moved, "etcd Version: "+line34, "etcdctl version: "+line34, "555\n555")
		left := e.do(t, options([]string{"run", "--rm", "--env", "DO_NOT_MOVE_BINARIES=true"}, script(line34), []string{image, "/bin/sh", "-c", ask})...)
		has(t, "etcd and etcdctl", left, "etcd Version: "+newest, "etcdctl version: "+newest)
		said := e.fails(t, 1, options([]string{"--read-only", "--tmpfs", "/var/etcd"}, script(line34)), image, "/usr/local/bin/migrate-if-needed.sh")
		has(t, "the refusal", said, "DO_NOT_MOVE_BINARIES=true")
	})

	// As docs/kubernetes.md has it: nothing allowed, and the user is that of the
	// server's image, which gives the volume its owner.
	t.Run("as an init container of the hardened image", func(t *testing.T) {
		hardened := loadHardened(t, e, "amd64")
		volume := []string{"--volume", e.volume(t) + ":" + dataDir}
		at := dataDir + "/data"
		// An engine gives an empty volume the owner that the first image says.
		e.do(t, options([]string{"run", "--rm"}, volume, []string{hardened, "/usr/local/bin/etcd", "--version"})...)
		old := e.start(t, options(restricted, publishClients, volume, []string{"--user", "65532"}), image,
			options([]string{"/usr/local/bin/etcd-" + line34}, everywhere[1:], []string{"--data-dir=" + at})...)
		old.fill(t)
		old.stop(t)
		variables := []string{"--env", "DATA_DIRECTORY=" + at, "--env", "TARGET_VERSION=" + hardenedVersion, "--env", "TARGET_STORAGE=etcd3", "--env", "DO_NOT_MOVE_BINARIES=true"}
		run := options([]string{"run", "--rm", "--user", "65532"}, restricted, volume, variables,
			[]string{image, "/usr/local/bin/migrate-if-needed.sh", "--current-version=" + line34 + "/etcd3"})
		e.do(t, run...)
		c := e.start(t, options(restricted, publishClients, volume), hardened, options(everywhere, []string{"--data-dir=" + at})...)
		c.holds(t)
		c.wantFile(t, at+"/version.txt", hardenedVersion+"/etcd3")
		c.stop(t)
	})
}

// An etcdimg that was installed, in an empty folder and with empty caches of its
// own, builds a profile that travels in it, to the same bytes as the checkout.
func TestAnInstalledCommandNeedsNoCheckout(t *testing.T) {
	built := shared.image(t)
	home := shared.scratch(t)
	bin, empty := filepath.Join(home, "bin", "etcdimg"), filepath.Join(home, "empty")
	if err := copyFile(shared.bin, bin); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	c := shared.command("build", "hardened", "--arch", "amd64", "--output", "json").with("ETCDIMG_CACHE", filepath.Join(home, "cache"))
	c.argv[0], c.dir = bin, empty
	again := c.mustBuild(t)
	if again.Output != filepath.Join("dist", "hardened") {
		t.Errorf("it wrote to %s", again.Output)
	}
	was, _ := built.image("amd64")
	if now, _ := again.image("amd64"); now.Digest != was.Digest {
		t.Errorf("digest %s, the checkout's is %s", now.Digest, was.Digest)
	}
	if !strings.Contains(again.Log, "migrate amd64: compiling") {
		t.Errorf("the operator was not compiled:\n%s", again.Log)
	}
	left, err := filepath.Glob(filepath.Join(empty, "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("it left %v in the folder (%v)", left, err)
	}
	if _, _, err := openLayout(filepath.Join(empty, again.Output)); err != nil {
		t.Error(err)
	}
}
