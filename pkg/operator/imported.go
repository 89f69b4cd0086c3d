package operator

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// imported are the Go files of the package pkg, which is at the root of folder,
// and of all packages beneath it that it imports, however far off: by their
// paths in the module, which has the folder under the last element of pkg. Files
// for other systems count too.
func imported(folder fs.FS, pkg string) (map[string][]byte, error) {
	files := map[string][]byte{}
	todo, seen := []string{pkg}, map[string]bool{pkg: true}
	for len(todo) > 0 {
		at := todo[0]
		todo = todo[1:]
		dir := "."
		if rest, ok := strings.CutPrefix(at, pkg+"/"); ok {
			dir = rest
		}
		entries, err := fs.ReadDir(folder, dir)
		if err != nil {
			return nil, err
		}
		before := len(files)
		for _, e := range entries {
			if e.IsDir() || !isSource(e.Name()) {
				continue
			}
			b, err := fs.ReadFile(folder, path.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			name := path.Join(path.Base(pkg), dir, e.Name())
			files[name] = b
			f, err := parser.ParseFile(token.NewFileSet(), name, b, parser.ImportsOnly)
			if err != nil {
				return nil, err
			}
			for _, spec := range f.Imports {
				p, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					return nil, err
				}
				if strings.HasPrefix(p, pkg+"/") && !seen[p] {
					seen[p] = true
					todo = append(todo, p)
				}
			}
		}
		if len(files) == before {
			return nil, fmt.Errorf("the package %s has no Go files", at)
		}
	}
	return files, nil
}
