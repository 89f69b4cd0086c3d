//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// stranger is a user who shares nothing with the one who runs the tests.
const stranger = 65534

// The same profile gives the same bytes to somebody else: another checkout,
// another user, every cache cold, one core, another umask, time zone, locale
// and temporary directory, and settings of the Go command that an environment
// may well have.
func TestReproducible(t *testing.T) {
	built := shared.image(t)
	home := shared.scratch(t)
	checkout := filepath.Join(home, "some where", "else")
	copyCheckout(t, checkout)

	other := shared.command("build", "configs/hardened.yaml", "--output", "json")
	other.argv = append([]string{"sh", "-c", `umask 077; exec "$@"`, "sh"}, other.argv...)
	other.dir = checkout
	for key, value := range map[string]string{
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

	again := other.mustBuild(t)
	difference, err := firstDifference(built.Output, filepath.Join(checkout, again.Output))
	if err != nil {
		t.Fatal(err)
	}
	if difference != "" || again.Digest != built.Digest {
		t.Errorf("digests %s and %s; the first difference is in %s", built.Digest, again.Digest, difference)
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

// copyFile copies a regular file with its mode. Directories are made as needed.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return nil
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
