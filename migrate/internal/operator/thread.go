package operator

import (
	"os/exec"
	"runtime"
)

// onOwnThread runs a command whose Pdeathsig must not fire early: the kernel
// ties it to the thread that started the command, not to the process.
func onOwnThread(cmd *exec.Cmd, done chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	done <- cmd.Run()
}
