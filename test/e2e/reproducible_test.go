//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stranger is a user who shares nothing with the one who runs the tests.
const stranger = 65534

// olderGo is a Go that can not compile etcdimg, and that compiles nothing else
// either: it fetches the toolchain that does.
const olderGo = "go1.25.5"

// reproduced are the profiles that are built again elsewhere: with ETCDIMG_ALL=1
// all, which compiles every line of etcd for every architecture twice more.
func reproduced() []string {
	if os.Getenv("ETCDIMG_ALL") == "1" {
		return []string{"hardened.yaml", "debian-slim.yaml", "dev.yaml", "busybox-multi.yaml"}
	}
	return []string{"hardened.yaml"}
}

// The same lock gives the same bytes to somebody else: another checkout,
// another user, every cache cold, one core, another umask, time zone, locale
// and temporary directory, another release of Go, and settings of the Go
// command that an environment may well have.
func TestReproducible(t *testing.T) {
	for _, name := range reproduced() {
		t.Run(name, func(t *testing.T) {
			profile, archs := shared.locked(t, name)
			// Compiling on one core, with every cache cold, is most of the time
			// of the whole run: one little-endian and one big-endian architecture.
			if os.Getenv("ETCDIMG_ALL") != "1" {
				t.Log("NOT RUN: arm64 and ppc64le; make test-all runs them")
				archs = slices.DeleteFunc(archs, func(arch string) bool { return arch == "arm64" || arch == "ppc64le" })
			} else if former, rest := formerDebian(t, profile, archs); former != "" {
				reproducesElsewhere(t, former, rest)
			}
			reproducesElsewhere(t, profile, archs)
		})
	}
}

// formerDebian is, of a locked profile that could be had for some architectures
// only, one for the others: the same, but of the Debian release before, which the
// archive has for all. It lies beside the profile, is locked and fetched.
func formerDebian(t *testing.T, profile string, had []string) (former string, archs []string) {
	t.Helper()
	archs = slices.DeleteFunc(slices.Clone(debianArchitectures), func(arch string) bool { return slices.Contains(had, arch) })
	if len(archs) == 0 {
		return "", nil
	}
	former = filepath.Join(filepath.Dir(profile), "former-"+filepath.Base(profile))
	text := fmt.Sprintf("include: %s\narchs: [%s]\ncontents: {repositories: [debian bookworm main]}\n", filepath.Base(profile), strings.Join(archs, ", "))
	if err := os.WriteFile(former, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"lock", former}, {"fetch", former, "--locked"}} {
		if _, _, err := shared.command(args...).run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return former, archs
}

// reproducesElsewhere builds a locked profile for some architectures here and as
// somebody else, and compares.
func reproducesElsewhere(t *testing.T, profile string, archs []string) {
	t.Helper()
	out := filepath.Join(shared.scratch(t), "out")
	built := shared.command(lockedBuild(profile, out, archs)...).mustBuild(t)

	home := shared.scratch(t)
	checkout := filepath.Join(home, "some where", "else")
	copyCheckout(t, checkout)
	configs := filepath.Join(checkout, "configs")
	if err := errors.Join(os.RemoveAll(configs), copyConfigs(filepath.Dir(profile), configs, true)); err != nil {
		t.Fatal(err)
	}
	other := shared.command(lockedBuild(filepath.Join("configs", filepath.Base(profile)), "out", archs)...)
	other.argv = append([]string{"sh", "-c", `umask 077; exec "$@"`, "sh"}, other.argv...)
	other.dir = checkout
	for key, value := range map[string]string{
		"PATH":           goOnPath(t, home),
		"GOTOOLCHAIN":    "",
		"HOME":           home,
		"USER":           "stranger",
		"XDG_CACHE_HOME": "",
		"ETCDIMG_CACHE":  filepath.Join(home, "etcdimg"),
		"GOCACHE":        filepath.Join(home, "go-build"),
		"GOMODCACHE":     filepath.Join(home, "mod"),
		"GOPATH":         filepath.Join(home, "go"),
		"TMPDIR":         filepath.Join(home, "tmp"),
		"TZ":             "Asia/Kathmandu",
		"LC_ALL":         "C",
		"GOMAXPROCS":     "1",
		"GOAMD64":        "v3",
		"CGO_ENABLED":    "1",
	} {
		other.with(key, value)
	}
	if err := os.Mkdir(filepath.Join(home, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		other.attr.Credential = &syscall.Credential{Uid: stranger, Gid: stranger}
		if err := filepath.WalkDir(home, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, stranger, stranger)
		}); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Log("not root: the second build runs as the same user as the first")
	}
	same(t, built, other.mustBuild(t), filepath.Join(checkout, "out"))
}

// lockedBuild is a build from a lock, for some architectures.
func lockedBuild(profile, out string, archs []string) []string {
	args := []string{"build", profile, "--locked", "-o", out, "--output", "json"}
	for _, arch := range archs {
		args = append(args, "--arch", arch)
	}
	return args
}

// same compares two builds, and names the first thing that differs.
func same(t *testing.T, built, again *result, at string) {
	t.Helper()
	difference, err := firstDifference(built.Output, at)
	if err != nil {
		t.Fatal(err)
	}
	if difference != "" || again.Digest != built.Digest {
		t.Errorf("digests %s and %s; the first difference is in %s", built.Digest, again.Digest, difference)
	}
}

// goOnPath is a PATH with olderGo first, which any user can run.
func goOnPath(t *testing.T, home string) string {
	t.Helper()
	fetch := exec.CommandContext(t.Context(), "go", "env", "GOROOT")
	fetch.Env = append(os.Environ(), "GOTOOLCHAIN="+olderGo, "GOMODCACHE="+filepath.Join(home, "older"), "GOFLAGS=-modcacherw")
	root, err := fetch.Output()
	if err != nil {
		t.Fatalf("fetching %s: %v", olderGo, err)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "bin") + string(filepath.ListSeparator) + os.Getenv("PATH")
}

// A container has nothing of this machine but what cache export wrote: no file, no
// network, no account for the user. In etcdimg's own image, by the image's etcdimg
// and Go, it gives the same bytes of one small program for one architecture. With
// ETCDIMG_ALL=1 an image without any file does so too, given etcdimg and Go, with all
// profiles for all architectures.
func TestReproducibleInAContainer(t *testing.T) {
	e := shared.engine(t)
	profile := narrow(t, shared.scratch(t))
	for _, args := range [][]string{{"lock", profile}, {"fetch", profile, "--locked"}} {
		if _, _, err := shared.command(args...).run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	e.reproduces(t, e.ownImage(t), profile, []string{runtime.GOARCH})
	if os.Getenv("ETCDIMG_ALL") != "1" {
		return
	}
	for _, name := range reproduced() {
		t.Run(name, func(t *testing.T) {
			profile, archs := shared.locked(t, name)
			e.reproduces(t, e.empty(t), profile, archs)
			if former, rest := formerDebian(t, profile, archs); former != "" {
				e.reproduces(t, e.empty(t), former, rest)
			}
		})
	}
}

// box is an image to build in.
type box struct {
	image   string
	options []string // of its containers
	etcdimg string   // in it
}

// ownImage builds etcdimg's image as a release does, with the command under test in
// it, and holds it against what docs/release.md says of it.
func (e *engine) ownImage(t *testing.T) box {
	t.Helper()
	dir, tag := shared.scratch(t), unique("etcdimg-e2e")+":own"
	release, profile := filepath.Join(dir, "dist", "release"), filepath.Join(dir, "release", "etcdimg.yaml")
	// There is a program for this machine only.
	if err := errors.Join(os.MkdirAll(release, 0o755), copyFile(filepath.Join(shared.repo, "release", "etcdimg.yaml"), profile)); err != nil {
		t.Fatal(err)
	}
	static(t, filepath.Join(release, "etcdimg-linux-"+runtime.GOARCH))
	archive := filepath.Join(dir, "etcdimg.tar")
	shared.command("build", profile, "--arch", "host", "--tag", tag, "-o", archive, "--output", "json").mustBuild(t)
	b := box{image: e.load(t, archive, tag), etcdimg: "etcdimg"}
	for want, line := range map[string]string{
		"etcdimg ": "etcdimg version", "go version ": "go version", "git version ": "git --version", "uid=65532(nonroot) gid=65532(nonroot)": "id", "nonroot": "cat /etc/passwd",
	} {
		if out := e.do(t, "run", "--rm", "--network", "none", b.image, "sh", "-c", line); !strings.Contains(out, want) {
			t.Errorf("etcdimg's image: %s says %q", line, out)
		}
	}
	return b
}

// empty makes an image without a file.
func (e *engine) empty(t *testing.T) box {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "home/", Typeflag: tar.TypeDir, Mode: 0o755}), w.Close()); err != nil {
		t.Fatal(err)
	}
	archive, name := filepath.Join(shared.scratch(t), "empty.tar"), unique("etcdimg-e2e")+":empty"
	if err := os.WriteFile(archive, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	e.do(t, "import", archive, name)
	e.discard(t, "rmi", "--force", name)
	return box{name, []string{"--volume", strings.TrimSpace(run(t, "go", "env", "GOROOT")) + ":/opt/go:ro", "--env", "PATH=/opt/go/bin"}, "/in/etcdimg"}
}

// reproduces builds a locked profile for some architectures here and in a
// container, and compares.
func (e *engine) reproduces(t *testing.T, b box, profile string, archs []string) {
	t.Helper()
	built := shared.command(lockedBuild(profile, filepath.Join(shared.scratch(t), "out"), archs)...).mustBuild(t)
	dir := shared.scratch(t)
	in, home := filepath.Join(dir, "in"), filepath.Join(dir, "home")
	if err := errors.Join(os.Mkdir(in, 0o755), os.Mkdir(home, 0o755), os.Chmod(home, 0o777), copyConfigs(filepath.Dir(profile), filepath.Join(in, "profiles"), true)); err != nil {
		t.Fatal(err)
	}
	export := []string{"cache", "export", filepath.Join(in, "inputs.tar"), profile, "--arch", strings.Join(archs, ",")}
	if _, _, err := shared.command(export...).run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(b.etcdimg, "/in/") {
		static(t, filepath.Join(in, "etcdimg"))
	}
	user := []string{"--user", "1234:1234"}
	if os.Geteuid() != 0 { // who else could remove what was made there?
		if user[1] = fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()); e.name == "podman" {
			user = append(user, "--userns", "keep-id")
		}
	}
	inside := func(args ...string) {
		patiently(t, 2*time.Hour, nil, e.path, options([]string{"run", "--rm", "--network", "none"}, user, restricted, b.options, []string{
			"--volume", in + ":/in:ro", "--volume", home + ":/home/box",
			"--env", "HOME=/home/box", "--env", "TMPDIR=/home/box", "--env", "TZ=Pacific/Chatham",
			"--workdir", "/home/box", "--entrypoint", b.etcdimg, b.image,
		}, args)...)
	}
	inside("cache", "import", "/in/inputs.tar")
	inside(append(lockedBuild("/in/profiles/"+filepath.Base(profile), "out", archs), "--offline")...)
	_, top, err := openLayout(filepath.Join(home, "out"))
	if err != nil {
		t.Fatal(err)
	}
	same(t, built, &result{Digest: top.Digest.String()}, filepath.Join(home, "out"))
}

// static makes a copy of the command that needs no C library.
func static(t *testing.T, to string) {
	t.Helper()
	if strings.TrimSpace(run(t, "go", "env", "CGO_ENABLED")) != "1" {
		if err := copyFile(shared.bin, to); err != nil {
			t.Fatal(err)
		}
		return
	}
	link := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w -linkmode external -extldflags -static", "-o", to, "./cmd/etcdimg")
	link.Dir = shared.repo
	if out, err := link.CombinedOutput(); err != nil {
		t.Fatalf("linking etcdimg: %v\n%s", err, out)
	}
}

// copyCheckout copies what git would have, committed or not.
func copyCheckout(t *testing.T, to string) {
	t.Helper()
	list, err := exec.CommandContext(t.Context(), "git", "-C", shared.repo, "ls-files", "--cached", "--others", "--exclude-standard", "-z").Output()
	if err != nil {
		t.Fatalf("listing the checkout: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(shared.repo, name), filepath.Join(to, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
}

// The date of the newest input is the image's, unless SOURCE_DATE_EPOCH says
// another; then it is that one everywhere, and nothing later is in any layer.
func TestSourceDateEpoch(t *testing.T) {
	dir := filepath.Join(shared.scratch(t), "out")
	shared.image(t)
	const epoch = 1_600_000_000
	shared.command("build", shared.profile("hardened.yaml"), "--arch", "amd64", "-o", dir, "--output", "json").
		with("SOURCE_DATE_EPOCH", fmt.Sprint(epoch)).mustBuild(t)
	image := imagesOf(t, dir)["amd64"]
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Created.Unix() != epoch {
		t.Errorf("created %s, want %d", config.Created, epoch)
	}
	for path, f := range tree(t, image) {
		if f.ModTime.Unix() > epoch {
			t.Errorf("%s is of %s, later than the epoch", path, f.ModTime)
		}
	}
}
