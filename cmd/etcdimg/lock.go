package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

func newLockCommand() *cobra.Command {
	var f inputFlags
	cmd := &cobra.Command{
		Use:   "lock PROFILE",
		Short: "Pin everything that determines a profile's images in a file beside it",
		Long: `Pin everything that determines a profile's images, for all of its architectures,
in PROFILE.lock.json beside it: etcd's modules and their checksums, the compiler,
every Debian package by digest, with the snapshot that keeps it, and the profile
itself as resolved. Keep it in version control: build finds and uses it.`,
		Example: "  etcdimg lock configs/hardened.yaml",
		Args:    cobra.ExactArgs(1),
	}
	f.addResolveFlags(cmd)
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkOutput(cmd, *output, "text", "json"); err != nil {
			return err
		}
		return runLock(cmd, args[0], f, *output)
	}
	return cmd
}

func runLock(cmd *cobra.Command, path string, f inputFlags, output string) error {
	p, err := profile.Load(path)
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
	b, err := build.New(f.options(cmd, c, show))
	if err != nil {
		return err
	}
	l, err := b.Resolve(cmd.Context(), p, p.Archs)
	if err != nil {
		return err
	}
	if err := b.RecordScripts(cmd.Context(), l); err != nil {
		return err
	}
	file := lock.PathFor(path)
	if err := l.WriteFile(file); err != nil {
		return err
	}
	return printLock(cmd.OutOrStdout(), lockReport{File: file, Skipped: skipped(l), Uncovered: uncovered(l), lock: l}, output)
}

// lockReport is what lock prints with --output json.
type lockReport struct {
	File      string         `json:"file"`
	Skipped   []skippedSuite `json:"skipped"`
	Uncovered []script       `json:"uncovered"`

	lock *lock.Lock
}

type skippedSuite struct {
	Suite string `json:"suite"`
	Arch  string `json:"arch"` // Debian's name
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
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	for _, e := range r.lock.Etcd {
		from := "compiled by " + e.Toolchain
		if e.Toolchain == "" {
			from = "of the official release"
		}
		fmt.Fprintf(w, "%-8s etcd %s, %s\n", "pinned", e.Version, from)
	}
	for _, set := range r.lock.Debian {
		fmt.Fprintf(w, "%-8s %d packages for %s\n", "pinned", len(set.Packages), set.Arch)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "%-8s suite %s for %s\n", "skipped", s.Suite, s.Arch)
	}
	for _, s := range r.Uncovered {
		fmt.Fprintf(w, "%-8s no rule stands for the %s of %s (%s): the image lacks its effects\n", "missing", s.Script, s.Package, strings.Join(s.Archs, ", "))
	}
	fmt.Fprintf(w, "%-8s %s\n", "wrote", r.File)
	return nil
}
