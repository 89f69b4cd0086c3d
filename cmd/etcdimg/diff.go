package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/diff"
	"github.com/etcdimg/etcdimg/pkg/inspect"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// diffFlags are the flags of the diff command.
type diffFlags struct {
	registryFlags
	exitCode bool
	output   string
}

func newDiffCommand() *cobra.Command {
	var f diffFlags
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Tell how two images, locks or profiles differ",
		Long: `Tell how two images, two locks (.lock.json) or two profiles (.yaml) differ:
packages, Go modules, files, configuration, sizes.

An image is an OCI layout, with :TAG behind it if it has several, an archive
(.tar), or a reference in a registry.`,
		Example: `  etcdimg diff old/hardened.lock.json configs/hardened.lock.json --output markdown
  etcdimg diff dist/hardened registry.example/etcd:3.6.16-0
  etcdimg diff registry.example/etcd:3.6.15-0 registry.example/etcd:3.6.16-0`,
		Args: cobra.ExactArgs(2),
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.exitCode, "exit-code", false, "exit 1 if there is any difference")
	output := outputFlag(cmd, "text", "json", "markdown")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.output = *output
		if err := checkOutput(cmd, f.output, "text", "json", "markdown"); err != nil {
			return err
		}
		return runDiff(cmd, args[0], args[1], f)
	}
	return cmd
}

// side is one of the two that are compared: a lock, a profile or an image.
type side struct {
	lock    *lock.Lock
	profile *profile.Profile
	image   *diff.Image
	close   func() error
}

func (s side) kind() string {
	switch {
	case s.lock != nil:
		return "a lock"
	case s.profile != nil:
		return "a profile"
	}
	return "an image"
}

func runDiff(cmd *cobra.Command, a, b string, f diffFlags) (err error) {
	var sides [2]side
	for i, arg := range []string{a, b} {
		if sides[i], err = f.open(cmd, arg); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, sides[i].close()) }()
	}
	if sides[0].kind() != sides[1].kind() {
		return usagef(cmd, "%s is %s, and %s is %s", a, sides[0].kind(), b, sides[1].kind())
	}
	changes, err := differences(sides[0], sides[1])
	if err != nil {
		return err
	}
	diff.Sort(changes)
	out := cmd.OutOrStdout()
	switch f.output {
	case "json":
		err = printJSON(out, struct {
			Changes []diff.Change `json:"changes"`
		}{append([]diff.Change{}, changes...)})
	case "markdown":
		err = diff.Markdown(out, changes)
	default:
		err = diff.Text(out, changes)
	}
	if err == nil && f.exitCode && len(changes) > 0 {
		return fmt.Errorf("%s and %s differ", a, b)
	}
	return err
}

func differences(a, b side) ([]diff.Change, error) {
	switch {
	case a.lock != nil:
		return diff.Locks(a.lock, b.lock)
	case a.profile != nil:
		old, err := a.profile.JSON()
		if err != nil {
			return nil, err
		}
		new, err := b.profile.JSON()
		if err != nil {
			return nil, err
		}
		return diff.Configs(old, new)
	}
	c, err := openCache()
	if err != nil {
		return nil, err
	}
	changes, err := diff.Images(*a.image, *b.image, c)
	return changes, errors.Join(err, c.Close())
}

// open tells by its name what an argument is.
func (f *diffFlags) open(cmd *cobra.Command, arg string) (side, error) {
	s := side{close: func() error { return nil }}
	var err error
	switch ext := filepath.Ext(arg); {
	case strings.HasSuffix(arg, ".lock.json"):
		s.lock, err = lock.ReadFile(arg)
		return s, err
	case ext == ".yaml" || ext == ".yml":
		s.profile, err = profile.Load(arg)
		return s, err
	}
	client, err := f.client(cmd)
	if err != nil {
		return s, err
	}
	src, d, err := inspect.Open(cmd.Context(), arg, client)
	if err != nil {
		return s, err
	}
	s.close = src.Close
	s.image = &diff.Image{Source: imageSource{cmd.Context(), src}, Digest: d.Digest}
	return s, nil
}

// imageSource is where an image lies, as images are compared from it.
type imageSource struct {
	ctx context.Context
	src inspect.Source
}

func (s imageSource) Manifest(digest v1.Hash) ([]byte, error) { return s.src.Manifest(s.ctx, digest) }

func (s imageSource) Open(digest v1.Hash) (io.ReadCloser, error) { return s.src.Layer(s.ctx, digest) }
