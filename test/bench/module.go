package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	profilePath = "configs/hardened.yaml"
	server      = "go.etcd.io/etcd/server/v3" // the package of /usr/local/bin/etcd
)

// settings are the parts of the profile that the comparison needs.
type settings struct {
	Archs []string `json:"archs"`
	Etcd  struct {
		Versions  []string `json:"versions"`
		Toolchain string   `json:"toolchain"`
	} `json:"etcd"`
}

func readSettings(ctx context.Context, etcdimg, profile string) (settings, error) {
	var s settings
	out, err := output(ctx, "", etcdimg, "show-config", "--output", "json", profile)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return s, fmt.Errorf("reading %s: %w", profile, err)
	}
	if len(s.Archs) == 0 || len(s.Etcd.Versions) == 0 {
		return s, fmt.Errorf("%s names no architecture or no version", profile)
	}
	return s, nil
}

// linkerFlags make ko's and go's server like that of the images: stripped.
var linkerFlags = []string{"-s", "-w", "-buildid="}

// makeModule writes a module that requires the server, as ko and go build need
// it, and ko's settings.
func (b *workbench) makeModule(ctx context.Context) error {
	b.module = filepath.Join(b.root, "module")
	if err := os.Mkdir(b.module, 0o755); err != nil {
		return err
	}
	files := map[string]string{
		"tools.go": "//go:build tools\n\npackage tools\n\nimport _ \"" + server + "\"\n",
		".ko.yaml": "defaultFlags: [-trimpath, -buildvcs=false]\ndefaultLdflags: ['" + strings.Join(linkerFlags, "', '") + "']\n",
	}
	lines := filepath.Join(b.repo, "pkg", "etcd", "lines", b.profile.Etcd.Versions[0])
	for name, from := range map[string]string{"go.mod": lines + ".mod", "go.sum": lines + ".sum"} {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		files[name] = string(text)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(b.module, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	_, err := b.goCommand(nil, "mod", "download").output(ctx)
	return err
}

// goCommand is a run of the go command in the wrapper module, with the
// toolchain of the profile.
func (b *workbench) goCommand(env map[string]string, args ...string) *process {
	p := &process{argv: append([]string{"go"}, args...), dir: b.module, env: b.goEnv()}
	for key, value := range env {
		p.env[key] = value
	}
	return p
}

func (b *workbench) goEnv() map[string]string {
	return map[string]string{"GOTOOLCHAIN": b.profile.Etcd.Toolchain, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
}
