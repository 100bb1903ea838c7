package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
)

// devices are the floor's requests to device mapper.
type devices interface {
	bringUp(ctx context.Context, name dm.Name, table dm.Target, readOnly bool) (blockdev.Number, error)
	remove(ctx context.Context, name dm.Name) error
	message(ctx context.Context, name dm.Name, text string) error
	info(ctx context.Context, name dm.Name) error
	status(ctx context.Context, name dm.Name) error
	close() error
}

// scanNot are flags that keep udev's rules from reading a device, or the next removal would
// find it open (libdevmapper.h, DM_UDEV_DISABLE_*_RULES_FLAG and
// DM_UDEV_PRIMARY_SOURCE_FLAG; without a semaphore below them no process waits).
const scanNot = (0x0002 | 0x0004 | 0x0008 | 0x0040) << 16

// bare are the ioctls alone: no wait for udev, and no node but the kernel's.
type bare struct{ node *os.File }

func openBare() (bare, error) {
	node, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	return bare{node}, err
}

// call sends one ioctl (linux/dm-ioctl.h), with the data that follow its header.
func (b bare) call(request uintptr, name dm.Name, flags uint32, targets uint32, with []byte) (blockdev.Number, error) {
	const space = 4096
	header := int(unsafe.Sizeof(unix.DmIoctl{}))
	buffer := make([]uint64, (header+space)/8)
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&buffer[0])), 8*len(buffer))
	h := (*unix.DmIoctl)(unsafe.Pointer(&buffer[0]))
	h.Version, h.Data_size, h.Data_start = [3]uint32{4, 0, 0}, uint32(len(raw)), uint32(header)
	h.Flags, h.Target_count = flags, targets
	if request == unix.DM_DEV_SUSPEND {
		h.Event_nr = scanNot
	}
	copy(h.Name[:], name)
	copy(raw[header:], with)
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, b.node.Fd(), request, uintptr(unsafe.Pointer(h)))
		switch errno {
		case 0:
			return blockdev.NumberOf(h.Dev), nil
		case unix.EINTR:
		default:
			return blockdev.Number{}, fmt.Errorf("ioctl %#x of %s: %w", request, name, errno)
		}
	}
}

func (b bare) bringUp(_ context.Context, name dm.Name, table dm.Target, readOnly bool) (blockdev.Number, error) {
	dev, err := b.call(unix.DM_DEV_CREATE, name, 0, 0, nil)
	if err != nil {
		return dev, err
	}
	line := table.Line()
	spec := unix.DmTargetSpec{Length: uint64(line.Length)}
	copy(spec.Target_type[:], line.Type)
	var with bytes.Buffer
	with.Write(unsafe.Slice((*byte)(unsafe.Pointer(&spec)), unsafe.Sizeof(spec)))
	with.WriteString(line.Params)
	flags := uint32(0)
	if readOnly {
		flags = unix.DM_READONLY_FLAG
	}
	if _, err := b.call(unix.DM_TABLE_LOAD, name, flags, 1, with.Bytes()); err != nil {
		return dev, err
	}
	_, err = b.call(unix.DM_DEV_SUSPEND, name, 0, 0, nil) // without the flag it resumes
	return dev, err
}

func (b bare) remove(_ context.Context, name dm.Name) error {
	_, err := b.call(unix.DM_DEV_REMOVE, name, 0, 0, nil)
	return err
}

func (b bare) message(_ context.Context, name dm.Name, text string) error {
	_, err := b.call(unix.DM_TARGET_MSG, name, 0, 0, append(make([]byte, 8), text...)) // to sector 0
	return err
}

func (b bare) info(_ context.Context, name dm.Name) error {
	_, err := b.call(unix.DM_DEV_STATUS, name, 0, 0, nil)
	return err
}

func (b bare) status(_ context.Context, name dm.Name) error {
	_, err := b.call(unix.DM_TABLE_STATUS, name, unix.DM_NOFLUSH_FLAG, 0, nil)
	return err
}

func (b bare) close() error { return b.node.Close() }

// waiting are the same with the wait for udev, as libdevmapper's programs do.
type waiting struct{ kernel *dm.Control }

func (w waiting) bringUp(ctx context.Context, name dm.Name, table dm.Target, readOnly bool) (blockdev.Number, error) {
	info, err := w.kernel.Create(ctx, name, "")
	if err == nil {
		err = w.kernel.Load(ctx, dm.ByName(name), []dm.Target{table}, dm.LoadOptions{ReadOnly: readOnly})
	}
	if err == nil {
		_, err = w.kernel.Resume(ctx, dm.ByName(name), dm.ResumeOptions{Private: true})
	}
	return info.Dev, err
}

func (w waiting) remove(ctx context.Context, name dm.Name) error {
	_, err := w.kernel.Remove(ctx, dm.ByName(name), dm.RemoveOptions{})
	return err
}

func (w waiting) message(ctx context.Context, name dm.Name, text string) error {
	_, err := w.kernel.Message(ctx, dm.ByName(name), text)
	return err
}

func (w waiting) info(ctx context.Context, name dm.Name) error {
	_, err := w.kernel.Info(ctx, dm.ByName(name))
	return err
}

func (w waiting) status(ctx context.Context, name dm.Name) error {
	_, _, err := w.kernel.Status(ctx, dm.ByName(name), dm.StatusOptions{NoFlush: true})
	return err
}

func (w waiting) close() error { return w.kernel.Close() }
