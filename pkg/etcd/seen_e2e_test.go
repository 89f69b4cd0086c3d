//go:build e2e

package etcd_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/etcdimg/etcdimg/pkg/etcd"
)

// seenFile is the table of what the tests of lines saw, for people.
const seenFile = "../../docs/etcd-seen.md"

const seenText = `# What was seen of etcd's lines

Each cell is the size of all programs of a version for an architecture, and says
that the tests have seen them there, natively on amd64, else emulated:

- compiled from their modules, as static programs;
- each print its version;
- etcd take a put and a get from its own etcdctl;
- etcd killed by SIGKILL, started again, and give what was put.

` + "`make test` sees all lines on amd64 and 3.5 to 3.7 everywhere, `make test-all` everything." + `
A dash is what has not been seen. Compiling is reproducible, so another size is
another program, and a failure of the test that writes this table:

    ETCDIMG_ALL=1 go test -tags e2e -timeout 3h ./pkg/etcd -run TestLineCompilesAndServes -update

`

var seenArchs = []string{"amd64", "arm64", "ppc64le", "s390x"}

// seen is a table of cells, by version and architecture.
type seen struct {
	mu    sync.Mutex
	cells map[[2]string]string
}

func (s *seen) note(version, arch string, programs map[string]etcd.Content) {
	var size int64
	for _, p := range programs {
		size += p.Size()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cells == nil {
		s.cells = map[[2]string]string{}
	}
	s.cells[[2]string{version, arch}] = fmt.Sprintf("%.2f MB", float64(size)/1e6)
}

// compare holds what was seen against the file, or puts it there with -update.
func (s *seen) compare(t *testing.T) {
	old, err := os.ReadFile(seenFile)
	if err != nil && !*update {
		t.Fatal(err)
	}
	documented := parseSeen(string(old))
	for at, cell := range s.cells {
		switch {
		case documented[at] == cell:
			continue
		case *update:
		case documented[at] == "":
			t.Logf("etcd %s for %s was seen; %s has a dash there, which -update replaces", at[0], at[1], seenFile)
		default:
			t.Errorf("etcd %s for %s: %s was seen, and %s says %q; run the test with -update", at[0], at[1], cell, seenFile, documented[at])
		}
		documented[at] = cell
	}
	if *update {
		if err := os.WriteFile(seenFile, []byte(seenText+printSeen(documented)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func parseSeen(text string) map[[2]string]string {
	cells := map[[2]string]string{}
	for line := range strings.Lines(text) {
		row := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(row) != 1+len(seenArchs) {
			continue
		}
		for i, arch := range seenArchs {
			if cell := strings.TrimSpace(row[1+i]); strings.HasSuffix(cell, " MB") {
				cells[[2]string{strings.TrimSpace(row[0]), arch}] = cell
			}
		}
	}
	return cells
}

func printSeen(cells map[[2]string]string) string {
	var b strings.Builder
	b.WriteString("| version | " + strings.Join(seenArchs, " | ") + " |\n|" + strings.Repeat("---|", 1+len(seenArchs)) + "\n")
	for _, l := range etcd.Lines() {
		b.WriteString("| " + l.Newest)
		for _, arch := range seenArchs {
			b.WriteString(" | " + dash(cells[[2]string{l.Newest, arch}]))
		}
		b.WriteString(" |\n")
	}
	return b.String()
}
