package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// process is one program run.
type process struct {
	argv []string
	dir  string
	env  map[string]string // beside the environment of this process
}

// cost is what a program run took.
type cost struct {
	wall time.Duration
	cpu  time.Duration // of all of its processes; what else the machine does hardly changes it
	peak int64         // bytes of resident memory, of the largest of its processes
}

// run runs the program to its end.
func (p *process) run(ctx context.Context) (string, cost, error) {
	cmd := exec.CommandContext(ctx, p.argv[0], p.argv[1:]...)
	cmd.Dir = p.dir
	cmd.Env = os.Environ()
	for key, value := range p.env {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return "", cost{}, fmt.Errorf("%s %s: %w\n%s", filepath.Base(p.argv[0]), strings.Join(p.argv[1:], " "), err, stderr.Bytes())
	}
	// getrusage(2): the maximum is over the process and its descendants, in
	// KiB on Linux. A child's begins at its parent's: this program is small.
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return stdout.String(), cost{wall, cpu, usage.Maxrss << 10}, nil
}

func (p *process) output(ctx context.Context) (string, error) {
	out, _, err := p.run(ctx)
	return out, err
}

func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	return (&process{argv: append([]string{name}, args...), dir: dir}).output(ctx)
}

// median returns the middle ones of the times, and the largest memory.
func median(costs []cost) cost {
	walls, cpus := make([]time.Duration, len(costs)), make([]time.Duration, len(costs))
	var peak int64
	for i, c := range costs {
		walls[i], cpus[i], peak = c.wall, c.cpu, max(peak, c.peak)
	}
	slices.Sort(walls)
	slices.Sort(cpus)
	return cost{walls[len(walls)/2], cpus[len(cpus)/2], peak}
}

func (c cost) String() string {
	return fmt.Sprintf("%s, %.0f MiB", seconds(c.wall), mebibytes(c.peak))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3g s", d.Seconds()) }
func mebibytes(n int64) float64      { return float64(n) / (1 << 20) }
