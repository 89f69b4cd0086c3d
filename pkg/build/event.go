package build

import (
	"github.com/etcdimg/etcdimg/pkg/lock"
	"github.com/etcdimg/etcdimg/pkg/profile"
)

// Event tells what a build is doing. Events of one task come in order.
type Event struct {
	Kind   Kind
	Task   string   // "etcd 3.6.16 arm64"; empty for Planned
	Tasks  []string // of Planned: all tasks of the build, in order
	Detail string   // a word or two: "compiling", "cached"
	Err    error    // of Finished: why the task failed
}

// Kind is what an event tells.
type Kind int

// The kinds of events.
const (
	Planned    Kind = iota // the build starts, or starts over
	Started                // work on a task begins
	Progressed             // a task does something else now
	Finished               // a task is done, or has failed
)

func (b *Builder) emit(e Event) {
	if b.Events != nil {
		b.Events(e)
	}
}

func (b *Builder) finish(task string, err error) {
	b.emit(Event{Kind: Finished, Task: task, Detail: "done", Err: err})
}

func etcdTask(e lock.Etcd, arch string) string { return "etcd " + e.Version + " " + arch }
func migrateTask(arch string) string           { return "migrate " + arch }
func packagesTask(arch profile.Arch) string    { return "packages " + string(arch) }
func imageTask(arch profile.Arch) string       { return "image " + string(arch) }

func tasks(l *lock.Lock, archs []profile.Arch) []string {
	var all []string
	for _, arch := range archs {
		for _, e := range l.Etcd {
			all = append(all, etcdTask(e, string(arch)))
		}
		if l.Migrate != nil {
			all = append(all, migrateTask(string(arch)))
		}
		for _, set := range l.Debian {
			if set.Arch == string(arch) {
				all = append(all, packagesTask(arch))
			}
		}
		all = append(all, imageTask(arch))
	}
	return all
}
