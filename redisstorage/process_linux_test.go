package redisstorage

import (
	"os/exec"
	"syscall"
)

// killWithThread makes the kernel kill the process of cmd when the thread that starts it
// ends. So the process does not outlive a test run that crashes.
func killWithThread(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
