//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// result is what `etcdimg build --output json` prints.
type result struct {
	Profile string        `json:"profile"`
	Output  string        `json:"output"`
	Tags    []string      `json:"tags"`
	Digest  string        `json:"digest"` // of the index
	Images  []imageResult `json:"images"`

	Log string `json:"-"` // standard error
}

type imageResult struct {
	Arch   string        `json:"arch"`
	Digest string        `json:"digest"`
	Layers []layerResult `json:"layers"`
}

type layerResult struct {
	Digest     string   `json:"digest"`
	DiffID     string   `json:"diffID"`
	Size       int64    `json:"size"`
	MediaType  string   `json:"mediaType"`
	Components []string `json:"components"`
}

func (r *result) image(arch string) (imageResult, bool) {
	for _, i := range r.Images {
		if i.Arch == arch {
			return i, true
		}
	}
	return imageResult{}, false
}

// command is one run of etcdimg: argv and what is special about its
// surroundings.
type command struct {
	argv []string
	dir  string
	env  map[string]string // added to, or replacing, the environment of the tests; "" removes
	attr syscall.SysProcAttr
}

// command returns a run of the command under test with the shared cache.
func (l *lab) command(args ...string) *command {
	return &command{
		argv: append([]string{l.bin}, args...),
		dir:  l.root,
		env:  map[string]string{"ETCDIMG_CACHE": l.cache},
	}
}

// with sets an environment variable.
func (c *command) with(key, value string) *command {
	c.env[key] = value
	return c
}

// start starts the command in a session of its own, so that a Ctrl-C at the
// tests does not reach it by itself and its children can be found again.
func (c *command) start(stdout, stderr *bytes.Buffer) (*exec.Cmd, error) {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Dir = c.dir
	cmd.Stdout, cmd.Stderr = stdout, stderr
	for _, kv := range os.Environ() {
		key, _, _ := strings.Cut(kv, "=")
		if _, ok := c.env[key]; !ok {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	for key, value := range c.env {
		if value != "" {
			cmd.Env = append(cmd.Env, key+"="+value)
		}
	}
	attr := c.attr
	attr.Setsid = true
	cmd.SysProcAttr = &attr
	// A grandchild that outlives the command must not keep Wait waiting.
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", strings.Join(c.argv, " "), err)
	}
	return cmd, nil
}

// run runs the command to its end. The error, if any, has what it printed to
// standard error.
func (c *command) run(ctx context.Context) (stdout, stderr string, err error) {
	var out, log bytes.Buffer
	cmd, err := c.start(&out, &log)
	if err != nil {
		return "", "", err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	if err := cmd.Wait(); err != nil {
		return out.String(), log.String(), fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{filepath.Base(c.argv[0])}, c.argv[1:]...), " "), err, tail(log.String(), 60))
	}
	return out.String(), log.String(), nil
}

// build runs a build that has --output json.
func (c *command) build(ctx context.Context) (*result, error) {
	stdout, stderr, err := c.run(ctx)
	if err != nil {
		return nil, err
	}
	r := &result{Log: stderr}
	if err := json.Unmarshal([]byte(stdout), r); err != nil {
		return nil, fmt.Errorf("standard output of %s is not the JSON that was asked for: %w\n%s", strings.Join(c.argv, " "), err, stdout)
	}
	if r.Digest == "" || len(r.Images) == 0 {
		return nil, fmt.Errorf("%s names no digest or no image: %s", strings.Join(c.argv, " "), stdout)
	}
	return r, nil
}

// mustBuild is build for a test that can not go on without.
func (c *command) mustBuild(t testing.TB) *result {
	t.Helper()
	start := time.Now()
	r, err := c.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %s", strings.Join(c.argv[1:], " "), time.Since(start).Round(10*time.Millisecond))
	return r
}

// mustFail runs a command that has to end with status 1, and returns what it
// said.
func (c *command) mustFail(t testing.TB) string {
	t.Helper()
	stdout, stderr, err := c.run(t.Context())
	if err == nil {
		t.Fatalf("%s succeeded, but should have failed\n%s%s", strings.Join(c.argv, " "), stdout, stderr)
	}
	if exit, ok := unwrapExit(err); !ok || exit.ExitCode() != 1 {
		t.Fatalf("want exit status 1: %v", err)
	}
	if stdout != "" {
		t.Errorf("a failed command printed a result:\n%s", stdout)
	}
	return stderr
}

// tail returns the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
