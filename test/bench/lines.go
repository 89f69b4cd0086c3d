package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const linesRatio = 1.05 // all lines together are to take this much of plain go builds at most

// pin is what a lock says of one etcd version: all that go build needs.
type pin struct {
	Version   string            `json:"version"`
	Toolchain string            `json:"toolchain"`
	Packages  map[string]string `json:"packages"`
	Variables map[string]string `json:"variables"`
	GoMod     text              `json:"goMod"`
	GoSum     text              `json:"goSum"`
	Edits     []struct {
		Module  string `json:"module"`
		Version string `json:"version"`
		Own     bool   `json:"own"`
		Files   []struct {
			Path    string `json:"path"`
			Changes []struct {
				Old        text `json:"old"`
				Occurrence int  `json:"occurrence"`
				New        text `json:"new"`
			} `json:"changes"`
		} `json:"files"`
	} `json:"edits"`
}

// text is a string, or an array of lines that each have an end.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var lines []string
	if json.Unmarshal(b, &lines) == nil {
		*t = text(strings.Join(lines, "\n") + "\n")
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

// lines measures a build of several etcd lines for one architecture, layers
// and all, with empty caches, against the plain go builds of the same programs
// one after the other, which share a build cache that is as empty. Modules are
// there already for both.
func (b *workbench) lines(ctx context.Context, versions []string) ([]row, error) {
	dir := filepath.Join(b.root, "lines")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	all := filepath.Join(dir, "all.yaml")
	pins, err := b.lockLines(ctx, all, versions)
	if err != nil {
		return nil, err
	}
	var plain cost
	for _, p := range pins {
		fmt.Fprintln(os.Stderr, "measuring go build of etcd", p.Version)
		build, err := b.plainBuild(ctx, dir, p)
		if err != nil {
			return nil, err
		}
		_, c, err := build.run(ctx)
		if err != nil {
			return nil, err
		}
		plain.wall, plain.cpu, plain.peak = plain.wall+c.wall, plain.cpu+c.cpu, max(plain.peak, c.peak)
	}
	fmt.Fprintln(os.Stderr, "measuring a build of all of them")
	ours, err := b.buildLines(ctx, dir, all)
	if err != nil {
		return nil, err
	}
	ratio := ours.wall.Seconds() / plain.wall.Seconds()
	what := fmt.Sprintf("%d lines, cold", len(versions))
	return []row{
		{what + ": build", ours.String(), "", true},
		{what + ": go builds", plain.String(), "", true},
		{what + ": build / go builds", fmt.Sprintf("%.3f", ratio), fmt.Sprint(linesRatio), ratio <= linesRatio},
		{what + ": build / go builds, processor time", fmt.Sprintf("%.3f", ours.cpu.Seconds()/plain.cpu.Seconds()), "", true},
		{what + ": processors kept busy", fmt.Sprintf("%.2f of %d", ours.cpu.Seconds()/ours.wall.Seconds(), runtime.NumCPU()), "", true},
	}, nil
}

// lockLines writes a profile of all programs of some versions, without layers
// of anything else, and returns what etcdimg pins for it.
func (b *workbench) lockLines(ctx context.Context, profile string, versions []string) ([]pin, error) {
	yaml := fmt.Sprintf("etcd: {versions: [%s], binaries: [etcd, etcdctl, etcdutl], toolchain: %s}\narchs: [%s]\nlayering: {budget: 32, compression: zstd}\n",
		strings.Join(versions, ", "), b.profile.Etcd.Toolchain, runtime.GOARCH)
	if err := os.WriteFile(profile, []byte(yaml), 0o644); err != nil {
		return nil, err
	}
	cache := map[string]string{"ETCDIMG_CACHE": filepath.Join(b.root, "lines-lock")}
	if _, err := (&process{argv: []string{b.etcdimg, "lock", "-q", profile}, env: cache}).output(ctx); err != nil {
		return nil, err
	}
	file, err := os.ReadFile(strings.TrimSuffix(profile, ".yaml") + ".lock.json")
	if err != nil {
		return nil, err
	}
	var lock struct {
		Etcd []pin `json:"etcd"`
	}
	if err := json.Unmarshal(file, &lock); err != nil {
		return nil, fmt.Errorf("reading the lock: %w", err)
	}
	if len(lock.Etcd) != len(versions) {
		return nil, fmt.Errorf("the lock pins %d of %d versions", len(lock.Etcd), len(versions))
	}
	return lock.Etcd, nil
}

// buildLines is a build of a profile with an empty cache of etcdimg's and an
// empty build cache of the go command.
func (b *workbench) buildLines(ctx context.Context, dir, profile string) (cost, error) {
	_, c, err := (&process{
		argv: []string{b.etcdimg, "build", profile, "-q", "--bare", "-o", filepath.Join(dir, "out")},
		env:  map[string]string{"ETCDIMG_CACHE": filepath.Join(dir, "cache"), "GOCACHE": filepath.Join(dir, "go-etcdimg")},
	}).run(ctx)
	return c, err
}

// plainBuild is the go build of one version, as its lock describes it, whose
// modules are there.
func (b *workbench) plainBuild(ctx context.Context, dir string, p pin) (*process, error) {
	module := filepath.Join(dir, "module-"+p.Version)
	if err := os.MkdirAll(module, 0o755); err != nil {
		return nil, err
	}
	for name, content := range map[string]text{"go.mod": p.GoMod, "go.sum": p.GoSum} {
		if err := os.WriteFile(filepath.Join(module, name), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	env := maps.Clone(b.goEnv())
	env["GOTOOLCHAIN"] = p.Toolchain
	if err := b.edit(ctx, module, env, p); err != nil {
		return nil, err
	}
	ldflags := slices.Clone(linkerFlags)
	for name, value := range p.Variables {
		ldflags = append(ldflags, "-X", name+"="+value)
	}
	packages := slices.Sorted(maps.Values(p.Packages))
	fetch := &process{argv: append([]string{"go", "list", "-deps", "-f", ""}, packages...), dir: module, env: env}
	if _, err := fetch.output(ctx); err != nil {
		return nil, err
	}
	out := filepath.Join(module, "out") + string(filepath.Separator)
	build := append([]string{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags", strings.Join(ldflags, " "), "-o", out}, packages...)
	env = maps.Clone(env)
	env["GOCACHE"] = filepath.Join(dir, "go-plain")
	return &process{argv: build, dir: module, env: env}, nil
}

// edit makes the modules that a lock says are not compiled as published, where
// the wrapper's go.mod looks for them.
func (b *workbench) edit(ctx context.Context, module string, env map[string]string, p pin) error {
	for _, e := range p.Edits {
		to := filepath.Join(module, "edited", filepath.FromSlash(e.Module))
		if !e.Own {
			out, err := (&process{argv: []string{"go", "mod", "download", "-json", e.Module + "@" + e.Version}, dir: b.root, env: env}).output(ctx)
			if err != nil {
				return err
			}
			var at struct{ Dir string }
			if err := json.Unmarshal([]byte(out), &at); err != nil {
				return fmt.Errorf("downloading %s: %w", e.Module, err)
			}
			if err := os.CopyFS(to, os.DirFS(at.Dir)); err != nil {
				return err
			}
		}
		for _, f := range e.Files {
			file := filepath.Join(to, filepath.FromSlash(f.Path))
			content, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			for _, c := range f.Changes {
				content = []byte(replaceNth(string(content), string(c.Old), string(c.New), c.Occurrence))
			}
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			// What a module cache holds may not be written to.
			if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			if err := os.WriteFile(file, content, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// replaceNth replaces one occurrence, from 1; all of an empty text is new.
func replaceNth(text, old, new string, n int) string {
	if old == "" {
		return new
	}
	at := 0
	for i := 1; ; i++ {
		next := strings.Index(text[at:], old)
		if next < 0 {
			return text
		}
		if at += next; i == max(n, 1) {
			return text[:at] + new + text[at+len(old):]
		}
		at += len(old)
	}
}
