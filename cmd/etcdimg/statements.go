package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/image"
	"github.com/etcdimg/etcdimg/pkg/provenance"
	"github.com/etcdimg/etcdimg/pkg/sbom"
)

// describers make the statements about everything that etcdimg builds, in the
// order in which a layout lists them.
func describers() []build.Describer {
	return []build.Describer{build.SBOM{Format: sbom.SPDX}, build.SBOM{Format: sbom.CycloneDX}, &provenance.Describer{Tool: thisTool()}}
}

// thisTool is what etcdimg knows of itself.
func thisTool() provenance.Tool {
	tool := provenance.Tool{Version: "(devel)"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return tool
	}
	if info.Main.Version != "" {
		tool.Version, tool.Sum = info.Main.Version, info.Main.Sum
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			tool.Commit = s.Value
		case "vcs.modified":
			tool.Modified = s.Value == "true"
		}
	}
	return tool
}

// writeStatements writes statements as files; an empty dir is for none.
func writeStatements(dir string, statements []image.Statement) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("--sbom-dir: %w", err)
	}
	for _, s := range statements {
		if err := os.WriteFile(filepath.Join(dir, s.Name), s.Content, 0o666); err != nil {
			return fmt.Errorf("--sbom-dir: %w", err)
		}
	}
	return nil
}
