package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/etcdimg/etcdimg/pkg/lock"
)

// Store keeps binaries by content, and records that tell which binary a key
// produced. pkg/cache is one.
type Store interface {
	// PutFile moves a file into the store.
	PutFile(ctx context.Context, path string) (digest string, size int64, err error)
	// Link makes a new file of verified content.
	Link(digest, path string) error
	// Open returns verified content.
	Open(digest string) (*os.File, error)
	// Has tells whether there is content, unverified.
	Has(digest string) bool
	// ReadRecord fails where there is no record.
	ReadRecord(kind, key string, v any) error
	WriteRecord(kind, key string, v any) error
	// Lock keeps other processes, and other goroutines, from the same key.
	Lock(ctx context.Context, kind, key string) (unlock func(), err error)
	// TempDir is on the store's file system, so that PutFile can rename.
	TempDir() (dir string, remove func(), err error)
}

// recordKind is the kind of the store's records: one Binary for each key.
const recordKind = "binaries"

// Compiler compiles pinned etcd versions, or takes them out of official
// releases.
type Compiler struct {
	Go       *Go
	Store    Store
	Releases *Releases   // nil for etcd's own release page
	Events   func(Event) // may be nil; called from the goroutines that compile
	Offline  bool        // modules are taken from the store and the go command's own cache alone
}

// Compile returns binaries of a pinned etcd version for a GOARCH. Those that
// the store has cost nothing: no process is started, and the machine needs no
// Go. All that are missing are compiled by one go build; or, where the pin has
// an archive for the architecture, unpacked from it.
//
// When ctx ends, the go command and every compiler that it started have ended
// before Compile returns, and the store has nothing of theirs. Several calls
// may run at the same time; calls for the same binaries wait for one another,
// across processes too.
func (c *Compiler) Compile(ctx context.Context, pin lock.Etcd, arch string, binaries []string) (Binaries, error) {
	return c.make(ctx, etcdRecipe(pin), arch, binaries)
}

func (c *Compiler) make(ctx context.Context, pin recipe, arch string, binaries []string) (Binaries, error) {
	if err := checkPin(pin, arch, binaries); err != nil {
		return nil, err
	}
	found, missing := c.lookup(pin, arch, binaries)
	if len(missing) == 0 {
		c.emit(pin, arch, Reused, "")
		return found, nil
	}
	unlock, err := c.lock(ctx, pin, arch)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if found, missing = c.lookup(pin, arch, binaries); len(missing) == 0 {
		c.emit(pin, arch, Reused, "")
		return found, nil
	}
	var made Binaries
	done := Compiled
	if _, ok := archive(pin.Etcd, arch); ok {
		done = Unpacked
		made, err = c.unpack(ctx, pin, arch, missing)
	} else {
		made, err = c.compile(ctx, pin, arch, missing)
	}
	if err != nil {
		return nil, err
	}
	maps.Copy(found, made)
	c.emit(pin, arch, done, "")
	return found, nil
}

// Has tells whether Compile would find every one of the binaries in the store.
func (c *Compiler) Has(pin lock.Etcd, arch string, binaries []string) bool {
	return c.has(etcdRecipe(pin), arch, binaries)
}

func (c *Compiler) has(pin recipe, arch string, binaries []string) bool {
	_, missing := c.lookup(pin, arch, binaries)
	return len(missing) == 0
}

// lookup returns the binaries that the store has, and the names of the others,
// sorted.
func (c *Compiler) lookup(pin recipe, arch string, binaries []string) (Binaries, []string) {
	found, missing := Binaries{}, []string(nil)
	for _, name := range slices.Compact(slices.Sorted(slices.Values(binaries))) {
		var b Binary
		if err := c.Store.ReadRecord(recordKind, binaryKey(pin, arch, name), &b); err == nil && b.Size > 0 && c.Store.Has(b.Digest) {
			found[name] = b
		} else {
			missing = append(missing, name)
		}
	}
	return found, missing
}

// lock takes the lock of all binaries of a pin and an architecture, and tells
// when it has to wait for it.
func (c *Compiler) lock(ctx context.Context, pin recipe, arch string) (func(), error) {
	// The store does not say whether a lock is free, only that it took long.
	told := time.AfterFunc(time.Second, func() { c.emit(pin, arch, Waiting, "") })
	defer told.Stop()
	unlock, err := c.Store.Lock(ctx, recordKind, binaryKey(pin, arch, ""))
	if err != nil {
		return nil, fmt.Errorf("waiting for the compiler of %s for %s: %w", pin.name, arch, err)
	}
	return unlock, nil
}

// compile runs go build, looks at what it made, and stores it.
func (c *Compiler) compile(ctx context.Context, pin recipe, arch string, names []string) (Binaries, error) {
	doing := fmt.Sprintf("compiling %s for %s", pin.name, arch)
	h, err := c.Go.find(ctx)
	if err != nil {
		return nil, err
	}
	h, done, err := c.proxied(h, pin)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	defer done()
	w, err := c.workspace(ctx, h, pin, arch, doing)
	if err != nil {
		return nil, err
	}
	defer w.remove()

	args := append([]string{"build", "-v", "-o", w.out + string(filepath.Separator)}, flags()...)
	args = append(args, "-ldflags", linkerFlags(pin.Variables))
	for _, name := range names {
		args = append(args, pin.Packages[name])
	}
	c.emit(pin, arch, Compiling, "")
	if err := c.run(ctx, h, w, pin, arch, doing, args); err != nil {
		return nil, err
	}

	made := Binaries{}
	for _, name := range names {
		pkg := pin.Packages[name]
		file := filepath.Join(w.out, outputName(pkg))
		if err := checkBinary(file, pin, arch, pkg); err != nil {
			return nil, fmt.Errorf("%s: %s is not what was to be made: %w", doing, name, err)
		}
		// Whatever the umask was.
		if err := os.Chmod(file, 0o644); err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
		digest, size, err := c.Store.PutFile(ctx, file)
		if err != nil {
			return nil, fmt.Errorf("%s: storing %s: %w", doing, name, err)
		}
		made[name] = Binary{Digest: digest, Size: size}
	}
	return made, c.record(pin, arch, made)
}

// record remembers what a pin made. It comes last: a record that is there
// speaks of content that is there.
func (c *Compiler) record(pin recipe, arch string, made Binaries) error {
	for _, name := range slices.Sorted(maps.Keys(made)) {
		if err := c.Store.WriteRecord(recordKind, binaryKey(pin, arch, name), made[name]); err != nil {
			return fmt.Errorf("recording %s of %s for %s: %w", name, pin.name, arch, err)
		}
	}
	return nil
}

// workspace is a temporary directory with a wrapper module in it, and the
// modules that are edited.
type workspace struct {
	module, out, temp string
	remove            func()
}

func (c *Compiler) workspace(ctx context.Context, h *host, pin recipe, arch, doing string) (workspace, error) {
	dir, remove, err := c.Store.TempDir()
	if err != nil {
		return workspace{}, fmt.Errorf("%s: %w", doing, err)
	}
	fail := func(err error) (workspace, error) {
		remove()
		return workspace{}, err
	}
	w := workspace{module: filepath.Join(dir, "module"), out: filepath.Join(dir, "out"), temp: filepath.Join(dir, "temp"), remove: remove}
	for _, d := range []string{w.module, w.out, w.temp} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return fail(fmt.Errorf("%s: %w", doing, err))
		}
	}
	files := map[string][]byte{"go.mod": []byte(pin.GoMod), "go.sum": []byte(pin.GoSum)}
	maps.Copy(files, pin.sources)
	for name, content := range files {
		file := filepath.Join(w.module, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, content, 0o600)); err != nil {
			return fail(fmt.Errorf("%s: %w", doing, err))
		}
	}
	edit := editor{runner: c.Go.runner, host: h, toolchain: pin.Toolchain, onLine: c.listen(pin, arch)}
	if err := edit.write(ctx, w.module, pin.Edits, pin.GoSum, doing); err != nil {
		return fail(err)
	}
	return w, nil
}

// listen returns what turns the go command's words into events.
func (c *Compiler) listen(pin recipe, arch string) func(string) {
	return func(line string) {
		if what, ok := strings.CutPrefix(line, downloading); ok {
			c.emit(pin, arch, Downloading, what)
		} else if packageLine.MatchString(line) {
			c.emit(pin, arch, Compiling, line)
		}
	}
}

// run runs the go command in a workspace and turns its failure into words.
func (c *Compiler) run(ctx context.Context, h *host, w workspace, pin recipe, arch, doing string, args []string) error {
	stderr := &output{onLine: c.listen(pin, arch)}
	env := append(h.base(pin.Toolchain), target(pin.Etcd, arch)...)
	cmd := Command{Path: h.path, Args: args, Env: append(env, "GOTMPDIR="+w.temp), Dir: w.module, Stderr: stderr}
	if err := c.Go.runner.Run(ctx, cmd); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
		return diagnose(doing, err, stderr, h, pin.Toolchain)
	}
	return nil
}

// Prefetch downloads what compiling the binaries needs, the toolchain
// or the archives of official releases included, and no more: modules that only tests or other systems need stay
// where they are. It does nothing where the store has the binaries for all of
// the architectures. Compiling without it works as well; with it, compilers
// that run at the same time do not begin by fetching the same things, and what
// can not be fetched is told before anything is compiled.
func (c *Compiler) Prefetch(ctx context.Context, pin lock.Etcd, archs, binaries []string) error {
	return c.prefetch(ctx, etcdRecipe(pin), archs, binaries)
}

func (c *Compiler) prefetch(ctx context.Context, pin recipe, archs, binaries []string) error {
	for _, arch := range archs {
		if err := checkPin(pin, arch, binaries); err != nil {
			return err
		}
	}
	var sources []string
	for _, arch := range archs {
		if c.has(pin, arch, binaries) {
			continue
		}
		if _, ok := archive(pin.Etcd, arch); !ok {
			sources = append(sources, arch)
		} else if err := c.prefetchArchive(ctx, pin, arch); err != nil {
			return err
		}
	}
	if len(sources) == 0 {
		return nil
	}
	h, err := c.Go.find(ctx)
	if err != nil {
		return err
	}
	doing := "downloading the modules of " + pin.name
	h, done, err := c.proxied(h, pin)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	defer done()
	w, err := c.workspace(ctx, h, pin, sources[0], doing)
	if err != nil {
		return err
	}
	defer w.remove()
	args := append([]string{"list"}, flags()...)
	args = append(args, "-deps", "-f", "")
	for _, name := range slices.Sorted(slices.Values(binaries)) {
		args = append(args, pin.Packages[name])
	}
	// Architectures differ in files, hardly ever in modules: one stands for
	// all, and a compiler still fetches what only its own needs.
	return c.run(ctx, h, w, pin, sources[0], doing, args)
}

func (c *Compiler) emit(pin recipe, arch string, stage Stage, detail string) {
	if c.Events != nil {
		c.Events(Event{Program: pin.program, Version: pin.Version, Arch: arch, Stage: stage, Detail: detail})
	}
}
