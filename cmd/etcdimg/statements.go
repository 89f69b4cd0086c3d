package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/image"
)

// describers make the statements about everything that etcdimg builds, in the
// order in which a layout lists them.
func describers() []build.Describer {
	return nil
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
