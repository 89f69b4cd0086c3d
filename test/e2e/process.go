//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func unwrapExit(err error) (*exec.ExitError, bool) {
	var exit *exec.ExitError
	ok := errors.As(err, &exit)
	return exit, ok
}

// process is one line of the process table.
type process struct {
	pid  int
	name string
}

// sessionProcesses lists the living processes of a session, whatever process
// group they are in and whoever their parent is by now.
func sessionProcesses(session int) ([]process, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var found []process
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// proc(5): pid (comm) state ppid pgrp session …; comm may hold anything.
		open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
		if open < 0 || end < open {
			return nil, fmt.Errorf("%s has an unknown form: %q", path, b)
		}
		fields := strings.Fields(string(b[end+1:]))
		if len(fields) < 4 {
			return nil, fmt.Errorf("%s has an unknown form: %q", path, b)
		}
		if fields[0] == "Z" || fields[0] == "X" || fields[3] != strconv.Itoa(session) {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(b[:open])))
		if err != nil {
			return nil, err
		}
		found = append(found, process{pid: pid, name: string(b[open+1 : end])})
	}
	return found, nil
}

// killSession ends what is left of a session that a test started.
func killSession(session int) error {
	for {
		left, err := sessionProcesses(session)
		if err != nil || len(left) == 0 {
			return err
		}
		for _, p := range left {
			if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("ending %s (%d): %w", p.name, p.pid, err)
			}
		}
	}
}
