// Package sbomtest holds SBOMs against the published JSON schemas of their
// formats, SPDX 2.3 and CycloneDX 1.6.
//
// It must not know who wrote them.
package sbomtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schemas are the schemas of both formats. They come with modules that etcdimg
// needs anyway, so there is no copy of them here.
type Schemas struct{ spdx, cyclonedx *jsonschema.Schema }

// New reads the schemas.
func New(t *testing.T) Schemas {
	t.Helper()
	syft, cyclonedx := moduleDir(t, "github.com/anchore/syft"), moduleDir(t, "github.com/CycloneDX/cyclonedx-go")
	c := jsonschema.NewCompiler()
	for url, file := range map[string]string{
		"http://spdx.org/rdf/terms/2.3":                    filepath.Join(syft, "schema", "spdx-json", "spdx-schema-2.3.json"),
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  filepath.Join(cyclonedx, "schema", "bom-1.6.schema.json"),
		"http://cyclonedx.org/schema/spdx.schema.json":     filepath.Join(cyclonedx, "schema", "spdx.schema.json"),
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": filepath.Join(cyclonedx, "schema", "jsf-0.82.schemax.json"),
	} {
		if matches, _ := filepath.Glob(file); len(matches) == 0 {
			file = strings.Replace(file, "schemax", "schema", 1)
		}
		if err := c.AddResource(url, readJSON(t, file)); err != nil {
			t.Fatal(err)
		}
	}
	var s Schemas
	var err error
	if s.spdx, err = c.Compile("http://spdx.org/rdf/terms/2.3"); err != nil {
		t.Fatal(err)
	}
	if s.cyclonedx, err = c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json"); err != nil {
		t.Fatal(err)
	}
	return s
}

// moduleDir is where the go command keeps a module that is needed.
func moduleDir(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		t.Fatalf("where is %s: %v", path, err)
	}
	return strings.TrimSpace(string(out))
}

func readJSON(t *testing.T, file string) any {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v
}

// CheckSPDX holds a document against SPDX's schema.
func (s Schemas) CheckSPDX(t *testing.T, document []byte) {
	t.Helper()
	check(t, s.spdx, document)
}

// CheckCycloneDX holds a document against CycloneDX's schema.
func (s Schemas) CheckCycloneDX(t *testing.T, document []byte) {
	t.Helper()
	check(t, s.cyclonedx, document)
}

func check(t *testing.T, schema *jsonschema.Schema, document []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		t.Error(err)
	}
}
