package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/modfile"

	"github.com/etcdimg/etcdimg/pkg/git"
	"github.com/etcdimg/etcdimg/pkg/matrix"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// matrixFlags are the flags of the matrix command.
type matrixFlags struct {
	archs    []string
	versions []string
	runners  []string
	since    string
	also     []string
	format   string
}

func newMatrixCommand() *cobra.Command {
	var f matrixFlags
	cmd := &cobra.Command{
		Use:   "matrix PROFILE...",
		Short: "Print what CI builds on machines of their own: profiles by architecture",
		Long: `Print one row for each profile and architecture, for a CI system to build on a
machine of its own:

  github  one line of JSON for fromJSON: {"include":[{"profile":…,"arch":…,…}]}
  gitlab  a hidden job ` + matrix.GitLabJob + ` with parallel:matrix, for a child pipeline
  plain   profile, architecture, etcd version, name and runner, separated by tabs

With --changed-since only those rows stay that a change since a git revision may
have touched: of a profile itself, what it includes, its lock, the local files
that it names; in etcdimg's own repository also of etcdimg. A file that git can
not tell of counts as changed. There may be no row left: {"include":[]}, which a
job must ask for in its condition, since GitHub Actions fails on it.
` + profileArg + strings.Join(builtInProfiles(), ", ") + ".",
		Example: `  etcdimg matrix configs/*.yaml
  etcdimg matrix configs/hardened.yaml --etcd-version 3.5.35 --etcd-version 3.6.16
  etcdimg matrix configs/*.yaml --changed-since origin/main --runner ubuntu-24.04 --runner arm64=ubuntu-24.04-arm`,
		Args: cobra.MinimumNArgs(1),
	}
	cmd.Flags().StringSliceVar(&f.archs, "arch", nil, "rows for this architecture only (repeatable)")
	cmd.Flags().StringSliceVar(&f.versions, "etcd-version", nil, "a row for this version of etcd, in place of the profile's (repeatable)")
	cmd.Flags().StringSliceVar(&f.runners, "runner", nil, "label of the machine, or ARCH=LABEL for one architecture (repeatable)")
	cmd.Flags().StringVar(&f.since, "changed-since", "", "git revision: leave out what no change since can have touched")
	cmd.Flags().StringSliceVar(&f.also, "also", nil, "path whose change touches everything, as that of a workflow (repeatable)")
	cmd.Flags().StringVar(&f.format, "format", matrix.Formats()[0], "format: "+strings.Join(matrix.Formats(), ", "))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(matrix.Formats(), f.format) {
			return usagef(cmd, "--format %q: want %s", f.format, strings.Join(matrix.Formats(), ", "))
		}
		return runMatrix(cmd, args, f)
	}
	return cmd
}

func runMatrix(cmd *cobra.Command, args []string, f matrixFlags) error {
	options, err := f.options(cmd)
	if err != nil {
		return err
	}
	profiles, err := loadProfiles(args)
	if err != nil {
		return err
	}
	if f.since != "" {
		if profiles, err = f.changed(cmd, profiles); err != nil {
			return err
		}
	} else if len(f.also) > 0 {
		return usagef(cmd, "--also is for --changed-since: without it every row is printed")
	}
	rows, err := matrix.Rows(profiles, options)
	if err != nil {
		return err
	}
	return matrix.Write(cmd.OutOrStdout(), f.format, rows)
}

// loadProfiles reads profiles. What is none by itself, but what another one of
// them includes, is passed over: a shell finds it with *.yaml, too.
func loadProfiles(args []string) ([]matrix.Profile, error) {
	var profiles []matrix.Profile
	included := map[string]bool{}
	failed := map[string]error{}
	for _, arg := range args {
		p, err := loadProfile(arg)
		if err != nil {
			failed[arg] = err
			continue
		}
		profiles = append(profiles, matrix.Profile{Argument: arg, Profile: p})
		in, err := inputFiles(p)
		if err != nil {
			return nil, err
		}
		for _, file := range in.Files {
			included[filepath.Clean(file)] = true
		}
	}
	for _, arg := range args {
		if err, ok := failed[arg]; ok && !included[filepath.Clean(arg)] {
			return nil, err
		}
	}
	return profiles, nil
}

func (f *matrixFlags) options(cmd *cobra.Command) (matrix.Options, error) {
	o := matrix.Options{Versions: f.versions, Runners: map[string]string{}}
	for _, name := range f.archs {
		arch, err := profile.ParseArch(name)
		if err != nil {
			return o, usagef(cmd, "--arch %s: %w", name, err)
		}
		o.Archs = append(o.Archs, arch)
	}
	for _, r := range f.runners {
		name, label, ok := strings.Cut(r, "=")
		if !ok {
			o.Runners[""] = name
			continue
		}
		arch, err := profile.ParseArch(name)
		if err != nil {
			return o, usagef(cmd, "--runner %s: %w", r, err)
		}
		o.Runners[string(arch)] = label
	}
	return o, nil
}

// changed are the profiles that a change since the revision may have touched.
func (f *matrixFlags) changed(cmd *cobra.Command, profiles []matrix.Profile) ([]matrix.Profile, error) {
	log := newLogger(cmd, cmd.ErrOrStderr())
	// What comes before the first push of a branch, GitHub and GitLab write as zeros.
	if f.since != "" && strings.Trim(f.since, "0") == "" {
		log.Debug("there is no earlier revision: everything is touched")
		return profiles, nil
	}
	c, here, err := f.change(cmd.Context())
	if err != nil {
		return nil, fmt.Errorf("--changed-since %s: %w", f.since, err)
	}
	var touched []matrix.Profile
	for _, p := range profiles {
		in, err := inputFiles(p.Profile)
		if err != nil {
			return nil, err
		}
		in.Dir = here
		why := c.Touches(in)
		log.Debug("profile", "profile", p.Argument, "touched", why != "", "reason", why)
		if why != "" {
			touched = append(touched, p)
		}
	}
	return touched, nil
}

func (f *matrixFlags) change(ctx context.Context) (matrix.Change, string, error) {
	var c matrix.Change
	repo, err := git.Open(ctx, "")
	if err != nil {
		return c, "", err
	}
	here, err := os.Getwd()
	if err != nil {
		return c, "", err
	}
	if here, err = filepath.EvalSymlinks(here); err != nil {
		return c, "", err
	}
	c.Top = repo.Top()
	for _, also := range f.also {
		rel, err := filepath.Rel(c.Top, filepath.Join(here, also))
		if err != nil {
			return c, "", err
		}
		c.Also = append(c.Also, filepath.ToSlash(rel))
	}
	if mod, err := os.ReadFile(filepath.Join(c.Top, "go.mod")); err == nil {
		c.Own = modfile.ModulePath(mod) == ownModule
	}
	if c.Files, err = repo.Changed(ctx, f.since); err != nil {
		return c, "", err
	}
	c.Tracked, err = repo.Tracked(ctx)
	return c, here, err
}

// ownModule is the module of etcdimg.
const ownModule = "github.com/etcdimg/etcdimg"

// inputFiles are the files that decide a profile's images.
func inputFiles(p *profile.Profile) (matrix.Inputs, error) {
	if isBuiltIn(p) {
		in := matrix.Inputs{BuiltIn: true}
		if _, err := os.Lstat(lockOf(p)); err == nil {
			in.Files = append(in.Files, lockOf(p))
		}
		return in, nil
	}
	in := matrix.Inputs{Files: []string{lockOf(p)}}
	if _, err := profile.Read(p.File(), func(name string) ([]byte, error) {
		in.Files = append(in.Files, name)
		return os.ReadFile(name)
	}); err != nil {
		return in, err
	}
	for _, source := range p.Sources(p.Archs) {
		in.Files = append(in.Files, p.Local(source))
	}
	return in, nil
}
