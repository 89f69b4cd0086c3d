package sbom

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas are the published JSON schemas of both formats. They come with
// modules that etcdimg needs anyway, so there is no copy of them here.
type schemas struct{ spdx, cyclonedx *jsonschema.Schema }

func newSchemas(t *testing.T) schemas {
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
	var s schemas
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

// check holds a document against the schema of its format.
func (s schemas) check(t *testing.T, format Format, document []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	schema := s.spdx
	if format == CycloneDX {
		schema = s.cyclonedx
	}
	if err := schema.Validate(v); err != nil {
		t.Errorf("%s: %v", format, err)
	}
}
