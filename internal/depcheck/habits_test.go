package depcheck

import (
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// terminal are names by which a package would print past its caller.
var terminal = map[string][]string{
	"fmt": {"Print", "Printf", "Println"},
	"os":  {"Stdin", "Stdout", "Stderr", "Exit"},
	"log/slog": {
		"Default", "SetDefault", "Debug", "DebugContext", "Info", "InfoContext",
		"Warn", "WarnContext", "Error", "ErrorContext", "Log", "LogAttrs",
	},
}

// Only the command writes to the terminal and ends the process: packages take
// a writer, a logger or a function.
func TestPackagesDoNotSpeakToTheTerminal(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !within(s.pkg, "pkg") {
			continue
		}
		imported := map[string]string{} // local name → path
		for _, spec := range s.file.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			name := path.Base(p)
			if spec.Name != nil {
				name = spec.Name.Name
			}
			imported[name] = p
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if ok && slices.Contains(terminal[imported[x.Name]], n.Sel.Name) {
					t.Errorf("%s: %s.%s", s.fset.Position(n.Pos()), x.Name, n.Sel.Name)
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "print" || f.Name == "println") {
					t.Errorf("%s: %s", s.fset.Position(n.Pos()), f.Name)
				}
			}
			return true
		})
	}
}

// Package-level variables are tables and error values: nothing writes to them,
// and no other package could, errors aside.
func TestPackagesHaveNoStateOfTheirOwn(t *testing.T) {
	packages := map[string][]source{}
	for _, s := range sources(t) {
		if !s.test && within(s.pkg, "pkg") && isForLinux(s.file) {
			packages[s.pkg] = append(packages[s.pkg], s)
		}
	}
	for name, files := range packages {
		var asts []*ast.File
		for _, s := range files {
			asts = append(asts, s.file)
		}
		fset := files[0].fset
		info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
		// Imports are left out, so most expressions have no type; which name
		// means which variable is known all the same.
		config := types.Config{Importer: noImporter{}, Error: func(error) {}}
		pkg, _ := config.Check(module+"/"+name, fset, asts, info)
		written := func(e ast.Expr) {
			id := root(e)
			if id == nil {
				return
			}
			if v, ok := info.Uses[id].(*types.Var); ok && v.Parent() == pkg.Scope() {
				t.Errorf("%s: writes to the package's variable %s", fset.Position(e.Pos()), id.Name)
			}
		}
		for _, f := range asts {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.AssignStmt:
					if n.Tok != token.DEFINE {
						for _, e := range n.Lhs {
							written(e)
						}
					}
				case *ast.IncDecStmt:
					written(n.X)
				case *ast.CallExpr:
					if f, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (f.Name == "delete" || f.Name == "clear") {
						written(n.Args[0])
					}
				}
				return true
			})
		}
		for _, id := range pkg.Scope().Names() {
			if _, ok := pkg.Scope().Lookup(id).(*types.Var); ok && ast.IsExported(id) && !strings.HasPrefix(id, "Err") {
				t.Errorf("%s: the exported variable %s can be written by everybody", name, id)
			}
		}
	}
}

// root is the variable that an expression is part of: x of x.y[z].
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// isForLinux leaves out the files that other systems have in place of one.
func isForLinux(f *ast.File) bool {
	for _, group := range f.Comments {
		for _, c := range group.List {
			if c.Text == "//go:build !linux" {
				return false
			}
		}
	}
	return true
}

type noImporter struct{}

func (noImporter) Import(p string) (*types.Package, error) {
	pkg := types.NewPackage(p, path.Base(p))
	pkg.MarkComplete()
	return pkg, nil
}
