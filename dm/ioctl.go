package dm

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	headerSize = int(unsafe.Sizeof(unix.DmIoctl{}))
	// maxBuffer limits the size of an answer: a list of 100,000 devices with the
	// longest names takes about 32 MiB.
	maxBuffer = 64 << 20
)

// request is one ioctl and its buffer: the header, then the payload.
type request struct {
	cmd    uint
	op     string
	object string
	ref    Ref
	buf    []byte
	flags  uint32 // of the request; the kernel writes others into the header
}

// newRequest prepares a command for the device ref, with a payload of size bytes.
func newRequest(cmd uint, op string, ref Ref, size int) *request {
	r := &request{cmd: cmd, op: op, object: ref.String(), ref: ref, buf: make([]byte, headerSize+size)}
	r.reset()
	return r
}

// newControlRequest prepares a command for no device; object is for its error.
func newControlRequest(cmd uint, op, object string, size int) *request {
	r := newRequest(cmd, op, Ref{}, size)
	r.object = object
	return r
}

// minor returns the protocol's minor version that introduced a command. Kernels
// reject newer minor versions than their own, so each request carries the oldest.
func minor(cmd uint) uint32 {
	switch cmd {
	case unix.DM_LIST_VERSIONS:
		return 1
	case unix.DM_TARGET_MSG:
		return 2
	case unix.DM_DEV_ARM_POLL:
		return 37
	case unix.DM_GET_TARGET_VERSION:
		return 41
	}
	return 0
}

func (r *request) reset() {
	h := r.header()
	h.Version = [3]uint32{unix.DM_VERSION_MAJOR, minor(r.cmd), 0}
	h.Data_size = uint32(len(r.buf))
	h.Data_start = uint32(headerSize)
	h.Flags = r.flags
	if !r.ref.dev.IsZero() {
		h.Dev = unix.Mkdev(r.ref.dev.Major, r.ref.dev.Minor)
	}
	copy(h.Name[:], mangle(string(r.ref.name)))
	copy(h.Uuid[:], mangle(string(r.ref.uuid)))
}

// header returns the start of the buffer as a struct. Go aligns buffers of this
// size to at least 8 bytes, as the struct's uint64 requires.
func (r *request) header() *unix.DmIoctl { return (*unix.DmIoctl)(unsafe.Pointer(&r.buf[0])) }

func (r *request) payload() []byte { return r.buf[headerSize:] }

// answer returns the payload that the kernel wrote.
func (r *request) answer() []byte {
	h := r.header()
	start, end := int(h.Data_start), int(h.Data_size)
	if start < headerSize || end > len(r.buf) || start > end {
		return nil
	}
	return r.buf[start:end]
}

func (r *request) set(flag uint32) *request {
	r.flags |= flag
	r.header().Flags |= flag
	return r
}

// do runs r. It repeats r with a larger buffer while the answer does not fit, and
// after an interruption by a signal. Only commands without a payload have answers
// that may not fit, so the new buffer needs the header only.
func (c *Control) do(r *request) error {
	event := r.header().Event_nr
	for {
		errno := c.ioctl(r)
		switch {
		case errno == unix.EINTR:
			r.header().Flags = r.flags
			r.header().Event_nr = event
			continue
		case errno != 0:
			return r.fail(errno)
		case r.header().Flags&unix.DM_BUFFER_FULL_FLAG == 0:
			return nil
		case len(r.buf) >= maxBuffer:
			return r.fail(unix.ENOBUFS)
		}
		r.buf = make([]byte, 4*len(r.buf))
		r.reset()
	}
}

func (c *Control) ioctl(r *request) unix.Errno {
	return rawIoctl(c.node.Fd(), r)
}

func rawIoctl(fd uintptr, r *request) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uintptr(r.cmd), uintptr(unsafe.Pointer(&r.buf[0])))
	runtime.KeepAlive(r)
	return errno
}

func (r *request) fail(errno unix.Errno) error {
	e := &Error{Op: r.op, Object: r.object, Err: errno}
	e.setKind(r.cmd, errno)
	return e
}
