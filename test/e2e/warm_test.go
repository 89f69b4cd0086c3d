//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// withoutGo puts a go command first on PATH that fails, and leaves a mark when
// it is called.
func withoutGo(t *testing.T, c *command) (called func() bool) {
	t.Helper()
	dir := shared.scratch(t)
	mark := filepath.Join(dir, "called")
	script := "#!/bin/sh\necho \"$@\" >>'" + mark + "'\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	c.with("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return func() bool {
		b, err := os.ReadFile(mark)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if len(b) > 0 {
			t.Logf("go was called with: %s", b)
		}
		return len(b) > 0
	}
}

// newBlobs returns the blobs in the cache that were not there before, or were
// written again.
func newBlobs(t *testing.T, before map[string]os.FileInfo) map[string]os.FileInfo {
	t.Helper()
	fresh := map[string]os.FileInfo{}
	for name, now := range blobs(t, filepath.Join(shared.cache, "blobs")) {
		if then, ok := before[name]; !ok || !os.SameFile(then, now) {
			fresh[name] = now
		}
	}
	return fresh
}

func TestWarmBuild(t *testing.T) {
	built := shared.image(t)

	t.Run("with nothing changed makes nothing", func(t *testing.T) {
		before := blobs(t, filepath.Join(shared.cache, "blobs"))
		c := shared.command("build", shared.profile("hardened.yaml"), "-o", filepath.Join(shared.scratch(t), "out"), "--output", "json")
		called := withoutGo(t, c)
		if again := c.mustBuild(t); again.Digest != built.Digest {
			t.Errorf("digest %s, want %s", again.Digest, built.Digest)
		}
		if called() {
			t.Error("the go command was called")
		}
		if fresh := newBlobs(t, before); len(fresh) > 0 {
			t.Errorf("new blobs in the cache: %v", slices.Sorted(maps.Keys(fresh)))
		}
	})

	t.Run("with another annotation rewrites manifests and what is said of them", func(t *testing.T) {
		before := blobs(t, filepath.Join(shared.cache, "blobs"))
		dir := shared.scratch(t)
		profile := filepath.Join(dir, "annotated.yaml")
		text := "include: " + shared.profile("hardened.yaml") + "\nannotations: {org.example.note: one more}\n"
		if err := os.WriteFile(profile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		c := shared.command("build", profile, "-o", filepath.Join(dir, "out"), "--output", "json")
		called := withoutGo(t, c)
		annotated := c.mustBuild(t)
		if annotated.Digest == built.Digest {
			t.Error("the annotation changed nothing")
		}
		if called() {
			t.Error("the go command was called")
		}
		for _, image := range annotated.Images {
			was, _ := built.image(image.Arch)
			if image.Digest == was.Digest {
				t.Errorf("%s: the manifest is the same", image.Arch)
			}
			if !slices.EqualFunc(image.Layers, was.Layers, func(a, b layerResult) bool { return a.Digest == b.Digest }) {
				t.Errorf("%s: other layers: %+v, before %+v", image.Arch, image.Layers, was.Layers)
			}
		}
		const manifest = 64 << 10 // no layer is as small
		for name, info := range newBlobs(t, before) {
			if info.Size() <= manifest {
				continue
			}
			b, err := os.ReadFile(filepath.Join(shared.cache, "blobs", name))
			if err != nil {
				t.Fatal(err)
			}
			// An SBOM names the digest that it is about.
			if !json.Valid(b) {
				t.Errorf("%s, of %d bytes, is new in the cache", name, info.Size())
			}
		}
	})

	t.Run("needs no network", func(t *testing.T) {
		c := shared.command("build", shared.profile("hardened.yaml"), "-o", filepath.Join(shared.scratch(t), "out"), "--output", "json")
		offline(t, c)
		if again := c.mustBuild(t); again.Digest != built.Digest {
			t.Errorf("digest %s, want %s", again.Digest, built.Digest)
		}
	})
}

// offline has a command run in a network namespace of its own, in which there
// is not even a loopback interface. Without root that takes a user namespace,
// too.
func offline(t *testing.T, c *command) {
	t.Helper()
	c.attr.Cloneflags = syscall.CLONE_NEWNET
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		c.attr.Cloneflags |= syscall.CLONE_NEWUSER
		c.attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		c.attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	}
	attr := c.attr
	try := exec.CommandContext(t.Context(), "true")
	try.SysProcAttr = &attr
	if err := try.Run(); err != nil {
		shared.cannotRun(t, "no network namespace can be made: %v", err)
	}
}

// A new patch version of etcd makes etcd's layer again and that of the SBOM,
// and no other.
func TestOtherPatchVersionReusesTheRest(t *testing.T) {
	built := shared.image(t)
	dir := shared.scratch(t)
	profile := filepath.Join(dir, "older.yaml")
	text := "include: " + shared.profile("hardened.yaml") + "\netcd: {versions: [3.6.15]}\narchs: [amd64]\n"
	if err := os.WriteFile(profile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	older := shared.command("build", profile, "-o", filepath.Join(dir, "out"), "--output", "json").mustBuild(t)
	now, _ := built.image("amd64")
	was, ok := older.image("amd64")
	if !ok || len(was.Layers) != len(now.Layers) {
		t.Fatalf("layers %+v, want as many as %+v", was.Layers, now.Layers)
	}
	for i, layer := range was.Layers {
		other := slices.Contains(layer.Components, "etcd-3.6.15") || slices.Contains(layer.Components, "sbom")
		if same := layer.Digest == now.Layers[i].Digest; same == other {
			t.Errorf("layer of %v is %s, with 3.6.16 the layer of %v is %s", layer.Components, layer.Digest, now.Layers[i].Components, now.Layers[i].Digest)
		}
	}
}
