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

	"github.com/etcdimg/etcdimg/migrate/internal/config"
	"github.com/etcdimg/etcdimg/migrate/internal/plan"
)

// bundledVersions may be set by -ldflags "-X main.bundledVersions=3.5.35,3.6.16".
// Where it is empty, as in the images, the program looks what is beside it.
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
	verb := oneMember
	if len(args) > 0 && verbs()[args[0]] != nil {
		verb, args = verbs()[args[0]], args[1:]
	}
	do, command, err := verb(args, getenv, stdout, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return fail(stderr, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err = do(ctx)
	stop()
	if err != nil {
		return fail(stderr, err)
	}
	if len(command) == 0 {
		return 0
	}
	return fail(stderr, become(command))
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
	if errors.Is(err, plan.ErrNotBundled) || errors.Is(err, errNoTarget) {
		err = fmt.Errorf("%w; an image of the profile busybox-multi has the programs of every line", err)
	}
	fmt.Fprintln(w, "migrate: "+strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " "))
	if errors.Is(err, config.ErrUsage) {
		return 2
	}
	return 1
}
