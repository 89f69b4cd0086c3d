package server

import (
	"bytes"
	"strings"
	"sync"
)

// tail keeps the first and the last lines of a server's output.
type tail struct {
	mu    sync.Mutex
	first string // where old lines say which flag they do not know, before pages of usage
	lines []string
	part  bytes.Buffer
}

// tailLines is how many lines an error quotes, tailWidth how much of each.
const (
	tailLines = 6
	tailWidth = 400
)

func newTail() *tail { return &tail{} }

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range b {
		if c != '\n' {
			if t.part.Len() < tailWidth {
				t.part.WriteByte(c)
			}
			continue
		}
		t.end()
	}
	return len(b), nil
}

func (t *tail) end() {
	if line := strings.TrimSpace(t.part.String()); line != "" {
		if t.first == "" {
			t.first = line
		}
		t.lines = append(t.lines, line)
		if len(t.lines) > tailLines {
			t.lines = t.lines[1:]
		}
	}
	t.part.Reset()
}

// String is the last lines in one line, since errors are.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end()
	if len(t.lines) == 0 {
		return "(none)"
	}
	words := strings.Join(t.lines, " | ")
	if t.lines[0] != t.first {
		words = t.first + " | … | " + words
	}
	return words
}
