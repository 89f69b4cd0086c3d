//go:build e2e

package e2e

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// multiVersions are those of configs/busybox-multi.yaml and the one of 2.3,
// which a user may add: every line that there is.
var multiVersions = []string{"3.7.3", "3.6.16", "3.5.35", "3.4.26", "3.3.27", "3.2.32", "3.1.20", "3.0.17", "2.3.8"}

// Bounds of the compressed layers on amd64, in bytes.
const (
	multiSize  = 150_000_000 // of all nine lines
	recentSize = 85_000_000  // of 3.4 to 3.7
)

// multi builds a profile that includes busybox-multi, with the given versions,
// for one architecture. Binaries come from the store that the tests of pkg/etcd
// have filled, where the environment names it: no line is compiled twice.
func multi(t *testing.T, arch, out string, versions []string, more ...string) *result {
	t.Helper()
	profile := writeProfile(t, append([]string{
		include(shared, "busybox-multi.yaml"),
		fmt.Sprintf("etcd: {versions: [%s]}", strings.Join(versions, ", ")),
	}, more...)...)
	args := options([]string{"build", profile, "--arch", arch, "-o", out, "--output", "json"}, skipSuites)
	if strings.HasSuffix(out, ".tar") {
		args = append(args, "--tag", strings.TrimSuffix(filepath.Base(out), ".tar")+":"+arch)
	}
	c := shared.command(args...)
	if store := os.Getenv("ETCDIMG_TEST_STORE"); store != "" {
		c.with("ETCDIMG_CACHE", store)
	}
	return c.mustBuild(t)
}

// loadMulti builds such an image and loads it into the engine.
func loadMulti(t *testing.T, e *engine, arch string, versions []string) string {
	t.Helper()
	name := unique("etcdimg-e2e")
	archive := filepath.Join(shared.scratch(t), name+".tar")
	multi(t, arch, archive, versions)
	return e.load(t, archive, name+":"+arch)
}

// headers are the entries of an image's layers by absolute path.
func headers(t *testing.T, image v1.Image) map[string]tar.Header {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]tar.Header{}
	for _, layer := range layers {
		err := walkLayer(layer, func(h *tar.Header, _ io.Reader) error {
			found[path.Join("/", h.Name)] = *h
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// programsOf are the programs of a version; etcdutl began with 3.5.
func programsOf(version string) []string {
	if slices.Contains(multiVersions[:3], version) {
		return []string{"etcd", "etcdctl", "etcdutl"}
	}
	return []string{"etcd", "etcdctl"}
}

func TestMultiImage(t *testing.T) {
	dir := filepath.Join(shared.scratch(t), "multi")
	built := multi(t, "amd64", dir, multiVersions)
	image := imagesOf(t, dir)["amd64"]
	files := headers(t, image)

	t.Run("has a layer for each version and is small", func(t *testing.T) {
		all, _ := built.image("amd64")
		var components []string
		var total, recent int64
		for _, layer := range all.Layers {
			component := strings.Join(layer.Components, " ")
			components = append(components, component)
			total += layer.Size
			if v, ok := strings.CutPrefix(component, "etcd-"); !ok || slices.Contains(multiVersions[:4], v) {
				recent += layer.Size
			}
		}
		want := []string{"base", "certificates"}
		for _, v := range multiVersions {
			want = append(want, "etcd-"+v)
		}
		want = append(want, "migrate", "sbom")
		if !slices.Equal(components, want) {
			t.Errorf("layers %v, want %v", components, want)
		}
		t.Logf("figures: %.1f MB compressed with all lines, %.1f MB with 3.4 to 3.7", float64(total)/1e6, float64(recent)/1e6)
		if total > multiSize || recent > recentSize {
			t.Errorf("%d bytes with all lines, %d with 3.4 to 3.7; want at most %d and %d", total, recent, multiSize, recentSize)
		}
	})

	t.Run("tells which modules were edited", func(t *testing.T) {
		said, _, err := shared.command("inspect", dir).run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var edited []string
		for line := range strings.Lines(said) {
			if words := strings.Fields(line); len(words) > 5 && words[0] == "edited" {
				module, _, _ := strings.Cut(words[1], "@")
				edited = append(edited, module)
			}
		}
		want := []string{"github.com/ugorji/go", "github.com/ugorji/go", "github.com/boltdb/bolt", "github.com/coreos/go-systemd", "github.com/ugorji/go", "github.com/coreos/etcd"}
		if !slices.Equal(edited, want) {
			t.Errorf("it tells of edits of %v, not of %v:\n%s", edited, want, said)
		}
	})

	t.Run("has every program once", func(t *testing.T) {
		for i, v := range multiVersions {
			for _, name := range programsOf(v) {
				versioned := "/usr/local/bin/" + name + "-" + v
				if h, ok := files[versioned]; !ok || h.Typeflag != tar.TypeReg || h.Mode != 0o555 || h.Uid != 0 {
					t.Errorf("%s: %s", versioned, headerLine(&h))
				}
				if i > 0 {
					continue
				}
				h := files["/usr/local/bin/"+name]
				if h.Typeflag != tar.TypeLink || path.Join("/", h.Linkname) != versioned {
					t.Errorf("%s is no hard link to the first version: %s", name, headerLine(&h))
				}
			}
		}
		if h, ok := files["/usr/local/bin/etcdutl-3.4.26"]; ok {
			t.Errorf("there is an etcdutl of 3.4: %s", headerLine(&h))
		}
	})

	t.Run("starts nothing by itself", func(t *testing.T) {
		file, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		c := file.Config
		if len(c.Entrypoint)+len(c.Cmd) > 0 || c.User != "0" {
			t.Errorf("entrypoint %v, cmd %v, user %q", c.Entrypoint, c.Cmd, c.User)
		}
		for _, port := range []string{"2379/tcp", "2380/tcp", "4001/tcp", "7001/tcp"} {
			if _, ok := c.ExposedPorts[port]; !ok {
				t.Errorf("port %s is not exposed: %v", port, c.ExposedPorts)
			}
		}
		if strings.Contains(strings.Join(c.Env, " "), "ETCD") {
			t.Errorf("environment %v", c.Env)
		}
		if want := []string{"3.7.3-0"}; !slices.Equal(built.Tags, want) {
			t.Errorf("tags %v, want %v", built.Tags, want)
		}
		if h := files["/var/etcd"]; h.Mode&0o777 != 0o700 {
			t.Errorf("/var/etcd: %s", headerLine(&h))
		}
	})
}

func TestMultiRuns(t *testing.T) {
	e := shared.engine(t)
	image := loadMulti(t, e, "amd64", multiVersions)

	t.Run("a shell and every applet", func(t *testing.T) {
		checkApplets(t, e, image)
		out := e.do(t, "run", "--rm", image, "sh", "-c", "cd /tmp && echo b >f && echo a >>f && sort f | tr '\\n' ' ' && id -un && cat /etc/os-release")
		has(t, "the shell", out, "a b root", "ID=debian")
	})

	t.Run("every version", func(t *testing.T) {
		script := "set -e; "
		for _, v := range multiVersions {
			for _, name := range programsOf(v) {
				script += fmt.Sprintf("echo %s-%s: $(%s-%s --version 2>&1 || ETCDCTL_API=3 %s-%s version 2>&1); ", name, v, name, v, name, v)
			}
		}
		out := e.do(t, "run", "--rm", image, "sh", "-c", script+"for p in etcd etcdctl etcdutl; do $p version >/dev/null 2>&1 || true; cmp $(command -v $p) $(command -v $p)-3.7.3; done; etcd --version")
		lines := strings.Split(out, "\n")
		for _, v := range multiVersions {
			for _, name := range programsOf(v) {
				label := name + "-" + v + ":"
				i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, label) })
				if i < 0 || !strings.Contains(strings.TrimPrefix(lines[i], label), v) {
					t.Errorf("%s does not print its version:\n%s", label, out)
				}
			}
		}
		if !slices.Contains(lines, "etcd Version: 3.7.3") {
			t.Errorf("etcd --version:\n%s", out)
		}
	})

	t.Run("as in a pod", func(t *testing.T) {
		c := e.start(t, options(publishClients, []string{"--volume", e.volume(t) + ":/var/etcd"}), image,
			"/bin/sh", "-c", "exec /usr/local/bin/etcd --data-dir /var/etcd/data --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://localhost:2379")
		c.client(t).put(t, "greeting", "good day")
		c.client(t).mustGet(t, "greeting", "good day")
		if out := e.do(t, "exec", c.name, "etcdctl", "get", "greeting"); !strings.Contains(out, "good day") {
			t.Errorf("etcdctl get: %s", out)
		}
		c.stop(t)
	})
}

// The images of other architectures, emulated: with ETCDIMG_ALL=1 of all
// versions, else of those that the tests of pkg/etcd have compiled.
func TestMultiRunsOnOtherArchitectures(t *testing.T) {
	e := shared.engine(t)
	versions := multiVersions[:3]
	if os.Getenv("ETCDIMG_ALL") == "1" {
		versions = multiVersions
	}
	for _, arch := range []string{"arm64", "ppc64le", "s390x"} {
		t.Run(arch, func(t *testing.T) {
			shared.emulate(t, arch)
			image := loadMulti(t, e, arch, versions)
			checkApplets(t, e, image)
			if out := e.do(t, "run", "--rm", image, "etcd", "--version"); !strings.Contains(out, "etcd Version: 3.7.3") || !strings.Contains(out, "linux/"+arch) {
				t.Errorf("etcd --version: %s", out)
			}
		})
	}
}

// checkApplets asks busybox itself which applets it has, and holds that against
// the links in the image: each is there, and there is none besides. /bin and
// /sbin are links into /usr.
func checkApplets(t *testing.T, e *engine, image string) {
	t.Helper()
	out := e.do(t, "run", "--rm", image, "busybox", "sh", "-c",
		"busybox --list-full | sed 's|^s*bin/|usr/&|' | grep -vx usr/bin/busybox | sort >/tmp/want; cd /; find linuxrc usr -type l | while read l; do [ \"$(readlink -f /$l)\" = /usr/bin/busybox ] && echo $l; done | sort >/tmp/got; wc -l </tmp/got; diff /tmp/want /tmp/got && echo same; ls /bin/sh /sbin/init /usr/bin/env")
	lines := strings.Split(out, "\n")
	if n, err := strconv.Atoi(strings.TrimSpace(lines[0])); err != nil || n < 200 {
		t.Errorf("%q applets are linked", lines[0])
	}
	if !slices.Contains(lines, "same") || !slices.Contains(lines, "/bin/sh") {
		t.Errorf("what busybox --list-full names (-) and the links of the image (+):\n%s", tail(out, 40))
	}
}
