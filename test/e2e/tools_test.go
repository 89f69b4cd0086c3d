//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// Other people's tools read the layout and the archive as they are.

func TestSkopeoReadsTheLayout(t *testing.T) {
	skopeo := shared.tool(t, "skopeo")
	built := shared.image(t)
	ref := "oci:" + built.Output + ":" + built.Tags[0]
	for arch := range hardenedArchs {
		checkInspection(t, arch, run(t, skopeo, "--override-arch", arch, "inspect", ref))
	}
	// A copy with everything has the same index.
	to := filepath.Join(shared.scratch(t), "copy")
	run(t, skopeo, "--insecure-policy", "copy", "--quiet", "--all", ref, "oci:"+to+":"+built.Tags[0])
	if _, top, err := openLayout(to); err != nil || top.Digest.String() != built.Digest {
		t.Errorf("after skopeo copy --all the index is %s, want %s (%v)", top.Digest, built.Digest, err)
	}
}

func TestSkopeoReadsTheArchive(t *testing.T) {
	skopeo := shared.tool(t, "skopeo")
	built := shared.image(t)
	archive := filepath.Join(shared.scratch(t), "etcd.tar")
	shared.command("build", shared.profile("hardened.yaml"), "-o", archive, "--output", "json").mustBuild(t)
	for arch := range hardenedArchs {
		checkInspection(t, arch, run(t, skopeo, "--override-arch", arch, "inspect", "oci-archive:"+archive+":"+built.Tags[0]))
	}
	checkInspection(t, runtime.GOARCH, run(t, skopeo, "inspect", "docker-archive:"+archive+":etcd:"+built.Tags[0]))
}

func checkInspection(t *testing.T, arch, out string) {
	t.Helper()
	var said struct {
		Architecture string
		Os           string
		Layers       []string
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil {
		t.Fatal(err)
	}
	if said.Architecture != arch || said.Os != "linux" || len(said.Layers) == 0 {
		t.Errorf("skopeo inspect for %s says %+v", arch, said)
	}
}

// The same archive is a layout when it is unpacked, and both unpack to a root
// file system that the image's user can work in.
func TestUmociUnpacks(t *testing.T) {
	umoci := shared.tool(t, "umoci")
	built := shared.image(t)
	for arch := range hardenedArchs {
		t.Run(arch, func(t *testing.T) {
			dir := shared.scratch(t)
			archive, fromArchive, layout := filepath.Join(dir, "etcd.tar"), filepath.Join(dir, "archive"), filepath.Join(dir, "layout")
			for _, out := range []string{archive, layout} {
				shared.command("build", shared.profile("hardened.yaml"), "--arch", arch, "-o", out, "--output", "json").mustBuild(t)
			}
			if err := os.Mkdir(fromArchive, 0o755); err != nil {
				t.Fatal(err)
			}
			untar(t, archive, fromArchive)
			for _, from := range []string{layout, fromArchive} {
				bundle := from + "-bundle"
				args := []string{"unpack", "--image", from + ":" + built.Tags[0], bundle}
				if os.Geteuid() != 0 {
					args = append(args, "--rootless")
				}
				run(t, umoci, args...)
				checkBundle(t, bundle)
			}
		})
	}
}

// checkBundle looks at an unpacked image as the kernel would.
func checkBundle(t *testing.T, bundle string) {
	t.Helper()
	data, err := os.Lstat(filepath.Join(bundle, "rootfs", "var", "lib", "etcd"))
	if err != nil {
		t.Fatal(err)
	}
	if data.Mode() != os.ModeDir|0o700 {
		t.Errorf("/var/lib/etcd is %s", data.Mode())
	}
	// Without root umoci can only map one user.
	if owner := data.Sys().(*syscall.Stat_t); os.Geteuid() == 0 && (owner.Uid != 65532 || owner.Gid != 65532) {
		t.Errorf("/var/lib/etcd belongs to %d:%d", owner.Uid, owner.Gid)
	}
	tmp, err := os.Lstat(filepath.Join(bundle, "rootfs", "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	if tmp.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("/tmp is %s", tmp.Mode())
	}
	b, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Process struct {
			Args []string `json:"args"`
			Cwd  string   `json:"cwd"`
		} `json:"process"`
	}
	if err := json.Unmarshal(b, &config); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(config.Process.Args, " "); got != "/usr/local/bin/etcd" || config.Process.Cwd != "/var/lib/etcd" {
		t.Errorf("the bundle would run %q in %s", got, config.Process.Cwd)
	}
}
