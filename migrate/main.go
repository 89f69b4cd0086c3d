// Migrate brings an etcd data directory from the version that wrote it to the
// version that will read it, before the server starts; with "-- COMMAND" it
// then becomes the server, so that an image needs no shell for both.
//
// It exits with 0 when the directory is ready, 1 when it is not, and 2 when the
// command line or the environment is wrong. Errors are one line.
//
// It is a program of its own: it shares nothing with what builds the images.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/etcdimg/etcdimg/migrate/internal/bundle"
	"github.com/etcdimg/etcdimg/migrate/internal/config"
	"github.com/etcdimg/etcdimg/migrate/internal/operator"
)

// bundledVersions is set when the program is built for an image, by
// -ldflags "-X main.bundledVersions=3.5.35,3.6.16".
var bundledVersions string

// How long servers of steps may take, as people know it of the published operator.
const (
	readyIn = 2 * time.Minute
	stopIn  = 2 * time.Minute
)

func main() {
	os.Exit(run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	if len(args) > 0 && commands[args[0]] != nil {
		err := command(args[0], args[1:], getenv, stdout, stderr)
		if err == nil || errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return fail(stderr, err)
	}
	c, err := config.Parse(args, getenv, bundledVersions, operator.Losses(), stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return fail(stderr, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err = migrate(ctx, c, stdout, stderr)
	stop()
	if err != nil {
		return fail(stderr, err)
	}
	if len(c.Command) == 0 || c.DryRun {
		return 0
	}
	return fail(stderr, become(c.Command))
}

func migrate(ctx context.Context, c *config.Config, stdout, stderr io.Writer) error {
	log := logger(c, stderr)
	b, err := bundle.Open(ctx, c.BinDir, c.Bundled)
	if err != nil {
		return err
	}
	if !b.Has(c.Target.Version) {
		return fmt.Errorf("etcd %s is not bundled in %s; bundled are %v", c.Target.Version, c.BinDir, b.Versions())
	}
	say := func(line string) { log.Info(line) }
	if c.DryRun {
		say = func(line string) { fmt.Fprintln(stdout, line) }
	}
	o := operator.Options{
		DataDir: c.DataDir, Target: c.Target, Current: c.Current,
		Bundle: b, InstallPlain: c.MoveBinaries,
		AcceptLoss: c.AcceptLoss, KeepBackups: c.KeepBackups, TTLDir: c.TTLDir,
		Name: c.Name, PeerURLs: c.PeerURLs, Port: c.Port, PeerPort: c.PeerPort, FixedPorts: c.PortsGiven,
		Cluster:   operator.Cluster{Members: c.Cluster, Peer: c.PeerTLS, Client: c.ClientTLS},
		ExtraArgs: c.ExtraArgs, Log: log, Say: say, ReadyIn: readyIn, StopIn: stopIn,
	}
	if c.DryRun {
		return operator.DryRun(ctx, o)
	}
	return operator.Run(ctx, o)
}

func logger(c *config.Config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{}
	if c.Verbose {
		o.Level = slog.LevelDebug
	}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// become replaces this process by the command: same process ID, so signals
// reach it, and nothing of the operator's stays open.
func become(command []string) error {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("becoming %s: %w", path, syscall.Exec(path, command, os.Environ()))
}

// fail prints an error in one line and gives the exit code for it.
func fail(w io.Writer, err error) int {
	fmt.Fprintln(w, "migrate: "+strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " "))
	if errors.Is(err, config.ErrUsage) {
		return 2
	}
	return 1
}
