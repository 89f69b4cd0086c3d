package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/etcdimg/etcdimg/pkg/image"
)

// forgeCommand copies a layout and replaces, in what is said about its index,
// the first match of a pattern: forge FROM TO PATTERN REPLACEMENT. Digests are
// made anew, so the layout is whole.
func forgeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: forge FROM TO PATTERN REPLACEMENT")
	}
	from, to := ts.MkAbs(args[0]), ts.MkAbs(args[1])
	l, err := image.OpenLayout(from)
	ts.Check(err)
	root, err := l.Resolve("")
	ts.Check(err)
	said, err := l.Statements(root.Digest)
	ts.Check(err)
	pattern, changed := regexp.MustCompile(args[2]), false
	for i, s := range said {
		if at := pattern.FindIndex(s.Content); at != nil {
			said[i].Content = []byte(string(s.Content[:at[0]]) + args[3] + string(s.Content[at[1]:]))
			changed = true
		}
	}
	if !changed {
		ts.Fatalf("nothing that is said matches %s", args[2])
	}
	top, err := layout.ImageIndexFromPath(from)
	ts.Check(err)
	index, err := top.ImageIndex(root.Digest)
	ts.Check(err)
	ts.Check(image.WriteLayout(context.Background(), to, index, image.Name{Tags: l.Tags()}, copier(from), said...))
}

// copier takes the blobs of one layout for another.
type copier string

func (c copier) Link(digest, path string) error {
	b, err := os.ReadFile(filepath.Join(string(c), "blobs", strings.Replace(digest, ":", string(filepath.Separator), 1)))
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
