// Command bench prints what etcdimg costs on this machine, each figure beside
// its target, all of it measured in one run: a build with nothing to do against
// ko's build of the same server, a build after an annotation changed, a cold
// build against the plain go build of the same packages, the same for all etcd
// lines at once, the assembly of debian-slim against mmdebstrap's, migrate's
// moves against etcd's own restore, what SBOMs, provenance and
// signatures add, and sizes.
//
// It takes half an hour or more, most of it for the cold builds of one version
// and of every line; -cold=false leaves those out. It runs etcdimg as a person
// would, and imports none of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	runs := flag.Int("runs", 5, "how often to measure the quick builds; medians are shown")
	cold := flag.Bool("cold", true, "measure cold builds, too")
	only := flag.String("only", "", "measure one part only: "+strings.Join(alone(), ", "))
	lines := flag.String("lines", "3.7.3,3.6.16,3.5.35,3.4.26,3.3.27,3.2.32,3.1.20,3.0.17,2.3.8", "the etcd versions whose cold builds are measured together, one from 3.5 on first")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, *runs, *cold, *only, strings.Split(*lines, ","), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// alone are the parts that can be measured without the others.
func alone() []string { return []string{"cold", "debian", "lines", "migrate", "statements"} }

// row is one line of the table.
type row struct {
	what, figure, target string
	met                  bool
}

func bench(ctx context.Context, runs int, cold bool, only string, lines []string, w io.Writer) (err error) {
	b, err := newBench(ctx, only)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	parts := map[string]func(context.Context) ([]row, error){
		"cold":       b.cold,
		"lines":      func(ctx context.Context) ([]row, error) { return b.lines(ctx, lines) },
		"warm":       func(ctx context.Context) ([]row, error) { return b.warm(ctx, runs) },
		"locks":      func(ctx context.Context) ([]row, error) { return b.locks(ctx, runs) },
		"sizes":      b.sizes,
		"statements": func(ctx context.Context) ([]row, error) { return b.statements(ctx, runs) },
		"debian":     func(ctx context.Context) ([]row, error) { return b.debian(ctx, runs) },
		"migrate":    func(ctx context.Context) ([]row, error) { return b.migrate(ctx, runs) },
	}
	names := []string{"warm", "locks", "sizes", "statements", "debian", "migrate"}
	switch {
	case slices.Contains(alone(), only):
		names = []string{only}
	case only != "":
		return fmt.Errorf("-only=%s: there are %s", only, strings.Join(alone(), ", "))
	case cold:
		// First, so that the cold build's layers and binaries serve the warm ones.
		names = append([]string{"cold", "lines"}, names...)
	}
	var rows []row
	for _, name := range names {
		r, err := parts[name](ctx)
		if err != nil {
			return err
		}
		rows = append(rows, r...)
	}
	return printTable(w, rows)
}

func printTable(w io.Writer, rows []row) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "\nwhat\tfigure\ttarget\t")
	for _, r := range rows {
		verdict := ""
		if r.target != "" {
			verdict = "met"
			if !r.met {
				verdict = "MISSED"
			}
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", r.what, r.figure, r.target, verdict)
	}
	return tw.Flush()
}

// workbench is where everything is measured: a scratch directory with the
// commands that are compared, and the wrapper module of the etcd version.
type workbench struct {
	repo    string // the checkout
	root    string // scratch
	etcdimg string // command
	ko      string // command
	module  string // directory of the wrapper module that ko and go build
	profile settings
}

// newBench prepares for all parts, or for one only.
func newBench(ctx context.Context, only string) (*workbench, error) {
	repo, err := output(ctx, "", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	b := &workbench{repo: strings.TrimSpace(repo)}
	if b.root, err = os.MkdirTemp("", "etcdimg-bench-"); err != nil {
		return nil, err
	}
	if only == "migrate" {
		return b, nil
	}
	err = b.prepare(ctx)
	if err == nil && (only == "" || only == "cold") {
		err = b.prepareOthers(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *workbench) close() error { return os.RemoveAll(b.root) }

// prepare compiles the command that is measured.
func (b *workbench) prepare(ctx context.Context) error {
	b.etcdimg = filepath.Join(b.root, "etcdimg")
	if _, err := output(ctx, b.repo, "go", "build", "-o", b.etcdimg, "./cmd/etcdimg"); err != nil {
		return err
	}
	var err error
	b.profile, err = readSettings(ctx, b.etcdimg, filepath.Join(b.repo, profilePath))
	return err
}

// prepareOthers compiles what it is compared with and downloads all modules, so
// that no measurement waits for the network more than another.
func (b *workbench) prepareOthers(ctx context.Context) error {
	var err error
	if b.ko, err = b.installKo(ctx); err != nil {
		return err
	}
	return b.makeModule(ctx)
}

// installKo compiles ko at its pinned version, once for this checkout.
func (b *workbench) installKo(ctx context.Context) (string, error) {
	versions, err := os.ReadFile(filepath.Join(b.repo, "hack", "versions.env"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(versions)) {
		module, ok := strings.CutPrefix(strings.TrimSpace(line), "KO=")
		if !ok {
			continue
		}
		_, version, _ := strings.Cut(module, "@")
		dir := filepath.Join(b.repo, ".cache", "tools", "ko-"+version)
		ko := filepath.Join(dir, "ko")
		if _, err := os.Stat(ko); err == nil {
			return ko, nil
		}
		fmt.Fprintln(os.Stderr, "compiling ko", version)
		install := exec.CommandContext(ctx, "go", "install", module)
		install.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0")
		if out, err := install.CombinedOutput(); err != nil {
			return "", fmt.Errorf("compiling ko: %w\n%s", err, out)
		}
		return ko, nil
	}
	return "", errors.New("hack/versions.env has no line KO=")
}
