package depcheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/etcdimg/etcdimg"

// source is one Go file of the module.
type source struct {
	pkg  string // directory relative to the module's root, slash-separated
	name string // path relative to the module's root
	test bool   // its code is in tests only: a _test.go file, or a package of helpers for tests
	file *ast.File
	fset *token.FileSet
}

// sources parses every Go file of the module, whatever system it is for.
func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var all []source
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (name == "testdata" || name == "vendor" || name[0] == '.' || name[0] == '_') {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s := source{pkg: filepath.ToSlash(filepath.Dir(rel)), name: rel, file: file, fset: fset}
		s.test = strings.HasSuffix(rel, "_test.go") || isTestHelper(s.pkg)
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatalf("no Go files below %s", root)
	}
	return all
}

// isTestHelper says whether a package is there for tests only: pkg/etcd/etcdtest
// for those of pkg/etcd, test/… and internal/depcheck as a whole.
func isTestHelper(pkg string) bool {
	return strings.HasSuffix(pkg, "test") || strings.HasPrefix(pkg, "test/") || pkg == "internal/depcheck"
}

func (s source) imports(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, spec := range s.file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, path)
	}
	return all
}

// within says whether a package is the room or lies inside it.
func within(pkg, room string) bool { return pkg == room || strings.HasPrefix(pkg, room+"/") }
