//go:build linux

package main

// The program works in a PID, a mount and a network namespace of its own. The network
// namespace has no link to the machine's, so no packet leaves it. When the first process
// in the PID namespace ends, for whatever reason, the kernel ends all others, and removes
// the network namespaces and mounts.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// insideVariable is set in the environment of processes in the sandbox.
const insideVariable = "WILD_INSIDE"

func insideSandbox() bool { return os.Getenv(insideVariable) != "" }

// runInSandbox runs this program again, with the same arguments, as the first process of
// its own PID, mount and network namespaces. It returns its exit status.
func runInSandbox() (int, error) {
	// The child gets its Pdeathsig when this thread ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, os.Args[1:]...) //nolint:noctx,gosec // signals end it, below; the arguments are the same
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Geteuid() != 0 { // be root in a user namespace, if that is allowed
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("make namespaces, which needs root or user namespaces: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case <-signals:
			_ = cmd.Process.Signal(syscall.SIGTERM)
			time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		case err := <-ended:
			if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
				return 0, fmt.Errorf("wait for the sandbox: %w", err)
			}
			if code := cmd.ProcessState.ExitCode(); code >= 0 {
				return code, nil
			}
			return 0, fmt.Errorf("the sandbox ended: %v", cmd.ProcessState)
		}
	}
}

// enterSandbox prepares the namespaces. It runs in their first process.
func enterSandbox(ctx context.Context) error {
	if os.Getpid() != 1 {
		return errors.New("not in a PID namespace of its own")
	}
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"none", "/", "", unix.MS_REC | unix.MS_PRIVATE}, // later mounts stay in this namespace
		{"proc", "/proc", "proc", 0},
		{"tmpfs", "/run", "tmpfs", 0}, // ip keeps the names of network namespaces there
	} {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return runIP(ctx, "", "link", "set", "lo", "up")
}
