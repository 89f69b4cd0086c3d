package build

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/debian"
	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/fetch"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/operator"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
	"github.com/etcdimg/etcdimg/pkg/sbom"
)

// Options say with what a Builder works. Cache is required.
type Options struct {
	Cache   Store
	Log     *slog.Logger // nil for none
	Events  func(Event)  // called by several goroutines at once; may be nil
	Jobs    int          // compilations at once; at least 1
	Epoch   *time.Time   // SOURCE_DATE_EPOCH: the date of everything, where it is set
	Environ []string     // the environment, as os.Environ gives it: where go is, where downloads come from
	AptDir  string       // the host's apt configuration, for its mirrors; empty for none

	Operator fs.FS // sources of the migrate operator; nil for none

	Offline    bool      // no network: what the cache has not is an error
	Refresh    bool      // ask for newer package indexes, however fresh the cached ones are
	SkipSuites []string  // SUITE:ARCH that may be left out where they can not be verified
	Now        time.Time // what the archives' Valid-Until is held against

	Describers []Describer // who makes statements about what is built
}

// Variables that say where packages come from. A mirror takes the place of the
// host's apt configuration.
const (
	mirrorVariable   = "ETCDIMG_DEBIAN_MIRROR"
	snapshotVariable = "ETCDIMG_DEBIAN_SNAPSHOT" // in place of snapshot.debian.org; "none" for none
)

// releasesVariable names the environment variable with a mirror of etcd's
// release page: a URL or a folder.
const releasesVariable = "ETCDIMG_RELEASES"

// New returns a Builder that compiles with the machine's go command and takes
// packages from Debian archives. It starts nothing and asks nobody yet.
func New(o Options) (*Builder, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	mirror := lookup(o.Environ, mirrorVariable)
	if mirror != "" {
		o.AptDir = ""
	}
	if o.Offline {
		o.Environ = append(slices.Clip(o.Environ), "GOPROXY=off")
	}
	packages, err := debian.NewResolver(debian.Options{
		Store:      o.Cache,
		Mirror:     mirror,
		Snapshot:   lookup(o.Environ, snapshotVariable),
		AptDir:     o.AptDir,
		Now:        o.Now,
		MaxAge:     maxAge(o.Refresh),
		SkipSuites: o.SkipSuites,
		Offline:    o.Offline,
		Log:        o.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("setting up Debian packages: %w", err)
	}
	b := &Builder{
		Cache:    o.Cache,
		Packages: newDebianPackages(packages, o),
		Log:      o.Log,
		Events:   o.Events,
		Jobs:     o.Jobs,
		Epoch:    o.Epoch,
		Offline:  o.Offline,
		debian:   packages,

		Describers: o.Describers,
	}
	gocmd := etcd.NewGo(o.Environ, etcd.Processes{})
	releases, err := etcd.NewReleases(etcd.ReleaseOptions{Base: lookup(o.Environ, releasesVariable), Fetch: fetch.Options{Offline: o.Offline}})
	if err != nil {
		return nil, fmt.Errorf("$%s: %w", releasesVariable, err)
	}
	b.etcd = &etcd.Resolver{Go: gocmd, Store: o.Cache, Releases: releases, Events: b.etcdEvent}
	b.compiler = &etcd.Compiler{Go: gocmd, Store: o.Cache, Releases: releases, Events: b.etcdEvent, Offline: o.Offline}
	b.Compiler = &goCompiler{b.compiler}
	b.SBOMs = &sbom.Maker{Store: o.Cache, Modules: publishedModules{b.compiler}}
	if o.Operator != nil {
		sources, err := operator.Read(o.Operator)
		if err != nil {
			return nil, err
		}
		b.Operator = &goOperator{sources, b.compiler}
	}
	return b, nil
}

func maxAge(refresh bool) time.Duration {
	if refresh {
		return -1
	}
	return 0
}

// etcdEvent passes on what a compiler tells.
func (b *Builder) etcdEvent(e etcd.Event) {
	b.Log.Debug("compiler", "program", cmp.Or(e.Program, "etcd"), "version", e.Version, "arch", e.Arch, "stage", string(e.Stage), "detail", e.Detail)
	if e.Arch == "" {
		return
	}
	task := etcdTask(lock.Etcd{Version: e.Version}, e.Arch)
	if e.Program != "" {
		task = migrateTask(e.Arch)
	}
	b.emit(Event{Kind: Progressed, Task: task, Detail: string(e.Stage) + " " + e.Detail})
}

// goCompiler is a Compiler whose binaries are content for a file tree.
type goCompiler struct{ *etcd.Compiler }

func (c *goCompiler) Cached(l lock.Etcd, arch string, binaries []string) bool {
	return c.Has(l, arch, binaries)
}

func (c *goCompiler) Compile(ctx context.Context, l lock.Etcd, arch string, binaries []string) (map[string]rootfs.Content, error) {
	made, err := c.Compiler.Compile(ctx, l, arch, binaries)
	if err != nil {
		return nil, err
	}
	contents := map[string]rootfs.Content{}
	for name, b := range made {
		contents[name] = c.Content(b)
	}
	return contents, nil
}

// goOperator is an Operator that is compiled from the sources at hand.
type goOperator struct {
	*operator.Sources
	compiler *etcd.Compiler
}

func (o *goOperator) Cached(pin lock.Migrate, arch string) bool {
	p, err := o.Program(pin)
	return err == nil && o.compiler.HasProgram(p, arch)
}

func (o *goOperator) Prefetch(ctx context.Context, pin lock.Migrate, archs []string) error {
	p, err := o.Program(pin)
	if err != nil {
		return err
	}
	return o.compiler.PrefetchProgram(ctx, p, archs)
}

func (o *goOperator) Compile(ctx context.Context, pin lock.Migrate, arch string) (rootfs.Content, error) {
	p, err := o.Program(pin)
	if err != nil {
		return nil, err
	}
	made, err := o.compiler.CompileProgram(ctx, p, arch)
	if err != nil {
		return nil, err
	}
	return o.compiler.Content(made), nil
}

func (o *goOperator) FetchSources(ctx context.Context, pin lock.Migrate, archs []string) error {
	p, err := o.Program(pin)
	if err != nil {
		return err
	}
	return o.compiler.FetchProgramSources(ctx, p, archs)
}

// Fetched tells what the cache has that the operator can be compiled from.
func (o *goOperator) Fetched(pin lock.Migrate) ([]etcd.Record, bool, error) {
	p, err := o.Program(pin)
	if err != nil {
		return nil, false, err
	}
	found, ok := o.compiler.ProgramSources(p)
	return found, ok, nil
}

// Made are the records of the operator's binary that the cache has.
func (o *goOperator) Made(pin lock.Migrate, arch string) []etcd.Record {
	p, err := o.Program(pin)
	if err != nil {
		return nil
	}
	return o.compiler.MadeProgram(p, arch)
}

// lookup finds a variable in an environment; the last one of a name counts.
func lookup(environ []string, name string) string {
	for _, kv := range slices.Backward(environ) {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v
		}
	}
	return ""
}
