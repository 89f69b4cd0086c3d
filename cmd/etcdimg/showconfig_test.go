package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/profile"
)

const hardened = "../../configs/hardened.yaml"

func TestShowConfigPrintsAProfileThatMeansTheSame(t *testing.T) {
	want, err := profile.Load(hardened)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"yaml", "json"} {
		var stdout, stderr bytes.Buffer
		if code := run([]string{"show-config", hardened, "--output", form}, &stdout, &stderr); code != exitDone {
			t.Fatalf("exit %d: %s", code, stderr.String())
		}
		got, err := profile.Read("printed.yaml", func(string) ([]byte, error) { return stdout.Bytes(), nil })
		if err != nil {
			t.Errorf("%s: %v", form, err)
		} else if got.Digest() != want.Digest() {
			t.Errorf("%s is another profile:\n%s", form, stdout.String())
		}
	}
}

func TestShowConfigTellsEveryMistakeAndFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(file, []byte("etcd: {versions: [v3.6.16]}\nwork-dir: data\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	code := run([]string{"show-config", file}, &stdout, &stderr)
	if code != exitFailed || stdout.Len() > 0 {
		t.Errorf("exit %d, printed %q", code, stdout.String())
	}
	for _, want := range []string{file + ":1: etcd.versions[0]: ", file + ":2: work-dir: "} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in:\n%s", want, stderr.String())
		}
	}
}

func TestShowConfigKnowsItsUsage(t *testing.T) {
	for _, args := range [][]string{{"show-config"}, {"show-config", hardened, "extra"}, {"show-config", hardened, "--output", "toml"}, {"schema", "extra"}} {
		var stdout, stderr bytes.Buffer
		if code := run(args, &stdout, &stderr); code != exitUsage {
			t.Errorf("%q exits %d: %s", args, code, stderr.String())
		}
	}
}

func TestSchemaIsJSON(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run([]string{"schema"}, &stdout, &stderr); code != exitDone {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	if !json.Valid(stdout.Bytes()) || !bytes.Equal(stdout.Bytes(), profile.Schema()) {
		t.Errorf("printed:\n%s", stdout.String())
	}
}
