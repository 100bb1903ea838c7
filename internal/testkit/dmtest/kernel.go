package dmtest

import (
	"context"
	"errors"
	"maps"
	"sync"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
)

// Options changes what kernel is played. The zero value is a kernel 6.12 with
// all targets.
type Options struct {
	// Protocol is the ioctl protocol's version; default 4.48.0.
	Protocol dm.Version
	// TargetVersions replaces the versions of targets; the zero version takes a
	// target away.
	TargetVersions map[string]dm.Version
	// Unavailable, where set, is the kind of the error that every call returns:
	// dm.ErrNoDeviceMapper or fault.Denied.
	Unavailable error
	// Store keeps committed pools beyond this kernel; default a new one.
	Store *Store
	// Fault is asked before and after each call; see [Call].
	Fault func(Call) error
}

// Kernel is a device mapper in memory. It is safe for concurrent use.
type Kernel struct {
	protocol    dm.Version
	targets     map[string]dm.Version
	unavailable error
	store       *Store

	faults faults

	mu         sync.Mutex // guards all below
	boot       uint64     // counts power failures
	disks      map[blockdev.Number]Disk
	devices    map[uint32]*device // by minor
	names      map[dm.Name]*device
	uuids      map[dm.UUID]*device
	opens      map[blockdev.Number]int // by users and by other devices' tables
	pools      map[*device]*pool
	poolsOn    map[blockdev.Number]*pool // by metadata device
	commits    int
	violations []string
	changed    chan struct{} // closed and replaced at each event
}

var _ dm.Kernel = (*Kernel)(nil)

// New returns a kernel without devices.
func New(options Options) *Kernel {
	k := &Kernel{
		protocol: options.Protocol,
		targets: map[string]dm.Version{
			dm.TypeThinPool: {1, 23, 0},
			dm.TypeThin:     {1, 23, 0},
			dm.TypeLinear:   {1, 4, 0},
			dm.TypeError:    {1, 7, 0},
			dm.TypeFlakey:   {1, 5, 0},
		},
		unavailable: options.Unavailable,
		store:       options.Store,
		disks:       make(map[blockdev.Number]Disk),
		changed:     make(chan struct{}),
	}
	if k.protocol == (dm.Version{}) {
		k.protocol = dm.Version{4, 48, 0}
	}
	if k.store == nil {
		k.store = NewStore()
	}
	maps.Copy(k.targets, options.TargetVersions)
	maps.DeleteFunc(k.targets, func(_ string, v dm.Version) bool { return v == (dm.Version{}) })
	k.faults.fault = options.Fault
	k.forget()
	return k
}

// forget drops all devices, as a boot does.
func (k *Kernel) forget() {
	k.boot++
	k.devices = make(map[uint32]*device)
	k.names = make(map[dm.Name]*device)
	k.uuids = make(map[dm.UUID]*device)
	k.opens = make(map[blockdev.Number]int)
	k.pools = make(map[*device]*pool)
	k.poolsOn = make(map[blockdev.Number]*pool)
}

// PowerOff ends this boot at once: all devices and disks are gone, and pools
// have lost what they had not committed. The Kernel goes on as the next boot:
// attach the disks again with AddDisk.
func (k *Kernel) PowerOff() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forget()
	k.disks = make(map[blockdev.Number]Disk)
	k.wakeAll()
}

// Commits returns how often a pool has been asked to commit its metadata and
// was not refused.
func (k *Kernel) Commits() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.commits
}

// Violations returns what callers did that the kernel does not check and that
// loses data, in order.
func (k *Kernel) Violations() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.violations...)
}

func (k *Kernel) poolVersion() dm.Version { return k.targets[dm.TypeThinPool] }

// wakeAll wakes everybody in WaitEvent.
func (k *Kernel) wakeAll() {
	close(k.changed)
	k.changed = make(chan struct{})
}

func (k *Kernel) event(d *device) {
	d.event++
	k.wakeAll()
}

// call runs one command under the kernel's lock, with the faults asked for.
func call[T any](ctx context.Context, k *Kernel, op string, ref dm.Ref, detail string, run func() (T, error)) (T, error) {
	var none T
	if err := k.enter(ctx, op, ref, detail); err != nil {
		return none, err
	}
	k.mu.Lock()
	value, err := run()
	k.mu.Unlock()
	if fault := k.faults.ask(Call{Op: op, Ref: ref, Detail: detail, Phase: After}); fault != nil {
		return none, fault
	}
	if err != nil {
		return value, asError(op, detail, ref, err)
	}
	return value, nil
}

func (k *Kernel) enter(ctx context.Context, op string, ref dm.Ref, detail string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if k.unavailable != nil {
		failed := &dm.Error{Op: "open", Object: "/dev/mapper/control", Kind: k.unavailable}
		if k.unavailable == fault.Denied {
			failed.Detail = "the device mapper needs root (CAP_SYS_ADMIN)"
		}
		return failed
	}
	return k.faults.ask(Call{Op: op, Ref: ref, Detail: detail, Phase: Before})
}

// asError dresses an errno as dm.Control does.
func asError(op, detail string, ref dm.Ref, err error) error {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err
	}
	var already *dm.Error
	if errors.As(err, &already) {
		return err
	}
	e := &dm.Error{Op: op, Err: errno, Kind: kindOf(op, errno)}
	if detail != "" {
		e.Op += " " + detail
	}
	e.Object = "the control node"
	if ref != (dm.Ref{}) {
		e.Object = ref.String()
	}
	return e
}

// kindOf sorts an errno as dm.Control does.
func kindOf(op string, errno unix.Errno) error {
	switch errno {
	case unix.EACCES, unix.EPERM:
		return fault.Denied
	case unix.ENXIO:
		return fault.NotFound
	case unix.EEXIST:
		return fault.Exists
	case unix.EBUSY:
		if op == opCreate || op == opRename {
			return fault.Exists
		}
		return fault.Busy
	case unix.ENODATA:
		return dm.ErrNoThinDevice
	case unix.EOPNOTSUPP:
		return fault.Unhealthy
	case unix.ENOSPC:
		return fault.Full
	}
	return nil
}
