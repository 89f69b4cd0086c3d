package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables into docs/ci/scaling.md")

// The document's tables are what the simulation prints.
func TestTheDocumentHasTheTables(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "ci", "scaling.md")
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- go run ./test/simulate -->\n", "<!-- end -->\n"
	before, rest, ok := strings.Cut(string(text), begin)
	has, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s lacks the lines %q and %q", page, begin, end)
	}
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+b.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if has != b.String() {
		t.Errorf("%s has other tables than the simulation: go test ./test/simulate -update\n%s", page, b.String())
	}
}

func TestTheSimulationHasOneOutcome(t *testing.T) {
	for _, m := range modes() {
		first := simulate(m, 16)
		for range 3 {
			if again := simulate(m, 16); again != first {
				t.Errorf("%s: %+v and %+v", m.name, first, again)
			}
		}
	}
}

// What must hold whatever the figures are.
func TestTheSimulationIsSane(t *testing.T) {
	sets := len(lines()) * len(archs())
	for _, m := range modes() {
		last := simulate(m, 1)
		for _, n := range machines()[1:] {
			o := simulate(m, n)
			if o.seconds > last.seconds || o.seconds < o.longest {
				t.Errorf("%s: %d machines take %.0f s, fewer %.0f s, one image %.0f s", m.name, n, o.seconds, last.seconds, o.longest)
			}
			if o.compiled < last.compiled {
				t.Errorf("%s: %d machines compile %d, fewer %d", m.name, n, o.compiled, last.compiled)
			}
			last = o
		}
	}
	for _, tt := range []struct {
		mode     mode
		machines int
		compiled int
	}{
		{mode{keep: true}, 1, sets},
		{mode{repo: true}, 1, sets},
		{mode{repo: true, filled: true}, 1, 0},
		{mode{repo: true, filled: true}, 64, 0},
	} {
		if o := simulate(tt.mode, tt.machines); o.compiled != tt.compiled {
			t.Errorf("%+v, %d machines: compiled %d, want %d", tt.mode, tt.machines, o.compiled, tt.compiled)
		}
	}
	if o := simulate(mode{repo: true, filled: true}, 4); o.fetched != 0 || o.sent > 5 {
		t.Errorf("a filled registry: fetched %.1f MB, sent %.1f MB", o.fetched, o.sent)
	}
}
