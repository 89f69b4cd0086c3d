package main

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/build"
)

var events = []build.Event{
	{Kind: build.Planned, Tasks: []string{"etcd 3.6.16 amd64", "image amd64"}},
	{Kind: build.Started, Task: "etcd 3.6.16 amd64", Detail: "compiling"},
	{Kind: build.Progressed, Task: "etcd 3.6.16 amd64", Detail: "compiling runtime"},
	{Kind: build.Finished, Task: "etcd 3.6.16 amd64", Detail: "done"},
	{Kind: build.Finished, Task: "image amd64", Detail: "done", Err: errors.New("full disk")},
}

var figures = regexp.MustCompile(`[0-9]+\.[0-9]s`)

func TestProgressElsewhereThanOnATerminalIsPlainLines(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, false)
	for _, e := range events {
		p.event(e)
	}
	p.close()
	got := figures.ReplaceAllString(out.String(), "N")
	const want = "etcd 3.6.16 amd64: compiling\netcd 3.6.16 amd64: done in N\nimage amd64: failed\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestQuietProgressIsNone(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, true)
	for _, e := range events {
		p.event(e)
	}
	p.close()
	if out.Len() > 0 {
		t.Errorf("got %q", out.String())
	}
}

func TestProgressOnATerminalIsALineForEachTaskAndATotal(t *testing.T) {
	var out bytes.Buffer
	p := &progress{w: &out, live: true, width: 40, tasks: map[string]*taskState{}, stop: make(chan struct{})}
	for _, e := range events[:3] {
		p.event(e)
	}
	p.draw()
	got := figures.ReplaceAllString(out.String(), "N")
	if want := "  etcd 3.6.16 amd64: compiling runtime \n0 of 2 done, "; !strings.HasPrefix(got, want[:30]) || !strings.Contains(got, "\n0 of 2 done, ") {
		t.Errorf("live lines are %q", got)
	}
	for line := range strings.Lines(got) {
		if len(line) > p.width {
			t.Errorf("line %q is wider than the terminal", line)
		}
	}
	out.Reset()
	p.event(events[3])
	if got := out.String(); !strings.HasPrefix(got, "\x1b[2A\x1b[J") || !strings.Contains(got, "etcd 3.6.16 amd64: done in ") {
		t.Errorf("the live lines are not taken back before a line that stays: %q", got)
	}
	out.Reset()
	p.draw()
	p.close()
	if got := out.String(); !strings.HasPrefix(got, "1 of 2 done, ") || !strings.HasSuffix(got, "\x1b[1A\x1b[J") {
		t.Errorf("the total is not taken back at the end: %q", got)
	}
}
