package dm

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// WaitEvent implements [Kernel]. From protocol 4.37 on it polls a second handle of
// the control node, so that the end of ctx ends the wait at once. Older kernels
// have only DM_DEV_WAIT, which returns at an event and at nothing else. After the
// end of ctx its thread stays in the kernel until the device's next event or removal.
func (c *Control) WaitEvent(ctx context.Context, ref Ref, seen uint32) (uint32, error) {
	if !c.version.AtLeast(4, 37) {
		return c.blockForEvent(ctx, ref, seen)
	}
	node, err := openNode(c.options.Dir)
	if err != nil {
		return 0, err
	}
	defer node.Close()
	wake, err := newWaker(ctx)
	if err != nil {
		return 0, err
	}
	defer wake.close()
	for {
		// Arm before reading the event number: an event in between then ends the poll.
		arm := newRequest(unix.DM_DEV_ARM_POLL, "arm poll for", ref, 0)
		arm.header().Name, arm.header().Uuid, arm.header().Dev = [128]byte{}, [129]byte{}, 0
		if errno := rawIoctl(node.Fd(), arm); errno != 0 {
			return 0, arm.fail(errno)
		}
		info, err := c.Info(ctx, ref)
		if err != nil {
			return 0, err
		}
		if info.EventNr != seen {
			return info.EventNr, nil
		}
		if err := ctx.Err(); err != nil {
			return seen, err
		}
		if err := wake.poll(node); err != nil {
			return 0, fmt.Errorf("device mapper: wait for an event of %s: %w", ref, err)
		}
	}
}

func (c *Control) blockForEvent(ctx context.Context, ref Ref, seen uint32) (uint32, error) {
	type result struct {
		event uint32
		err   error
	}
	done := make(chan result, 1)
	go func() {
		r := newRequest(unix.DM_DEV_WAIT, "wait for an event of", ref, answerSize)
		r.header().Event_nr = seen
		err := c.do(r)
		done <- result{r.header().Event_nr, err}
	}()
	select {
	case r := <-done:
		return r.event, r.err
	case <-ctx.Done():
		return seen, ctx.Err()
	}
}

// waker holds an eventfd that becomes readable for poll(2) when a context ends.
type waker struct {
	event *os.File
	stop  func() bool
}

func newWaker(ctx context.Context) (*waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("device mapper: eventfd: %w", err)
	}
	w := &waker{event: os.NewFile(uintptr(fd), "eventfd")}
	w.stop = context.AfterFunc(ctx, func() {
		_, _ = w.event.Write([]byte{7: 1}) // it fails if the wait is over and the file is closed
	})
	return w, nil
}

func (w *waker) poll(node *os.File) error {
	fds := []unix.PollFd{
		{Fd: int32(node.Fd()), Events: unix.POLLIN},
		{Fd: int32(w.event.Fd()), Events: unix.POLLIN},
	}
	if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
		return err
	}
	return nil
}

func (w *waker) close() {
	w.stop()
	w.event.Close()
}
