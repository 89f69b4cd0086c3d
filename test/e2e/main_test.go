//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// shared is set once, before the first test.
var shared *lab

func TestMain(m *testing.M) {
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	l, err := newLab(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	shared = l
	code := m.Run()
	if err := l.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if len(l.notRun) > 0 {
		fmt.Printf("\n*** %d tests were NOT RUN on this machine:\n", len(l.notRun))
		for _, line := range l.notRun {
			fmt.Println("***   " + line)
		}
	}
	return code
}
