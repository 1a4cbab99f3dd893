package redisstorage

import (
	"os/exec"
	"syscall"
)

// endWithThread has a process killed when the thread that started it ends.
func endWithThread(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
