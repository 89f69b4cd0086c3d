package etcd

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Command is one process to run.
type Command struct {
	Path   string    // absolute path of the program
	Args   []string  // without the program's own name
	Env    []string  // the complete environment
	Dir    string    // working directory
	Stdout io.Writer // nil discards
	Stderr io.Writer // nil discards
}

// Runner runs processes. When ctx ends, Run ends the process together with
// every process that it started, and returns only when they are gone.
type Runner interface {
	Run(ctx context.Context, c Command) error
}

// Processes is the Runner that starts real processes, each as the leader of a
// process group of its own, so that the compilers that a go command started
// end with it.
type Processes struct{}

// grace is how long a process group may take to end after it was asked to,
// before it is killed.
const grace = 2 * time.Second

// Run implements Runner.
func (Processes) Run(ctx context.Context, c Command) error {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.Env, c.Dir, c.Stdout, c.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); !errors.Is(err, syscall.ESRCH) {
			return err
		}
		return os.ErrProcessDone
	}
	cmd.WaitDelay = grace
	err := cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil {
		// Whoever outlived the leader. The wait is bounded because a process
		// that its parent never reaps stays in the group for ever.
		for deadline := time.Now().Add(grace); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) != nil {
				break
			}
		}
		return context.Cause(ctx)
	}
	return err
}
