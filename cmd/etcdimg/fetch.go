package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

func newFetchCommand() *cobra.Command {
	var f inputFlags
	var names []string
	cmd := &cobra.Command{
		Use:   "fetch PROFILE...",
		Short: "Put everything that profiles are built from into the cache",
		Long: `Put everything that profiles are built from into the cache, as their locks pin
it: Debian packages, the Go modules and the toolchain that compile etcd, archives
of official releases. Then build --offline needs no network.

Profiles that others of the list include, and that do not stand for themselves,
are passed over.`,
		Example: `  etcdimg fetch configs/*.yaml
  etcdimg cache export inputs.tar configs/hardened.yaml`,
		Args: cobra.MinimumNArgs(1),
	}
	cmd.Flags().StringSliceVar(&names, "arch", nil, "for this architecture only, or for the machine's own: host (repeatable)")
	cmd.Flags().BoolVar(&f.locked, "locked", false, "fetch what the lock beside the profile pins or nothing at all")
	f.addResolveFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return runFetch(cmd, args, names, f) }
	return cmd
}

func runFetch(cmd *cobra.Command, paths, archNames []string, f inputFlags) error {
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
	b, err := build.New(f.options(cmd, c, show))
	if err != nil {
		return err
	}
	for _, p := range profiles {
		archs, err := chooseArchs(cmd, p, archNames)
		if err != nil {
			return err
		}
		l, err := f.findLock(p, archs)
		if err != nil {
			return err
		}
		if l, err = f.inputs(cmd.Context(), b, p, l, archs, show); err != nil {
			return err
		}
		if err := b.Fetch(cmd.Context(), p, l, archs); err != nil {
			return err
		}
		found, err := b.Inputs(l, archs)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%-8s %s: %d files are in the cache\n", "fetched", argOf(p), len(found.Blobs))
	}
	return nil
}

// loadAll reads profiles. One that can not be read on its own is passed over if
// another one of them includes it.
func loadAll(paths []string) ([]*profile.Profile, error) {
	included := map[string]bool{}
	var profiles []*profile.Profile
	failed := map[string]error{}
	for _, path := range paths {
		p, err := profile.Read(path, func(name string) ([]byte, error) {
			if name != path {
				included[filepath.Clean(name)] = true
			}
			return os.ReadFile(name)
		})
		if info, serr := os.Stat(path); serr != nil || info.IsDir() {
			p, err = loadProfile(path) // one of those that come with etcdimg, or none
		}
		if err != nil {
			failed[path] = err
			continue
		}
		profiles = append(profiles, p)
	}
	var errs []error
	for _, path := range paths {
		if err := failed[path]; err != nil && !included[filepath.Clean(path)] {
			errs = append(errs, err)
		}
	}
	return profiles, errors.Join(errs...)
}
