package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/cache"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

func newCacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Look after the cache, and carry it to another machine",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCacheInfoCommand(), newCachePruneCommand(), newCacheVerifyCommand(), newCacheExportCommand(), newCacheImportCommand())
	return cmd
}

// withCache runs f with the cache open.
func withCache(f func(*cache.Cache) error) error {
	c, err := openCache()
	if err != nil {
		return err
	}
	return errors.Join(f(c), c.Close())
}

func newCacheInfoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "info",
		Short: "Tell where the cache is, and what in it takes how much",
		Args:  cobra.NoArgs,
	}
	output := outputFlag(cmd, "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(cmd, *output, "text", "json"); err != nil {
			return err
		}
		return withCache(func(c *cache.Cache) error {
			uses, err := c.Info()
			if err != nil {
				return err
			}
			if *output == "json" {
				return printJSON(cmd.OutOrStdout(), struct {
					Dir  string      `json:"dir"`
					Uses []cache.Use `json:"uses"`
				}{c.Dir(), uses})
			}
			return printInfo(cmd.OutOrStdout(), c.Dir(), uses)
		})
	}
	return cmd
}

func printInfo(w io.Writer, dir string, uses []cache.Use) error {
	var total cache.Use
	fmt.Fprintf(w, "%-18s %8s %8s %12s  %s\n", "kind", "records", "blobs", "size", "oldest use")
	for _, u := range uses {
		kind := u.Kind
		if kind == "" {
			kind = "downloads"
		}
		fmt.Fprintf(w, "%-18s %8d %8d %12s  %s\n", kind, u.Records, u.Blobs, amount(u.Bytes), u.OldestUse)
		total.Records, total.Blobs, total.Bytes = total.Records+u.Records, total.Blobs+u.Blobs, total.Bytes+u.Bytes
	}
	_, err := fmt.Fprintf(w, "%-18s %8d %8d %12s  in %s\n", "total", total.Records, total.Blobs, amount(total.Bytes), dir)
	return err
}

func amount(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// pruneFlags say what may go.
type pruneFlags struct {
	olderThan string
	size      string
	needed    []string
	dryRun    bool
}

func newCachePruneCommand() *cobra.Command {
	var f pruneFlags
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove from the cache what was not used for long, is too much, or is not needed",
		Long: `Remove from the cache what any of the flags names. With --not-needed-by the
inputs of the profiles' locks stay, with the binaries and the unpacked packages
made of them; layers are made again by the next build.`,
		Example: `  etcdimg cache prune --older-than 30d
  etcdimg cache prune --size 5GB
  etcdimg cache prune --not-needed-by configs/hardened.yaml,configs/dev.yaml --dry-run`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&f.olderThan, "older-than", "", "what was last used so long ago: 30d, 12h")
	cmd.Flags().StringVar(&f.size, "size", "", "the least recently used of what is beyond this size: 500MB, 5GB")
	cmd.Flags().StringSliceVar(&f.needed, "not-needed-by", nil, "what the locks of these profiles do not need (repeatable)")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "remove nothing, and tell what would go")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		p := cache.Prune{Size: -1, DryRun: f.dryRun}
		if f.olderThan == "" && f.size == "" && len(f.needed) == 0 {
			return usagef(cmd, "nothing says what may go: give --older-than, --size or --not-needed-by")
		}
		if f.olderThan != "" {
			age, err := parseAge(f.olderThan)
			if err != nil {
				return usagef(cmd, "--older-than %q: %w", f.olderThan, err)
			}
			p.Before = time.Now().Add(-age)
		}
		if f.size != "" {
			n, err := parseSize(f.size)
			if err != nil {
				return usagef(cmd, "--size %q: %w", f.size, err)
			}
			p.Size = n
		}
		return withCache(func(c *cache.Cache) error {
			if len(f.needed) > 0 {
				keep, err := selectInputs(cmd, c, f.needed, nil, (*build.Builder).Keep)
				if err != nil {
					return err
				}
				p.Keep = &keep
			}
			gone, err := c.Prune(p)
			verb := "removed"
			if f.dryRun {
				verb = "would remove"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s %d records and %d blobs, %s\n", verb, gone.Records, gone.Blobs, amount(gone.Bytes))
			return err
		})
	}
	return cmd
}

// parseAge reads a duration as Go writes it, or a number of days: 30d.
func parseAge(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 100_000 {
			return 0, errors.New("want a number of days, as 30d")
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("want 30d, 12h or the like")
	}
	return d, nil
}

// parseSize reads a number of bytes: 1000, 500MB, 5GB.
func parseSize(s string) (int64, error) {
	unit := int64(1)
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if number, ok := strings.CutSuffix(s, u.name); ok {
			s, unit = number, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1e18/unit {
		return 0, errors.New("want a number of bytes, as 500MB or 5GB")
	}
	return n * unit, nil
}

func newCacheVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Hash everything in the cache, remove what is damaged, and fail if anything was",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withCache(func(c *cache.Cache) error {
				whole, damaged, err := c.Verify(cmd.Context())
				if err != nil {
					return err
				}
				for _, name := range damaged {
					fmt.Fprintf(cmd.OutOrStdout(), "%-8s %s\n", "damaged", name)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%-8s %d records and %d blobs, %s\n", "whole", whole.Records, whole.Blobs, amount(whole.Bytes))
				if len(damaged) > 0 {
					return fmt.Errorf("%d entries of the cache were damaged, and have been removed: builds make them again", len(damaged))
				}
				return nil
			})
		},
	}
}

func newCacheExportCommand() *cobra.Command {
	var all bool
	var archs []string
	cmd := &cobra.Command{
		Use:   "export FILE [PROFILE...]",
		Short: "Write what the locks of profiles need, or the whole cache, to a file",
		Long: `Write to FILE what the locks of profiles need, or the whole cache, as a tar that
etcdimg cache import takes on another machine. The same inputs give the same
bytes. With the profiles and their locks, which travel as you like, build
--locked --offline needs nothing else there but a go command, 1.21 or newer, and
the same kind of machine: the toolchain that compiles is in the file.`,
		Example: `  etcdimg fetch configs/hardened.yaml
  etcdimg cache export inputs.tar configs/hardened.yaml`,
		Args: cobra.MinimumNArgs(1),
	}
	cmd.Flags().BoolVar(&all, "all", false, "write the whole cache")
	cmd.Flags().StringSliceVar(&archs, "arch", nil, "what is needed for this architecture only, or for the machine's own: host (repeatable)")
	cmd.MarkFlagsMutuallyExclusive("all", "arch")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if all == (len(args) > 1) {
			return usagef(cmd, "name profiles, or say --all")
		}
		return withCache(func(c *cache.Cache) error {
			s, err := c.All()
			if !all {
				s, err = selectInputs(cmd, c, args[1:], archs, exported)
			}
			if err != nil {
				return err
			}
			return exportTo(cmd.Context(), cmd.OutOrStdout(), c, args[0], s)
		})
	}
	return cmd
}

// selector tells which entries of the cache belong to a lock, for some
// architectures.
type selector func(*build.Builder, *profile.Profile, *lock.Lock, []profile.Arch) (cache.Selection, error)

// exported are the inputs of a lock.
func exported(b *build.Builder, p *profile.Profile, l *lock.Lock, archs []profile.Arch) (cache.Selection, error) {
	s, err := b.Inputs(l, archs)
	if err != nil {
		err = fmt.Errorf("%s: %w\nfetch it first: etcdimg fetch %s", argOf(p), err, argOf(p))
	}
	return s, err
}

// selectInputs brings together what of the cache belongs to the locks of
// profiles, for the named architectures or all.
func selectInputs(cmd *cobra.Command, c *cache.Cache, paths, archNames []string, of selector) (cache.Selection, error) {
	var all cache.Selection
	profiles, err := loadAll(paths)
	if err != nil {
		return all, err
	}
	f := inputFlags{locked: true, offline: true}
	show := newProgress(cmd.ErrOrStderr(), true)
	defer show.close()
	b, err := build.New(f.options(cmd, c, show))
	if err != nil {
		return all, err
	}
	for _, p := range profiles {
		archs, err := chooseArchs(cmd, p, archNames)
		if err != nil {
			return all, err
		}
		l, err := f.findLock(p, archs)
		if err != nil {
			return all, err
		}
		one, err := of(b, p, l, archs)
		if err != nil {
			return all, err
		}
		all.Add(one)
	}
	return all, nil
}

// exportTo writes an export beside its place, and moves it there when it is
// whole.
func exportTo(ctx context.Context, w io.Writer, c *cache.Cache, path string, s cache.Selection) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	h := sha256.New()
	done, err := c.Export(ctx, io.MultiWriter(f, h), s)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "exported %d records and %d blobs, %s, to %s\nsha256:%s\n", done.Records, done.Blobs, amount(done.Bytes), path, hex.EncodeToString(h.Sum(nil)))
	return nil
}

func newCacheImportCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE",
		Short: "Take what etcdimg cache export wrote into the cache, verified",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			return withCache(func(c *cache.Cache) error {
				h := sha256.New()
				done, err := c.Import(cmd.Context(), io.TeeReader(f, h))
				if err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				if _, err := io.Copy(h, f); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "imported %d records and %d blobs, %s, from %s\nsha256:%s\n", done.Records, done.Blobs, amount(done.Bytes), args[0], hex.EncodeToString(h.Sum(nil)))
				return nil
			})
		},
	}
}
