//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Somebody who has nothing but the layout makes the hardened image again, with
// every cache cold, and gets the same bytes.
func TestRebuildFromTheLayoutAlone(t *testing.T) {
	dir := shared.scratch(t)
	layout := filepath.Join(dir, "layout")
	built := shared.command("build", shared.profile("hardened.yaml"), "--arch", "amd64", "-o", layout, "--output", "json").mustBuild(t)

	home := shared.scratch(t)
	again := shared.command("rebuild", layout, "-o", filepath.Join(home, "again"))
	again.dir = home
	for key, value := range map[string]string{
		"HOME":           home,
		"XDG_CACHE_HOME": "",
		"ETCDIMG_CACHE":  filepath.Join(home, "etcdimg"),
		"GOCACHE":        filepath.Join(home, "go-build"),
		"TZ":             "Asia/Kathmandu",
	} {
		again.with(key, value)
	}
	stdout, log, err := again.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log, "compiling") {
		t.Errorf("nothing was compiled:\n%s", log)
	}
	if !strings.Contains(stdout, built.Digest+"  the same") {
		t.Errorf("it says\n%s\nand the index is %s", stdout, built.Digest)
	}
	want, err := os.ReadFile(filepath.Join(layout, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(home, "again", "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("index.json, with the lists of what is said about the images, is\n%s\nand was\n%s", got, want)
	}

	// An image that is not the same is not called the same.
	other := filepath.Join(dir, "other")
	shared.command("build", shared.profile("hardened.yaml"), "--arch", "amd64", "-o", other, "--output", "json").with("SOURCE_DATE_EPOCH", "86400").mustBuild(t)
	said := shared.command("rebuild", layout, "-q", "--against", other).mustFail(t)
	if !strings.Contains(said, "the image was not built again as it is") || !strings.Contains(said, "the date differs") {
		t.Errorf("it says %s", said)
	}
}
