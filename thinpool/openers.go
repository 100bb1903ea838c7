package thinpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/loopback"
)

// BusyTimeout is how long a removal waits for a device that another process has open,
// if Host.BusyTimeout is zero. blkid, lvm, multipathd and the rules of udev open each
// new device for a moment. dmsetup --retry waits for the same time.
const BusyTimeout = 5 * time.Second

// Holding has the mounts, devices and processes that keep a device in use.
type Holding struct {
	Mounts    []string // mount points of its file system, in any mount namespace
	Devices   []string // block devices on top of it
	Processes []string // that have it or a file on it open: "blkid (pid 4711)"
	Detail    string   // a remark, such as the reason why the list may be incomplete
}

// lasting reports whether more than open handles keep the device in use: mounts
// and devices on top do not go away by themselves.
func (h Holding) lasting() bool { return len(h.Mounts)+len(h.Devices) > 0 }

func (h Holding) add(other Holding) Holding {
	return Holding{Mounts: append(h.Mounts, other.Mounts...), Devices: append(h.Devices, other.Devices...),
		Processes: append(h.Processes, other.Processes...)}
}

func (h Holding) String() string {
	var parts []string
	if len(h.Mounts) > 0 {
		parts = append(parts, "mounted at "+strings.Join(h.Mounts, ", "))
	}
	if len(h.Devices) > 0 {
		parts = append(parts, "under "+strings.Join(h.Devices, ", "))
	}
	if who := h.Processes; len(who) > 0 {
		const most = 8
		text := "in use by " + strings.Join(who[:min(len(who), most)], ", ")
		if len(who) > most {
			text += fmt.Sprintf(" and %d more processes", len(who)-most)
		}
		parts = append(parts, text)
	}
	if h.Detail != "" {
		parts = append(parts, h.Detail)
	}
	return strings.Join(parts, ", ")
}

func (h Holding) remedy() string {
	switch {
	case len(h.Mounts) > 0:
		return "unmount " + strings.Join(h.Mounts, " and ") + ", then retry"
	case len(h.Devices) > 0:
		return "remove " + strings.Join(h.Devices, " and ") + ", then retry"
	case len(h.Processes) > 0:
		return "stop the process that has it open, then retry"
	}
	return "close it, then retry"
}

// openDevices is the cause of an ErrOpen: devices that are open. The operation that
// returns it has changed nothing, so that it can be tried again.
type openDevices struct {
	devices []openDevice
	err     error // the error of the kernel or the loop device, nil if it was not called
}

type openDevice struct {
	name string
	dev  blockdev.Number
}

func (e *openDevices) Error() string {
	var names []string
	for _, device := range e.devices {
		names = append(names, device.name)
	}
	verb := " is open"
	if len(names) > 1 {
		verb = " are open"
	}
	return strings.Join(names, ", ") + verb
}

func (e *openDevices) Unwrap() error { return e.err }

// busyTimeout returns the bound of the wait, 0 for no wait.
func (h Host) busyTimeout() time.Duration {
	if h.BusyTimeout == 0 {
		return BusyTimeout
	}
	return max(h.BusyTimeout, 0)
}

// closeWait bounds the wait of one operation for devices to be closed. The bound is for all
// its devices together.
type closeWait struct {
	host     Host
	deadline time.Time // zero: nothing was busy so far
}

func (h Host) closeWait() *closeWait { return &closeWait{host: h} }

// await calls try again while it fails because a device is open, until the bound is
// reached. Then the error names the holders of the device. The caller holds no lock of
// the pool, and try releases its own locks before it fails. If the device is mounted or
// below another device, await returns the error at once.
func (w *closeWait) await(ctx context.Context, try func() error) error {
	const first, longest = 10 * time.Millisecond, 200 * time.Millisecond
	for pause := time.Duration(0); ; {
		err := try()
		var open *openDevices
		if !errors.As(err, &open) {
			return err
		}
		if w.deadline.IsZero() {
			w.deadline = time.Now().Add(w.host.busyTimeout())
		}
		left := time.Until(w.deadline)
		if pause == 0 || left <= 0 {
			held, known := w.host.holding(ctx, open)
			if left <= 0 || known && held.lasting() {
				return nameHolders(err, open, held)
			}
		}
		pause = min(max(2*pause, first), longest)
		if stopped := contexts.Sleep(ctx, min(pause, left)); stopped != nil {
			return errors.Join(err, stopped)
		}
	}
}

// holding finds the holders of the devices. known is false if the host has no function for
// that.
func (h Host) holding(ctx context.Context, open *openDevices) (all Holding, known bool) {
	if h.Holders == nil {
		return Holding{}, false
	}
	var details []string
	for _, device := range open.devices {
		held, err := h.Holders(ctx, device.dev)
		all = all.add(held)
		if err != nil {
			details = append(details, err.Error())
		}
	}
	if !all.lasting() && len(all.Processes) == 0 {
		details = append(details, "no process that has it open was found")
	}
	slices.Sort(all.Processes)
	all.Processes = slices.Compact(all.Processes)
	all.Detail = strings.Join(details, ", ")
	return all, true
}

// nameHolders adds the holders to the error of an operation.
func nameHolders(err error, open *openDevices, held Holding) error {
	var poolErr *Error
	if !errors.As(err, &poolErr) {
		return err
	}
	poolErr.Detail = open.Error()
	if text := held.String(); text != "" {
		poolErr.Detail += ": " + text
	}
	poolErr.Remedy = held.remedy()
	poolErr.Err = nil // the detail has it
	return err
}

// openError returns the refusal of an operation because devices are open.
func openError(op, object string, open *openDevices) *Error {
	return &Error{Op: op, Object: object, Kind: ErrOpen, Err: open}
}

// removeDevice removes a device of this pool. Its error is an *openDevices if the device
// is open. It succeeds if the device does not exist.
func (p *Pool) removeDevice(ctx context.Context, ref dm.Ref, options dm.RemoveOptions) error {
	_, err := p.host.Kernel.Remove(ctx, ref, options)
	switch {
	case errors.Is(err, fault.NotFound):
		return nil
	case errors.Is(err, fault.Busy):
		info, gone := p.host.Kernel.Info(ctx, ref)
		if errors.Is(gone, fault.NotFound) {
			return nil
		}
		return &openDevices{[]openDevice{{string(info.Name), info.Dev}}, err}
	}
	return err
}

// detachOnce detaches a loop device. It does not wait for the device to be closed: the
// caller waits, without locks.
func (p *Pool) detachOnce(ctx context.Context, loop loopback.Device) error {
	const brief = 100 * time.Millisecond // the kernel needs a moment to let go of the file
	bounded, cancel := context.WithTimeout(ctx, brief)
	defer cancel()
	err := p.host.Loops.Detach(bounded, loop)
	if errors.Is(err, fault.Busy) && ctx.Err() == nil {
		return &openDevices{[]openDevice{{loop.Path, blockdev.Number(loop.Number)}}, err}
	}
	return err
}

// openDevices returns the pool's devices that are open, or nil. An operation that
// removes all devices checks it before it changes anything.
func (p *Pool) openDevices(ctx context.Context) (*openDevices, error) {
	entries, err := p.ownDevices(ctx)
	if err != nil {
		return nil, err
	}
	found := &openDevices{}
	thins, pool := 0, dm.Info{}
	for _, entry := range entries {
		info, err := p.host.Kernel.Info(ctx, dm.ByUUID(entry.UUID))
		switch {
		case errors.Is(err, fault.NotFound):
			continue
		case err != nil:
			return nil, err
		case entry.isPool:
			pool = info
			continue
		case info.OpenCount > 0:
			found.devices = append(found.devices, openDevice{string(info.Name), info.Dev})
		}
		// Each table of a thin device may have the pool open once, read-only or not.
		for _, has := range []bool{info.ActiveTable, info.InactiveTable} {
			if has {
				thins++
			}
		}
	}
	if pool.OpenCount > thins {
		found.devices = append(found.devices, openDevice{string(pool.Name), pool.Dev})
	}
	if len(found.devices) == 0 {
		return nil, nil
	}
	return found, nil
}
