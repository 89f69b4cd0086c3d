package build

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/etcdimg/etcdimg/pkg/etcd"
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/operator"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// workshop is where all binaries of one build are compiled: so many at once as
// there are places.
type workshop struct {
	builder *Builder
	places  chan struct{}
	presses chan struct{} // one for each layer that is being compressed
	etcd    []*piece      // in the lock's order
	migrate *piece        // nil for an image without it
}

// piece is what the workshop makes for each architecture: the programs of an
// etcd version, or the migrate operator.
type piece struct {
	task     func(arch string) string
	cached   func(arch string) bool
	prefetch func() error // downloads once, whoever calls it
	compile  func(ctx context.Context, arch string) (map[string]rootfs.Content, error)
}

// newWorkshop has a piece for everything that the lock pins.
func (b *Builder) newWorkshop(ctx context.Context, p *profile.Profile, l *lock.Lock, archs []profile.Arch) (*workshop, error) {
	w := &workshop{builder: b, places: make(chan struct{}, max(b.Jobs, 1)), presses: newPresses()}
	for _, e := range l.Etcd {
		// A line before 3.5 has no etcdutl: the profile's list is for all.
		binaries, err := etcd.BinariesOf(e.Version, p.Etcd.Binaries)
		if err != nil {
			return nil, err
		}
		w.etcd = append(w.etcd, &piece{
			task:     func(arch string) string { return etcdTask(e, arch) },
			cached:   func(arch string) bool { return b.Compiler.Cached(e, arch, binaries) },
			prefetch: sync.OnceValue(func() error { return b.Compiler.Prefetch(ctx, e, names(archs), binaries) }),
			compile: func(ctx context.Context, arch string) (map[string]rootfs.Content, error) {
				return b.Compiler.Compile(ctx, e, arch, binaries)
			},
		})
	}
	if l.Migrate != nil {
		if b.Operator == nil {
			return nil, errNoOperator
		}
		pin := *l.Migrate
		w.migrate = &piece{
			task:     migrateTask,
			cached:   func(arch string) bool { return b.Operator.Cached(pin, arch) },
			prefetch: sync.OnceValue(func() error { return b.Operator.Prefetch(ctx, pin, names(archs)) }),
			compile: func(ctx context.Context, arch string) (map[string]rootfs.Content, error) {
				made, err := b.Operator.Compile(ctx, pin, arch)
				return map[string]rootfs.Content{operator.Program: made}, err
			},
		}
	}
	return w, nil
}

// newPresses compresses as many layers at once as there are processors, up to
// a number that bounds the memory: each takes up to some 200 MB.
func newPresses() chan struct{} { return make(chan struct{}, min(runtime.GOMAXPROCS(0), 8)) }

// turn lets whatever is compiled first for an architecture go before the rest. Go
// commands that begin side by side with a cold build cache each compile the standard
// library; after the first one it is there.
type turn struct {
	taken atomic.Bool
	ended chan struct{}
}

func newTurn() *turn { return &turn{ended: make(chan struct{})} }

// begin waits, unless it is the first; end is to be called in any case.
func (t *turn) begin(ctx context.Context) (end func(), err error) {
	if t.taken.CompareAndSwap(false, true) {
		return func() { close(t.ended) }, nil
	}
	select {
	case <-t.ended:
		return func() {}, nil
	case <-ctx.Done():
		return func() {}, ctx.Err()
	}
}

// compile waits for its turn and a place, unless there is nothing to compile.
func (w *workshop) compile(ctx context.Context, p *piece, arch string, t *turn) (map[string]rootfs.Content, error) {
	b, task := w.builder, p.task(arch)
	if p.cached(arch) {
		found, err := p.compile(ctx, arch)
		b.emit(Event{Kind: Finished, Task: task, Detail: "cached", Err: err})
		return found, err
	}
	end, err := t.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	select {
	case w.places <- struct{}{}:
		defer func() { <-w.places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b.emit(Event{Kind: Started, Task: task, Detail: "compiling"})
	err = p.prefetch()
	var made map[string]rootfs.Content
	if err == nil {
		made, err = p.compile(ctx, arch)
	}
	b.finish(task, err)
	return made, err
}

func names(archs []profile.Arch) []string {
	var all []string
	for _, a := range archs {
		all = append(all, string(a))
	}
	return all
}
