package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"

	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
	"github.com/etcdimg/etcdimg/pkg/sbom"
)

// sboms writes what each binary is made of, in both formats, as etcdimg writes
// it of images.
func (r *release) sboms(ctx context.Context) error {
	store, err := cache.Open(filepath.Join(r.work, "sbom"))
	if err != nil {
		return err
	}
	defer store.Close()
	m := &sbom.Maker{Store: store, Modules: moduleCache(filepath.Join(r.work, "mod"))}
	for _, b := range r.built {
		content, err := os.ReadFile(filepath.Join(r.dir, b.name))
		if err != nil {
			return err
		}
		tree := rootfs.New()
		if err := tree.Add(rootfs.Entry{
			Path: "/" + b.name, Type: rootfs.File, Mode: 0o755,
			Content: rootfs.Bytes(content), Component: rootfs.BaseComponent, Origin: "release",
		}); err != nil {
			return err
		}
		facts := sbom.Facts{
			Name: program, Version: r.version, Arch: strings.ReplaceAll(b.platform, "/", "-"), Created: r.date, Licence: "Apache-2.0", Tree: tree,
			Program: &sbom.Program{Platform: b.platform, PURL: "pkg:golang/" + modulePath + "@" + r.version + "#cmd/etcdimg"},
		}
		for _, format := range []sbom.Format{sbom.SPDX, sbom.CycloneDX} {
			document, err := m.Image(ctx, format, facts, "sha256:"+b.sha256, nil)
			if err != nil {
				return fmt.Errorf("of %s: %w", b.name, err)
			}
			if err := os.WriteFile(filepath.Join(r.dir, b.name+format.Ending()), document, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// moduleCache gives the files of modules that the compiler was given: the
// directory is its GOMODCACHE.
type moduleCache string

// RootFiles is sbom.Modules'.
func (c moduleCache) RootFiles(ctx context.Context, modules []sbom.Module, wanted func(string) bool) (map[sbom.Module]map[string]string, error) {
	found := map[sbom.Module]map[string]string{}
	for _, m := range modules {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		dir, err := c.dir(m)
		if err != nil {
			return nil, err
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		found[m] = map[string]string{}
		for _, f := range files {
			if !f.Type().IsRegular() || !wanted(f.Name()) {
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				return nil, err
			}
			found[m][f.Name()] = string(b)
		}
	}
	return found, nil
}

// dir is where a module lies, which is checked against its sum.
func (c moduleCache) dir(m sbom.Module) (string, error) {
	path, err := module.EscapePath(m.Path)
	if err != nil {
		return "", err
	}
	version, err := module.EscapeVersion(m.Version)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(string(c), filepath.FromSlash(path)+"@"+version)
	sum, err := dirhash.HashDir(dir, m.Path+"@"+m.Version, dirhash.Hash1)
	if err != nil {
		return "", err
	}
	if sum != m.Sum {
		return "", fmt.Errorf("%s has the sum %s, want %s", dir, sum, m.Sum)
	}
	return dir, nil
}

// writeJSON writes a document, indented, for people and programs.
func writeJSON(file string, v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	return b, os.WriteFile(file, b, 0o644)
}
