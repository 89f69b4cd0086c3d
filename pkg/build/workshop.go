package build

import (
	"context"
	"runtime"

	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
	"github.com/etcdimg/etcdimg/pkg/rootfs"
)

// workshop is where all binaries of one build are compiled: so many at once as
// there are places.
type workshop struct {
	builder  *Builder
	places   chan struct{}
	presses  chan struct{}  // one for each layer that is being compressed
	prefetch []func() error // by index of the etcd version; each downloads once
	binaries [][]string     // by index of the etcd version
}

// newPresses compresses as many layers at once as there are processors, up to
// a number that bounds the memory: each takes up to some 200 MB.
func newPresses() chan struct{} { return make(chan struct{}, min(runtime.GOMAXPROCS(0), 8)) }

// compile waits for a place, unless there is nothing to compile.
func (w *workshop) compile(ctx context.Context, i int, e lock.Etcd, arch string) (map[string]rootfs.Content, error) {
	b, task, binaries := w.builder, etcdTask(e, arch), w.binaries[i]
	if b.Compiler.Cached(e, arch, binaries) {
		found, err := b.Compiler.Compile(ctx, e, arch, binaries)
		b.emit(Event{Kind: Finished, Task: task, Detail: "cached", Err: err})
		return found, err
	}
	select {
	case w.places <- struct{}{}:
		defer func() { <-w.places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b.emit(Event{Kind: Started, Task: task, Detail: "compiling"})
	err := w.prefetch[i]()
	var made map[string]rootfs.Content
	if err == nil {
		made, err = b.Compiler.Compile(ctx, e, arch, binaries)
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
