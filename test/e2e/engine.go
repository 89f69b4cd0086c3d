//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// engine runs containers: docker where its daemon answers, else podman. The
// two take the same words for all that the tests do.
type engine struct {
	lab  *lab
	name string // docker or podman
	path string
}

// engine returns the container engine of this machine. ETCDIMG_E2E_ENGINE
// chooses one by name.
func (l *lab) engine(t testing.TB) *engine {
	t.Helper()
	names := []string{"docker", "podman"}
	if chosen := os.Getenv("ETCDIMG_E2E_ENGINE"); chosen != "" {
		names = []string{chosen}
	}
	var reasons []string
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err == nil {
			_, err = output(t.Context(), path, "info")
		}
		if err == nil && name == "podman" {
			err = errors.Join(l.configurePodman(), hasUsers(t.Context(), path))
		}
		if err == nil {
			return &engine{lab: l, name: name, path: path}
		}
		reasons = append(reasons, err.Error())
	}
	l.cannotRun(t, "no container engine answers: %s", strings.Join(reasons, "; "))
	return nil
}

// configurePodman has podman ask for modest limits: it would raise those of this
// process, for which a root without CAP_SYS_RESOURCE is not root enough. And it
// prefers runc, where there is one: crun refuses some hosts' cgroups.
func (l *lab) configurePodman() error {
	const variable = "CONTAINERS_CONF"
	if os.Getenv(variable) != "" {
		return nil
	}
	conf := "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n"
	if _, err := exec.LookPath("runc"); err == nil {
		conf += "[engine]\nruntime = \"runc\"\n"
	}
	path := filepath.Join(l.root, "containers.conf")
	if err := os.WriteFile(path, []byte(conf), 0o644); err != nil {
		return err
	}
	return os.Setenv(variable, path)
}

// hasUsers tells whether podman can give an image's files to the users that
// own them: without root it needs a range of subordinate ids for that.
func hasUsers(ctx context.Context, podman string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	mapping, err := output(ctx, podman, "unshare", "cat", "/proc/self/uid_map")
	if err != nil {
		return err
	}
	for line := range strings.Lines(mapping) {
		// user_namespaces(7): first id inside, first id outside, how many.
		var inside, outside, count int
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err != nil {
			return fmt.Errorf("uid_map has an unknown form: %q", line)
		}
		if inside <= 65532 && 65532 < inside+count {
			return nil
		}
	}
	return errors.New("podman has no user 65532 to give files to: see subuid(5)")
}

// do runs one command of the engine and returns what it printed, trimmed.
func (e *engine) do(t testing.TB, args ...string) string {
	t.Helper()
	return strings.TrimSpace(run(t, e.path, args...))
}

// discard runs one command of the engine after the test, whose context is done
// by then.
func (e *engine) discard(t testing.TB, args ...string) {
	t.Cleanup(func() {
		if _, err := output(context.Background(), e.path, args...); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
}

// load loads an archive and returns the name under which the engine has the
// image of a name and tag: podman puts the host localhost before it. All that
// was loaded goes when the test ends.
func (e *engine) load(t testing.TB, archive, tag string) string {
	t.Helper()
	out := e.do(t, "load", "--input", archive)
	var found string
	for line := range strings.Lines(out) {
		_, ref, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		e.discard(t, "rmi", "--force", ref)
		if ref == tag || strings.HasSuffix(ref, "/"+tag) {
			found = ref
		}
	}
	if found == "" {
		t.Fatalf("%s load did not load %s: %s", e.name, tag, out)
	}
	return found
}

// architecture returns what the engine takes an image for.
func (e *engine) architecture(t testing.TB, image string) string {
	t.Helper()
	return e.do(t, "image", "inspect", "--format", "{{.Architecture}}", image)
}

// volume makes a named volume.
func (e *engine) volume(t testing.TB) string {
	t.Helper()
	name := unique("etcdimg-e2e")
	e.do(t, "volume", "create", name)
	e.discard(t, "volume", "rm", "--force", name)
	return name
}

// network makes a bridge network on which containers know each other by name.
func (e *engine) network(t testing.TB) string {
	t.Helper()
	name := unique("etcdimg-e2e")
	e.do(t, "network", "create", name)
	e.discard(t, "network", "rm", name)
	return name
}

// restricted are the flags of a container that may do as little as possible.
var restricted = []string{"--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"}

// publishClients publishes etcd's client port, to this machine alone, on a port
// that the engine picks.
var publishClients = []string{"--publish", "127.0.0.1::2379"}

// container is a container that a test started.
type container struct {
	*engine
	name string
}

// start runs image in the background. What comes before the image on the
// command line is in options.
func (e *engine) start(t testing.TB, options []string, image string, args ...string) *container {
	t.Helper()
	c := &container{engine: e, name: unique("etcdimg-e2e")}
	line := append([]string{"run", "--detach", "--name", c.name}, options...)
	// Registered first: a container that was made but did not start stays.
	e.discard(t, "rm", "--force", "--volumes", c.name)
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := exec.Command(e.path, "logs", c.name).CombinedOutput()
			t.Logf("log of %s:\n%s", c.name, tail(string(logs), 40))
		}
	})
	e.do(t, append(append(line, image), args...)...)
	return c
}

// stop stops the container as its image asks for, and checks that it went by
// itself and without complaint.
func (c *container) stop(t testing.TB) {
	t.Helper()
	const limit = 20 * time.Second
	c.do(t, "stop", "--time", strconv.Itoa(int(limit.Seconds())), c.name)
	if s := c.state(t); s.Running || s.ExitCode != 0 {
		t.Fatalf("%s did not stop well within %s: %+v", c.name, limit, s)
	}
}

// state is the part of the engine's view of a container that tests look at.
type state struct {
	Running  bool
	ExitCode int
	Error    string
}

func (c *container) state(t testing.TB) state {
	t.Helper()
	var s state
	if err := json.Unmarshal([]byte(c.do(t, "inspect", "--type", "container", "--format", "{{json .State}}", c.name)), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// logs returns both output streams of the container.
func (c *container) logs(t testing.TB) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), c.path, "logs", c.name).CombinedOutput()
	if err != nil {
		t.Fatalf("log of %s: %v\n%s", c.name, err, out)
	}
	return string(out)
}

// client returns a client of the etcd in the container, through the published
// port, which is another one after every start.
func (c *container) client(t testing.TB) *client {
	t.Helper()
	for line := range strings.Lines(c.do(t, "port", c.name, "2379/tcp")) {
		if address := strings.TrimSpace(line); strings.HasPrefix(address, "127.0.0.1:") {
			return &client{url: "http://" + address, alive: func() error {
				if s := c.state(t); !s.Running {
					return fmt.Errorf("%s has ended: %+v", c.name, s)
				}
				return nil
			}}
		}
	}
	t.Fatalf("%s publishes no client port on 127.0.0.1", c.name)
	return nil
}
