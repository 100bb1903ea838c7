package main

import (
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// strayGrace is how long output is still read after the command has ended, when a process
// that it left holds the pipe open.
const strayGrace = 250 * time.Millisecond

// output carries what the command writes into a pipe on to a port. With a pipe the command
// can reopen /dev/stdout; a port can be open only once.
type output struct {
	far   *os.File
	near  *os.File
	count int64
	ended atomic.Bool
	done  chan struct{}
}

func newOutput(name string) (*output, error) {
	port, err := openPort(name, syscall.O_WRONLY)
	if err != nil {
		return nil, err
	}
	near, far, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	o := &output{far: far, near: near, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		o.carry(port)
	}()
	return o, nil
}

func (o *output) carry(port io.Writer) {
	buffer := make([]byte, 32<<10)
	for {
		if o.ended.Load() {
			_ = o.near.SetReadDeadline(time.Now().Add(strayGrace))
		}
		n, err := o.near.Read(buffer)
		if n > 0 {
			if _, werr := port.Write(buffer[:n]); werr != nil {
				return
			}
			o.count += int64(n)
		}
		if err != nil {
			return
		}
	}
}

// finish returns once all output of the command has been carried.
func (o *output) finish() int64 {
	o.ended.Store(true)
	_ = o.near.SetReadDeadline(time.Now().Add(strayGrace))
	<-o.done
	return o.count
}
