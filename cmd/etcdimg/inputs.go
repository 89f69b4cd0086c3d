package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/etcdimg/etcdimg"
	"github.com/etcdimg/etcdimg/pkg/build"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// inputFlags say what may be done to get at the inputs of a profile.
type inputFlags struct {
	locked     bool
	offline    bool
	refresh    bool
	skipSuites []string
	unlocked   string // why the lock beside the profile does not count
}

// addBuildFlags adds the flags of commands that build.
func (f *inputFlags) addBuildFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.locked, "locked", false, "build from the lock beside the profile or not at all")
	cmd.Flags().BoolVar(&f.offline, "offline", false, "ask no network: build from the cache, which etcdimg fetch fills, or say what it lacks")
	f.addResolveFlags(cmd)
}

// addResolveFlags adds the flags of commands that choose packages.
func (f *inputFlags) addResolveFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.refresh, "refresh", false, "ask for newer package indexes even if the cached ones are less than an hour old")
	cmd.Flags().StringSliceVar(&f.skipSuites, "skip-suite", nil, "SUITE:ARCH to do without where it can not be verified; recorded (repeatable)")
}

// options are those of a builder that works as the flags and the environment
// say.
func (f *inputFlags) options(cmd *cobra.Command, c build.Store, show *progress) build.Options {
	return build.Options{
		Cache:      c,
		Log:        newLogger(cmd, show),
		Events:     show.event,
		Jobs:       defaultJobs(),
		Environ:    os.Environ(),
		Operator:   etcdimg.Operator(),
		AptDir:     "/etc/apt",
		Offline:    f.offline,
		Refresh:    f.refresh,
		SkipSuites: f.skipSuites,
		Now:        time.Now(),
	}
}

// findLock reads the lock beside a profile and makes sure that it is of the
// profile, and of its local files for some architectures, as they are now.
// Without one it returns nil, unless there must be one.
func (f *inputFlags) findLock(p *profile.Profile, archs []profile.Arch) (*lock.Lock, error) {
	if f.unlocked != "" {
		return nil, nil
	}
	name := argOf(p)
	remedy := "lock again: etcdimg lock " + name
	l, path, err := readLock(p)
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.locked:
		return nil, fmt.Errorf("there is no %s, and --locked allows nothing else: make one with etcdimg lock %s", path, name)
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if err := build.Match(p, l, archs); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", path, err, remedy)
	}
	return l, nil
}

// inputs are what a lock pins, or, without one, what is offered now.
func (f *inputFlags) inputs(ctx context.Context, b *build.Builder, p *profile.Profile, l *lock.Lock, archs []profile.Arch, says io.Writer) (*lock.Lock, error) {
	switch {
	case l != nil:
		return l, nil
	case f.unlocked != "":
		fmt.Fprintf(says, "no lock is used, as %s: choosing what is newest\n", f.unlocked)
	default:
		fmt.Fprintf(says, "there is no %s: choosing what is newest; etcdimg lock %s pins it\n", lockOf(p), argOf(p))
	}
	return b.Resolve(ctx, p, archs)
}

// remedy tells how to get what a build without a network lacks.
func (f *inputFlags) remedy(err error, p *profile.Profile) error {
	if err == nil || !f.offline {
		return err
	}
	return fmt.Errorf("%w\n--offline rules the network out: where there is one, run etcdimg fetch %s", err, argOf(p))
}
