package dm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// What went wrong, for errors.Is.
var (
	// ErrNoDeviceMapper: the kernel has no device mapper, or its control node
	// cannot be made. Every command.
	ErrNoDeviceMapper = errors.New("no device mapper in this kernel: load it with `modprobe dm_mod`")
	// ErrPermission: the caller may not use the control node. Every command.
	ErrPermission = errors.New("no permission: the device mapper needs root (CAP_SYS_ADMIN)")
	// ErrProtocol: the kernel speaks another protocol. Every command.
	ErrProtocol = errors.New("the kernel's device mapper protocol is not known to this program")
	// ErrNoTarget: the kernel lacks the target. TargetVersion, Load.
	ErrNoTarget = errors.New("no such target in this kernel")
	// ErrNotFound: no device has that name, uuid or number. All but Create.
	ErrNotFound = errors.New("no such device")
	// ErrExists: the name, uuid or thin id is taken. Create, Rename, Message.
	ErrExists = errors.New("exists already")
	// ErrBusy: somebody has the device open, or a pool holds a metadata
	// snapshot already. Remove, Message.
	ErrBusy = errors.New("in use")
	// ErrNoThinDevice: the pool has no thin device of that id. Message, Load.
	ErrNoThinDevice = errors.New("the pool has no thin device of that id")
	// ErrRefused: the pool's mode (read-only, failed) forbids it. Message.
	ErrRefused = errors.New("refused: the pool is read-only or has failed")
	// ErrNoSpace: the pool has no metadata or data space for it. Message.
	ErrNoSpace = errors.New("the pool is out of space")
)

// Error is a device mapper command that failed.
type Error struct {
	Op     string // the command, such as "create" or "message create_thin 7"
	Device string // the device it was meant for, empty for the control node
	Errno  unix.Errno
	Kind   error // one of the sentinels of this package, or nil
}

func (e *Error) Error() string {
	text := "device mapper: " + e.Op
	if e.Device != "" {
		text += " " + e.Device
	}
	if e.Kind != nil {
		text += ": " + e.Kind.Error()
	}
	if e.Errno != 0 {
		text += fmt.Sprintf(" (%s: %v)", unix.ErrnoName(e.Errno), e.Errno)
	}
	return text
}

// Unwrap yields the sentinel and the errno, for errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	var wrapped []error
	if e.Kind != nil {
		wrapped = append(wrapped, e.Kind)
	}
	if e.Errno != 0 {
		wrapped = append(wrapped, e.Errno)
	}
	return wrapped
}
