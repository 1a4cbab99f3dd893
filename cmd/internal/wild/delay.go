//go:build linux

package main

// A link with a delay. Not every kernel has netem, so a program delays the packets: it
// reads them from a TUN interface on one machine and writes them to one on another.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// delayConfig configures the program delay.
type delayConfig struct {
	Ends  [2]cableEnd   `json:"ends"`
	Delay time.Duration `json:"delay"` // in each direction
}

type cableEnd struct {
	Namespace string `json:"namespace"`
	Interface string `json:"interface"`
}

// runDelay makes two interfaces and carries packets between them.
func runDelay(ctx context.Context, c delayConfig, w io.Writer) error {
	a, err := openTUN(c.Ends[0])
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }()
	b, err := openTUN(c.Ends[1])
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	newPrinter(w).print(line{Kind: kindReady})
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return carry(ctx, a, b, c.Delay) })
	all.Go(func() error { return carry(ctx, b, a, c.Delay) })
	all.Go(func() error {
		<-ctx.Done()
		return errors.Join(a.Close(), b.Close()) // which ends reading
	})
	return all.Wait()
}

// openTUN makes a TUN interface in a namespace. An interface belongs to the namespace of
// the thread that makes it, so this needs a thread of its own.
func openTUN(end cableEnd) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		f, err := openTUNHere(end)
		made <- result{f, err}
	}()
	r := <-made
	if r.err != nil {
		return nil, fmt.Errorf("make interface %s in namespace %s: %w", end.Interface, end.Namespace, r.err)
	}
	return r.file, nil
}

func openTUNHere(end cableEnd) (*os.File, error) {
	namespace, err := os.Open("/run/netns/" + end.Namespace)
	if err != nil {
		return nil, err
	}
	defer func() { _ = namespace.Close() }()
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter: %w", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(end.Interface)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return nil, errors.Join(fmt.Errorf("TUNSETIFF: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), end.Interface), nil
}

// carry writes each packet that it reads, after a delay, until ctx ends.
func carry(ctx context.Context, from io.Reader, to io.Writer, delay time.Duration) error {
	type packet struct {
		due  time.Time
		data []byte
	}
	cable := make(chan packet, 10_000)
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		buf := make([]byte, 1<<16)
		for {
			n, err := from.Read(buf)
			if err != nil {
				return fmt.Errorf("read a packet: %w", err)
			}
			select {
			case cable <- packet{time.Now().Add(delay), append([]byte(nil), buf[:n]...)}:
			default: // a full link drops packets
			}
		}
	})
	all.Go(func() error {
		for {
			select {
			case p := <-cable:
				time.Sleep(time.Until(p.due))
				// This fails while the interface is down, and the packet is lost.
				_, _ = to.Write(p.data)
			case <-ctx.Done():
				return nil
			}
		}
	})
	return all.Wait()
}
