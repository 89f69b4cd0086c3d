package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/audit"
	"github.com/etcdimg/etcdimg/pkg/audit/osv"
	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/diff"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// lockFlags are the flags of the lock command.
type lockFlags struct {
	inputFlags
	databaseFlags
	update  []string
	check   bool
	mayLack bool
	output  string
}

// updateEverything stands for an --update that names nothing.
const updateEverything = "all"

func newLockCommand() *cobra.Command {
	var f lockFlags
	cmd := &cobra.Command{
		Use:   "lock PROFILE... [--update [WHAT...] | --check]",
		Short: "Pin everything that determines a profile's images in a file beside it",
		Long: `Pin everything that determines a profile's images, for all of its architectures,
in PROFILE.lock.json beside it: etcd's modules and their checksums, the compiler,
every Debian package by digest, with the snapshot that keeps it, and the profile
itself as resolved. Keep it in version control: build finds and uses it.
` + profileArg + strings.Join(builtInProfiles(), ", ") + `. They bring
locks along; a lock of one in the working directory takes its place.

Profiles that others of the list include, and that do not stand for themselves,
are passed over.

Where there is a lock, its pins stay, except those that the profile no longer
allows, and those that --update names: etcd, toolchain, debian, or packages by
name; all, if it names nothing. What moves is printed. --check writes nothing,
and fails where --update would move something.

With databases of vulnerabilities (--db) what moves is marked: with what the new
version fixes, and what it brings.`,
		Example: `  etcdimg lock configs/hardened.yaml
  etcdimg lock configs/*.yaml
  etcdimg lock configs/hardened.yaml --update
  etcdimg lock configs/hardened.yaml --update debian
  etcdimg lock configs/hardened.yaml --update ca-certificates tzdata
  etcdimg lock configs/hardened.yaml --check --db https://vuln.go.dev/vulndb.zip`,
		Args: cobra.MinimumNArgs(1),
	}
	f.addResolveFlags(cmd)
	cmd.Flags().StringSliceVar(&f.update, "update", nil, "choose anew what is named, or everything: etcd, toolchain, debian, PACKAGE")
	cmd.Flags().Lookup("update").NoOptDefVal = updateEverything
	cmd.Flags().BoolVar(&f.check, "check", false, "write nothing; exit 1 if there are newer inputs")
	cmd.Flags().BoolVar(&f.mayLack, "allow-missing", false, "pin packages that no source has right now by the signed index alone; recorded")
	f.addDatabaseFlags(cmd, " that mark what moves")
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f.output = *output
		if err := checkOutput(cmd, f.output, "text", "json"); err != nil {
			return err
		}
		paths, err := f.words(cmd, args)
		if err != nil {
			return err
		}
		return runLock(cmd, paths, f)
	}
	return cmd
}

// words tells the profiles among the arguments from what is to be updated: a
// flag whose value may be missing does not take the next word.
func (f *lockFlags) words(cmd *cobra.Command, args []string) (profiles []string, err error) {
	var rest []string
	for _, a := range args {
		if ext := filepath.Ext(a); ext == ".yaml" || ext == ".yml" || ext == ".json" || slices.Contains(builtInProfiles(), a) || len(args) == 1 {
			profiles = append(profiles, a)
			continue
		}
		rest = append(rest, a)
	}
	switch {
	case len(profiles) == 0:
		return nil, usagef(cmd, "none of %s is a profile: name a .yaml file", strings.Join(args, ", "))
	case len(rest) > 0 && len(f.update) == 0:
		return nil, usagef(cmd, "%s is no profile: name .yaml files, and what is to move after --update", strings.Join(rest, ", "))
	}
	if len(rest) > 0 && slices.Equal(f.update, []string{updateEverything}) {
		f.update = nil
	}
	f.update = append(f.update, rest...)
	return profiles, nil
}

// runLock locks profiles one after the other. One that fails keeps none of the
// others from it.
func runLock(cmd *cobra.Command, paths []string, f lockFlags) error {
	profiles, err := loadAll(paths)
	if err != nil {
		return err
	}
	c, err := openCache()
	if err != nil {
		return err
	}
	defer c.Close()
	quiet, _ := cmd.Flags().GetBool("quiet")
	show := newProgress(cmd.ErrOrStderr(), quiet)
	defer show.close()
	databases, err := f.openDatabases(cmd, c, time.Now(), f.offline)
	if err != nil {
		return err
	}
	for _, d := range databases {
		defer d.Close()
	}
	var errs []error
	for _, p := range profiles {
		err := lockOne(cmd, p, f, c, databases, show)
		if cmd.Context().Err() != nil {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func lockOne(cmd *cobra.Command, p *profile.Profile, f lockFlags, c *cache.Cache, databases []*osv.Database, show *progress) error {
	old, was, err := readLock(p)
	file := lockOf(p)
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.check:
		return fmt.Errorf("there is no %s to check: make one with etcdimg lock %s", file, argOf(p))
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("%w\nTo begin anew, remove %s", err, was)
	default:
		if f.check {
			if err := build.Match(p, old, p.Archs); err != nil {
				return fmt.Errorf("%s: %w\nlock again: etcdimg lock %s", was, err, argOf(p))
			}
		}
		if !cmd.Flags().Changed("skip-suite") {
			f.skipSuites = build.Skips(old)
		}
	}
	b, err := build.New(f.options(cmd, c, show))
	if err != nil {
		return err
	}
	fresh, err := f.choose(cmd, b, p, old)
	if err != nil {
		return err
	}
	report := lockReport{File: file, Moved: []diff.Change{}, lock: fresh, first: old == nil}
	if old != nil {
		moved, err := diff.Locks(old, fresh)
		if err != nil {
			return err
		}
		report.Moved = append(report.Moved, moved...)
		if len(databases) > 0 {
			if report.NotJudged, err = audit.MarkMoves(report.Moved, debs(old), debs(fresh), databases); err != nil {
				return err
			}
		}
	}
	if f.check {
		return report.check(cmd.OutOrStdout(), f.output)
	}
	known := old
	if f.parsed().Debian {
		known = nil
	}
	if err := b.RecordScripts(cmd.Context(), fresh, known, f.mayLack); err != nil {
		if build.Unavailable(err) {
			err = fmt.Errorf("%w\nOr pin what the signed index says, unseen, with --allow-missing", err)
		}
		return err
	}
	report.Skipped, report.Uncovered, report.Unseen = skipped(fresh), uncovered(fresh), unseen(fresh)
	if err := fresh.WriteFile(file); err != nil {
		return err
	}
	return printLock(cmd.OutOrStdout(), report, f.output)
}

// debs are the Debian packages of a lock by their sources.
func debs(l *lock.Lock) map[audit.DebOf]audit.Deb {
	found := map[audit.DebOf]audit.Deb{}
	for _, set := range l.Debian {
		for _, p := range set.Packages {
			source, version, ok := strings.Cut(strings.TrimSuffix(p.Source, ")"), " (")
			if !ok {
				version = p.Version
			}
			found[audit.DebOf{Name: p.Name, Arch: set.Arch}] = audit.Deb{Suite: p.Suite, Source: cmp.Or(source, p.Name), Version: version}
		}
	}
	return found
}

// choose pins everything, or what the older lock leaves open.
func (f *lockFlags) choose(cmd *cobra.Command, b *build.Builder, p *profile.Profile, old *lock.Lock) (*lock.Lock, error) {
	if old == nil {
		return b.Resolve(cmd.Context(), p, p.Archs)
	}
	return b.Relock(cmd.Context(), p, old, f.parsed())
}

// parsed is what --update and --check ask for.
func (f *lockFlags) parsed() build.Update {
	if f.check || len(f.update) > 0 {
		return build.ParseUpdate(f.update)
	}
	return build.Update{}
}

// check prints what would move, and fails if anything would.
func (r lockReport) check(w io.Writer, output string) error {
	if output == "json" {
		if err := printJSON(w, r); err != nil {
			return err
		}
	} else {
		r.printMoved(w, "newer")
	}
	if len(r.Moved) > 0 {
		return fmt.Errorf("%s: there are newer inputs: take them with etcdimg lock --update", r.File)
	}
	return nil
}

// printMoved tells what moved, or would, and what of it could not be looked up.
func (r lockReport) printMoved(w io.Writer, how string) {
	for _, c := range r.Moved {
		fmt.Fprintf(w, "%-8s %s\n", how, c)
	}
	for _, g := range r.NotJudged {
		fmt.Fprintf(w, "%-8s %s: %s\n", "unjudged", g.What, g.Reason)
	}
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// lockReport is what lock prints with --output json.
type lockReport struct {
	File      string         `json:"file"`
	Moved     []diff.Change  `json:"moved"`
	NotJudged []audit.Gap    `json:"notJudged,omitempty"`
	Skipped   []skippedSuite `json:"skipped,omitempty"`
	Uncovered []script       `json:"uncovered,omitempty"`
	Unseen    []unseenSet    `json:"unseen,omitempty"`

	lock  *lock.Lock
	first bool // there was none before
}

type skippedSuite struct {
	Suite string `json:"suite"`
	Arch  string `json:"arch"` // Debian's name
}

// unseenSet are packages that no source had.
type unseenSet struct {
	Arch     string   `json:"arch"`
	Packages []string `json:"packages"`
}

// script is a maintainer script that no rule stands for.
type script struct {
	Package string   `json:"package"`
	Script  string   `json:"script"`
	Archs   []string `json:"archs"`
}

func skipped(l *lock.Lock) []skippedSuite {
	found := []skippedSuite{}
	for _, s := range l.Suites {
		if s.Skipped != "" {
			found = append(found, skippedSuite{s.Suite, s.Arch})
		}
	}
	return found
}

func unseen(l *lock.Lock) []unseenSet {
	found := []unseenSet{}
	for _, set := range l.Debian {
		if len(set.Unseen) > 0 {
			found = append(found, unseenSet{set.Arch, set.Unseen})
		}
	}
	return found
}

// uncovered brings together what the lock says for each architecture.
func uncovered(l *lock.Lock) []script {
	found := []script{}
	at := map[[2]string]int{}
	for _, set := range l.Debian {
		for _, u := range set.Uncovered {
			for _, name := range u.Scripts {
				key := [2]string{u.Package, name}
				i, ok := at[key]
				if !ok {
					i = len(found)
					at[key] = i
					found = append(found, script{Package: u.Package, Script: name})
				}
				found[i].Archs = append(found[i].Archs, set.Arch)
			}
		}
	}
	return found
}

func printLock(w io.Writer, r lockReport, output string) error {
	if output == "json" {
		return printJSON(w, r)
	}
	r.printMoved(w, "moved")
	if r.first {
		printPins(w, r.lock)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "%-8s suite %s for %s\n", "skipped", s.Suite, s.Arch)
	}
	for _, s := range r.Uncovered {
		fmt.Fprintf(w, "%-8s no rule stands for the %s of %s (%s): the image lacks its effects\n", "missing", s.Script, s.Package, strings.Join(s.Archs, ", "))
	}
	for _, s := range r.Unseen {
		fmt.Fprintf(w, "%-8s no source had, for %s: %s\n", "unseen", s.Arch, strings.Join(s.Packages, ", "))
	}
	if !r.first && len(r.Moved) == 0 {
		fmt.Fprintf(w, "%-8s nothing moved\n", "kept")
	}
	fmt.Fprintf(w, "%-8s %s\n", "wrote", r.File)
	return nil
}

func printPins(w io.Writer, l *lock.Lock) {
	for _, e := range l.Etcd {
		from := "compiled by " + e.Toolchain
		if e.Toolchain == "" {
			from = "of the official release"
		}
		fmt.Fprintf(w, "%-8s etcd %s, %s\n", "pinned", e.Version, from)
	}
	if m := l.Migrate; m != nil {
		fmt.Fprintf(w, "%-8s migrate, compiled by %s\n", "pinned", m.Toolchain)
	}
	for _, set := range l.Debian {
		fmt.Fprintf(w, "%-8s %d packages for %s\n", "pinned", len(set.Packages), set.Arch)
	}
}
