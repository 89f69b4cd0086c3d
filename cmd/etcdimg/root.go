package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg/pkg/cache"
)

// usageError is a mistake in the command line, as opposed to a failure.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return usageError{fmt.Errorf("%w; see '%s --help'", fmt.Errorf(format, args...), cmd.CommandPath())}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "etcdimg",
		Short: "Build reproducible multi-architecture etcd images, without Docker and without root",
		Args:  cobra.NoArgs,
		// Errors are printed once, by run.
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.AddCommand(newRebuildCommand())
	root.CompletionOptions.HiddenDefaultCmd = false
	root.PersistentFlags().BoolP("quiet", "q", false, "print results and errors only")
	root.PersistentFlags().BoolP("verbose", "v", false, "print what is done in detail")
	root.AddCommand(newBuildCommand(), newLockCommand(), newDiffCommand(), newFetchCommand(), newCacheCommand(), newPublishCommand(), newInspectCommand(), newSBOMCommand(), newKeygenCommand(), newSignCommand(), newAttestCommand(), newVerifyCommand(), newAuditCommand(), newMatrixCommand(), newIndexCommand(), newShowConfigCommand(), newSchemaCommand(), newVersionCommand())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usagef(cmd, "%w", err) })
	markUsageErrors(root)
	return root
}

// markUsageErrors makes wrong numbers of arguments usage errors, of a command
// and of those below it.
func markUsageErrors(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		markUsageErrors(sub)
	}
	check := cmd.Args
	if check == nil {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef(cmd, "%w", err)
		}
		return nil
	}
}

// outputFlag adds --output to a command that prints for people or programs.
func outputFlag(cmd *cobra.Command, formats ...string) *string {
	return cmd.Flags().String("output", formats[0], "output format: "+strings.Join(formats, " or "))
}

func checkOutput(cmd *cobra.Command, value string, formats ...string) error {
	if slices.Contains(formats, value) {
		return nil
	}
	return usagef(cmd, "--output %q: want %s", value, strings.Join(formats, " or "))
}

// openCache opens the cache that the environment names, or the user's.
func openCache() (*cache.Cache, error) {
	dir := os.Getenv("ETCDIMG_CACHE")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("finding a place for the cache: %w: set $ETCDIMG_CACHE", err)
		}
		dir = filepath.Join(user, "etcdimg")
	}
	return cache.Open(dir)
}

// newLogger writes warnings, and with --verbose everything, to stderr.
func newLogger(cmd *cobra.Command, w io.Writer) *slog.Logger {
	level := slog.LevelWarn
	if on, _ := cmd.Flags().GetBool("verbose"); on {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// sourceDateEpoch reads SOURCE_DATE_EPOCH as reproducible-builds.org specifies
// it: seconds since 1970, or not set.
func sourceDateEpoch() (*time.Time, error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return nil, errors.New("SOURCE_DATE_EPOCH is " + strconv.Quote(s) + ": want seconds since 1970, or unset it")
	}
	t := time.Unix(n, 0).UTC()
	return &t, nil
}
