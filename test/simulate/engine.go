package main

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
)

// mode is where machines find what was made before.
type mode struct {
	name   string
	keep   bool // a machine's disk stays from one image to the next
	repo   bool // the registry's cache
	filled bool // it has everything already, and so has the registry
}

func modes() []mode {
	return []mode{
		{name: "no cache: every image begins with an empty disk"},
		{name: "disks that stay", keep: true},
		{name: "registry cache, empty at first", repo: true},
		{name: "registry cache, filled", repo: true, filled: true},
	}
}

// outcome is what a run took.
type outcome struct {
	seconds  float64 // until the last index is there
	longest  float64 // of one machine with one image
	cpu      float64 // seconds of all cores
	compiled int     // sets of programs: of one line for one architecture
	fetched  float64 // MB from mirrors and proxies
	received float64 // MB from the registry
	sent     float64 // MB to the registry
}

// step is one piece of a job. It begins with a look at what there is, and ends
// some seconds later, when what it made is there for others.
type step func(s *simulation, r *runner) (seconds float64, then func())

// job is an image, or an index.
type job struct {
	steps []step
	after func(s *simulation) // when it is done
}

// runner is a machine.
type runner struct {
	number  int
	free    float64 // the time at which it goes on
	begun   float64 // its job
	job     *job
	next    int
	pending func()          // what the step under way made
	disk    map[string]bool // what is on its disk
}

// simulation is one run. Whatever happens at the same time happens in the order
// of the machines' numbers, so that it has one outcome.
type simulation struct {
	mode    mode
	queue   []*job
	waiting runners // machines at work, the next one to go on first
	idle    runners
	now     float64
	repo    map[string]bool // what the registry's cache has
	target  map[string]bool // layers that the registry has
	outcome outcome
}

// simulate has so many machines build every image of every profile and line,
// and join them.
func simulate(m mode, machines int) outcome {
	s := &simulation{mode: m, repo: map[string]bool{}, target: map[string]bool{}}
	for i := range machines {
		s.idle = append(s.idle, &runner{number: i, disk: map[string]bool{}})
	}
	heap.Init(&s.idle)
	s.plan()
	for s.begin(); len(s.waiting) > 0; s.begin() {
		r := heap.Pop(&s.waiting).(*runner)
		s.now = r.free
		if r.pending != nil {
			r.pending()
			r.pending = nil
		}
		if r.next == len(r.job.steps) {
			s.outcome.longest = max(s.outcome.longest, s.now-r.begun)
			s.outcome.seconds = s.now
			done := r.job
			r.job = nil
			heap.Push(&s.idle, r)
			if done.after != nil {
				done.after(s)
			}
			continue
		}
		do := r.job.steps[r.next]
		r.next++
		seconds, then := do(s, r)
		r.free, r.pending = s.now+seconds, then
		heap.Push(&s.waiting, r)
	}
	return s.outcome
}

// begin gives jobs to machines that have none.
func (s *simulation) begin() {
	for len(s.queue) > 0 && len(s.idle) > 0 {
		r := heap.Pop(&s.idle).(*runner)
		r.job, r.next, r.begun, r.free = s.queue[0], 0, s.now, s.now
		s.queue = s.queue[1:]
		if !s.mode.keep {
			r.disk = map[string]bool{}
		}
		heap.Push(&s.waiting, r)
	}
}

// plan queues an image for each profile, line and architecture, in the order of
// etcdimg matrix; when the last one of an index is there, the index.
func (s *simulation) plan() {
	for _, k := range kinds() {
		for i := range lines() {
			missing := len(archs())
			for _, arch := range archs() {
				s.queue = append(s.queue, &job{steps: image(k, i, arch), after: func(s *simulation) {
					if missing--; missing == 0 {
						s.queue = append(s.queue, &job{steps: []step{start, index}})
					}
				}})
			}
		}
	}
}

func start(*simulation, *runner) (float64, func()) { return startSeconds, nil }

func index(s *simulation, _ *runner) (float64, func()) {
	bytes := statementSize * float64(len(archs()))
	s.outcome.received += bytes
	if !s.mode.filled {
		s.outcome.sent += statementSize
	}
	return joinSeconds + s.transfer(bytes+statementSize), nil
}

// image are the steps of one image.
func image(k kind, newest int, arch string) []step {
	steps := []step{start}
	first := newest
	if k.older {
		first = 0
	}
	for i := first; i <= newest; i++ {
		steps = append(steps, programs(k, lines()[i], arch))
	}
	steps = append(steps, packages(k, arch))
	for i := first; i <= newest; i++ {
		steps = append(steps, layer(k, lines()[i], arch))
	}
	return append(steps, statements())
}

// size is that of a line's programs in a profile.
func (l line) size(k kind) float64 {
	if k.clients {
		return l.server + l.clients
	}
	return l.server
}

// programs compiles a line, or finds it. A profile of etcd alone shares it with
// those that have all three.
func programs(k kind, l line, arch string) step {
	return func(s *simulation, r *runner) (float64, func()) {
		seconds := 0.0
		var then []func()
		for _, part := range []struct {
			name      string
			wanted    bool
			cpu, size float64
		}{
			{"etcd", true, l.server * serverCost, l.server},
			{"clients", k.clients, l.clients * clientCost, l.clients},
		} {
			name := fmt.Sprintf("programs %s %s %s", part.name, l.version, arch)
			if !part.wanted {
				continue
			}
			if took, ok := s.find(r, name, 1); ok {
				seconds += took
				continue
			}
			if part.name == "etcd" {
				s.outcome.compiled++
				seconds += s.fetch(r, "modules "+l.version, l.modules) + s.fetch(r, "toolchain", toolchain)
			}
			s.outcome.cpu += part.cpu
			seconds += part.cpu / parallel
			then = append(then, s.made(r, name, part.size, 1))
		}
		return seconds, all(then)
	}
}

// packages fetches and unpacks packages, and makes the layers of them, or finds
// that.
func packages(k kind, arch string) step {
	name := "packages " + k.name + " " + arch
	return func(s *simulation, r *runner) (float64, func()) {
		if took, ok := s.find(r, name, k.entries); ok {
			if s.mode.repo && !r.disk[name] {
				s.outcome.received += k.received
				took += s.transfer(k.received)
			}
			return took + s.push(name, k.base), nil
		}
		cpu := k.debs * packageCost
		s.outcome.cpu += cpu
		made := s.made(r, name, k.sent, k.entries)
		return s.fetch(r, "debs "+k.name+" "+arch, k.debs) + cpu/cores + s.push(name, k.base), made
	}
}

// layer compresses a line's programs, or finds that, and pushes them.
func layer(k kind, l line, arch string) step {
	size := l.size(k)
	name := fmt.Sprintf("layer %s %s %v %v", l.version, arch, k.clients, k.ratio)
	return func(s *simulation, r *runner) (float64, func()) {
		if took, ok := s.find(r, name, 1); ok {
			return took + s.push(name, size*k.ratio), nil
		}
		seconds := 0.0
		if made := "programs etcd " + l.version + " " + arch; s.repo[made] && !r.disk[made] {
			// They were found in the registry: compressing is what opens them.
			s.outcome.received += size
			seconds += s.transfer(size)
		}
		cpu := size * (compressCost + listCost)
		s.outcome.cpu += cpu
		made := s.made(r, name, size*k.ratio, 1)
		return seconds + cpu/cores + s.push(name, size*k.ratio), made
	}
}

// statements are made in no time, and pushed for every image.
func statements() step {
	return func(s *simulation, _ *runner) (float64, func()) {
		if s.mode.filled {
			return 6 * latency, nil
		}
		s.outcome.sent += statementSize
		return s.transfer(statementSize), nil
	}
}

// find looks a thing up: on the disk, then in the registry's cache.
func (s *simulation) find(r *runner, name string, entries int) (float64, bool) {
	switch {
	case r.disk[name]:
		return 0, true
	case !s.mode.repo:
		return 0, false
	}
	asked := float64(entries) * requests * latency / atOnce
	if !s.mode.filled && !s.repo[name] {
		return asked, false
	}
	s.outcome.received += float64(entries) * recordBytes
	return asked + s.transfer(float64(entries)*recordBytes), true
}

// made puts a thing onto the disk, and, in its own time, into the registry's
// cache, where others find it then.
func (s *simulation) made(r *runner, name string, size float64, entries int) func() {
	if s.mode.repo && !s.repo[name] {
		s.outcome.sent += size + float64(entries)*recordBytes
	}
	return func() {
		r.disk[name] = true
		if s.mode.repo {
			s.repo[name] = true
		}
	}
}

// fetch brings something from a mirror or a proxy.
func (s *simulation) fetch(r *runner, name string, size float64) float64 {
	if r.disk[name] {
		return 0
	}
	r.disk[name] = true
	s.outcome.fetched += size
	return size / ownBandwidth
}

// push sends a layer to the registry, if it has it not: out of the registry's
// own cache nothing travels.
func (s *simulation) push(name string, size float64) float64 {
	if s.mode.filled || s.target[name] {
		return latency
	}
	s.target[name] = true
	if s.mode.repo {
		return 2 * latency
	}
	s.outcome.sent += size
	return s.transfer(size)
}

// transfer is how long so many MB take to or from the registry, which the
// machines at work share.
func (s *simulation) transfer(size float64) float64 {
	share := repoBandwidth / float64(len(s.waiting)+1)
	return size / min(ownBandwidth, share)
}

func all(fs []func()) func() {
	return func() {
		for _, f := range fs {
			f()
		}
	}
}

// runners are ordered by when they go on, then by number. It is a heap.
type runners []*runner

func (r runners) Len() int { return len(r) }
func (r runners) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(r[i].free, r[j].free), cmp.Compare(r[i].number, r[j].number)) < 0
}
func (r runners) Swap(i, j int) { r[i], r[j] = r[j], r[i] }
func (r *runners) Push(x any)   { *r = append(*r, x.(*runner)) }
func (r *runners) Pop() any {
	last := len(*r) - 1
	x := (*r)[last]
	*r = slices.Delete(*r, last, last+1)
	return x
}
