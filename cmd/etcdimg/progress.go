package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/etcdimg/etcdimg/pkg/build"
)

// progress shows the events of a build: on a terminal one live line for every
// task under way and a total, elsewhere a line for each beginning and end.
type progress struct {
	w     io.Writer
	live  bool
	width int

	mu      sync.Mutex
	order   []string
	tasks   map[string]*taskState
	drawn   int // live lines on the screen
	started time.Time
	stop    chan struct{}
	stopped sync.WaitGroup
}

type taskState struct {
	detail   string
	started  time.Time
	running  bool
	finished bool
}

// newProgress draws to w; quiet draws nothing.
func newProgress(w io.Writer, quiet bool) *progress {
	p := &progress{w: w, tasks: map[string]*taskState{}, started: time.Now(), stop: make(chan struct{})}
	if quiet {
		p.w = io.Discard
		return p
	}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return p
	}
	p.live, p.width = true, 80
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 20 {
		p.width = width
	}
	p.stopped.Go(p.redraw)
	return p
}

func (p *progress) redraw() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.mu.Lock()
			p.erase()
			p.draw()
			p.mu.Unlock()
		}
	}
}

// close takes the live lines off the screen.
func (p *progress) close() {
	close(p.stop)
	p.stopped.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

// Write lets log lines pass between the live ones.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	return p.w.Write(b)
}

func (p *progress) event(e build.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.Kind == build.Planned {
		p.order = e.Tasks
		clear(p.tasks)
		for _, t := range e.Tasks {
			p.tasks[t] = &taskState{}
		}
		return
	}
	t, ok := p.tasks[e.Task]
	if !ok {
		return
	}
	t.detail = e.Detail
	switch e.Kind {
	case build.Started:
		t.running, t.started = true, time.Now()
		if !p.live {
			p.line(e.Task, e.Detail)
		}
	case build.Finished:
		took := ""
		if t.running {
			took = " in " + seconds(time.Since(t.started))
		}
		t.running, t.finished = false, true
		if e.Err != nil {
			p.line(e.Task, "failed"+took)
		} else {
			p.line(e.Task, e.Detail+took)
		}
	}
}

func (p *progress) line(task, words string) {
	p.erase()
	fmt.Fprintf(p.w, "%s: %s\n", task, words)
}

func (p *progress) erase() {
	if p.drawn > 0 {
		fmt.Fprintf(p.w, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

func (p *progress) draw() {
	done := 0
	for _, name := range p.order {
		t := p.tasks[name]
		if t.finished {
			done++
		}
		if t.running {
			p.liveLine(fmt.Sprintf("  %s: %s %s", name, t.detail, seconds(time.Since(t.started))))
		}
	}
	if len(p.order) > 0 {
		p.liveLine(fmt.Sprintf("%d of %d done, %s", done, len(p.order), seconds(time.Since(p.started))))
	}
}

func (p *progress) liveLine(s string) {
	if len(s) > p.width-1 {
		s = s[:p.width-1]
	}
	fmt.Fprintln(p.w, strings.ToValidUTF8(s, ""))
	p.drawn++
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
