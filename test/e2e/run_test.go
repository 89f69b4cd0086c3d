//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// loadHardened loads the hardened image of one architecture into the engine,
// from an archive under a name of the test's own.
func loadHardened(t *testing.T, e *engine, arch string) string {
	t.Helper()
	shared.image(t) // its time is not this test's
	archive, tag := filepath.Join(shared.scratch(t), arch+".tar"), unique("etcdimg-e2e")+":test"
	shared.command("build", shared.profile("hardened.yaml"), "--arch", arch, "--tag", tag, "-o", archive, "--output", "json").mustBuild(t)
	return e.load(t, archive, tag)
}

// everywhere has etcd listen on all addresses of its container.
var everywhere = []string{
	"/usr/local/bin/etcd", "--listen-client-urls", "http://0.0.0.0:2379", "--advertise-client-urls", "http://localhost:2379",
}

// options joins parts of a command line into a new one.
func options(parts ...[]string) []string {
	var all []string
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func TestRuns(t *testing.T) {
	e := shared.engine(t)
	image := loadHardened(t, e, "amd64")

	t.Run("with nothing allowed, and keeps its data", func(t *testing.T) {
		volume := e.volume(t)
		c := e.start(t, options(restricted, publishClients, []string{"--volume", volume + ":/var/lib/etcd"}), image, everywhere...)
		c.client(t).put(t, "greeting", "good day")
		c.client(t).mustGet(t, "greeting", "good day")
		c.stop(t)
		c.do(t, "start", c.name)
		c.client(t).mustGet(t, "greeting", "good day")
		c.stop(t)
		c.do(t, "rm", "--volumes", c.name)
		// The data is the volume's, not the container's.
		d := e.start(t, options(restricted, publishClients, []string{"--volume", volume + ":/var/lib/etcd"}), image, everywhere...)
		d.client(t).mustGet(t, "greeting", "good day")
		d.stop(t)
	})

	t.Run("by its own command", func(t *testing.T) {
		c := e.start(t, nil, image)
		ready(t, c)
		c.stop(t)
	})

	t.Run("has no shell", func(t *testing.T) {
		const notFound = 127
		_, err := output(t.Context(), e.path, "run", "--rm", image, "sh", "-c", "true")
		if exit, ok := unwrapExit(err); !ok || exit.ExitCode() != notFound {
			t.Errorf("want exit status %d, for a command that is not there: %v", notFound, err)
		}
	})

	t.Run("says its version and commit", func(t *testing.T) {
		out := e.do(t, "run", "--rm", image, "/usr/local/bin/etcd", "--version")
		if !strings.Contains(out, "etcd Version: "+hardenedVersion) || strings.Contains(out, "Not provided") {
			t.Errorf("etcd --version: %s", out)
		}
	})
}

// An archive of all architectures loads as well, and the tag is this machine's.
func TestMultiArchitectureArchiveLoads(t *testing.T) {
	e := shared.engine(t)
	shared.image(t)
	archive, tag := filepath.Join(shared.scratch(t), "all.tar"), unique("etcdimg-e2e")+":test"
	shared.command("build", shared.profile("hardened.yaml"), "--tag", tag, "-o", archive, "--output", "json").mustBuild(t)
	image := e.load(t, archive, tag)
	if got := e.architecture(t, image); got != runtime.GOARCH {
		t.Errorf("the engine has the image of %s under the tag, want %s", got, runtime.GOARCH)
	}
	ready(t, e.start(t, nil, image))
}

// ready waits until etcd says that it serves clients.
func ready(t *testing.T, c *container) {
	t.Helper()
	eventually(t, time.Minute, "etcd in "+c.name, func() error {
		if s := c.state(t); !s.Running {
			t.Fatalf("%s has ended: %+v", c.name, s)
		}
		if !strings.Contains(c.logs(t), "ready to serve client requests") {
			return fmt.Errorf("it has not said that it serves clients")
		}
		return nil
	})
}

// The command lines that the published hardened etcd image is documented with.
// All after the image's name is theirs; names, volumes and published ports are
// the test's own, for this machine alone.
func TestDocumentedCommands(t *testing.T) {
	e := shared.engine(t)
	image := loadHardened(t, e, "amd64")

	t.Run("start", func(t *testing.T) {
		c := e.start(t, publishClients, image,
			"/usr/local/bin/etcd",
			"--name", "node1")
		ready(t, c)
		c.stop(t)
	})

	t.Run("single-node development instance", func(t *testing.T) {
		c := e.start(t, publishClients, image,
			"/usr/local/bin/etcd",
			"--name", "node1",
			"--listen-client-urls", "http://0.0.0.0:2379",
			"--advertise-client-urls", "http://localhost:2379",
			"--listen-peer-urls", "http://0.0.0.0:2380",
			"--initial-advertise-peer-urls", "http://localhost:2380")
		c.client(t).put(t, "mykey", "Hello etcd")
		c.client(t).mustGet(t, "mykey", "Hello etcd")
		c.stop(t)
	})

	t.Run("persistent storage", func(t *testing.T) {
		volume := e.volume(t)
		start := func() *container {
			return e.start(t, options(publishClients, []string{"-v", volume + ":/etcd-data"}), image,
				"/usr/local/bin/etcd",
				"--name", "node1",
				"--data-dir=/etcd-data",
				"--listen-client-urls", "http://0.0.0.0:2379",
				"--advertise-client-urls", "http://localhost:2379")
		}
		c := start()
		c.client(t).put(t, "mykey", "Hello etcd")
		c.stop(t)
		c.do(t, "rm", "--volumes", c.name)
		d := start()
		d.client(t).mustGet(t, "mykey", "Hello etcd")
		d.stop(t)
	})
}

func TestForeignArchitectures(t *testing.T) {
	e := shared.engine(t)
	for _, arch := range []string{"arm64", "ppc64le", "s390x"} {
		t.Run(arch, func(t *testing.T) {
			shared.emulate(t, arch)
			image := loadHardened(t, e, arch)
			if got := e.architecture(t, image); got != arch {
				t.Errorf("the engine takes the image for one of %s", got)
			}
			c := e.start(t, options(restricted, publishClients, []string{"--platform", "linux/" + arch, "--volume", e.volume(t) + ":/var/lib/etcd"}), image, everywhere...)
			c.client(t).put(t, "architecture", arch)
			c.client(t).mustGet(t, "architecture", arch)
			c.stop(t)
		})
	}
}

// What the workflows run on every image that they built, on a machine of its own
// architecture and on an emulated one.
func TestSmokeTestOfTheWorkflows(t *testing.T) {
	e := shared.engine(t)
	shared.image(t)
	bin := t.TempDir()
	if err := os.Symlink(e.path, filepath.Join(bin, "docker")); err != nil {
		t.Fatal(err)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			if arch != runtime.GOARCH {
				shared.emulate(t, arch)
			}
			archive, tag := filepath.Join(shared.scratch(t), "etcd.tar"), unique("etcdimg-e2e")+":test"
			shared.command("build", shared.profile("hardened.yaml"), "--arch", arch, "--tag", tag, "-o", archive, "--output", "json").mustBuild(t)
			e.discard(t, "rmi", "--force", tag)
			out := run(t, "env", "PATH="+bin+":"+os.Getenv("PATH"), filepath.Join(shared.repo, "hack", "smoke"), archive, arch)
			for _, want := range []string{"etcd Version: " + hardenedVersion, tag + " serves on linux/" + arch} {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %q: %s", want, out)
				}
			}
		})
	}
}

// Three members as in the published image's Compose file, with less allowed.
// The leader is killed; the others elect another and go on; the killed one
// comes back and catches up.
func TestCluster(t *testing.T) {
	e := shared.engine(t)
	image := loadHardened(t, e, "amd64")
	network := e.network(t)
	names := []string{"etcd1", "etcd2", "etcd3"}
	members := map[string]*container{}
	for _, name := range names {
		members[name] = e.start(t, options(restricted, publishClients, []string{
			"--network", network, "--hostname", name, "--network-alias", name,
			"--volume", e.volume(t) + ":/etcd-data",
			"--env", "ETCD_NAME=" + name,
			"--env", "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://" + name + ":2380",
			"--env", "ETCD_ADVERTISE_CLIENT_URLS=http://" + name + ":2379",
			"--entrypoint", "/usr/local/bin/etcd",
		}), image,
			"--data-dir=/etcd-data",
			"--listen-client-urls=http://0.0.0.0:2379",
			"--listen-peer-urls=http://0.0.0.0:2380",
			"--initial-cluster=etcd1=http://etcd1:2380,etcd2=http://etcd2:2380,etcd3=http://etcd3:2380",
			"--initial-cluster-token=etcd-cluster",
			"--initial-cluster-state=new",
			"--log-level=warn")
	}

	members["etcd1"].client(t).put(t, "before", "1")
	for _, name := range names {
		members[name].client(t).mustGet(t, "before", "1")
	}
	if n, err := members["etcd1"].client(t).members(t.Context()); err != nil || n != 3 {
		t.Fatalf("%d members have started, want 3 (%v)", n, err)
	}

	leader := leaderOf(t, members)
	members[leader].do(t, "kill", "--signal", "KILL", members[leader].name)
	t.Logf("killed the leader, %s", leader)
	for i, name := range names {
		if name != leader {
			members[name].client(t).put(t, fmt.Sprintf("after%d", i), name)
		}
	}
	members[leader].do(t, "start", members[leader].name)
	for i, name := range names {
		if name != leader {
			members[leader].client(t).mustGet(t, fmt.Sprintf("after%d", i), name)
		}
	}
}

// leaderOf waits for the cluster to have a leader and returns its name.
func leaderOf(t *testing.T, members map[string]*container) string {
	t.Helper()
	var leader string
	clients := map[string]*client{}
	for name, c := range members {
		clients[name] = c.client(t)
	}
	eventually(t, time.Minute, "leader", func() error {
		for name, c := range clients {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			is, err := c.isLeader(ctx)
			cancel()
			if err != nil {
				return err
			}
			if is {
				leader = name
				return nil
			}
		}
		return fmt.Errorf("no member leads")
	})
	return leader
}
