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

// Options selects the kernel that is simulated. The zero value is for Linux 6.12 with
// all targets.
type Options struct {
	// Protocol is the ioctl protocol's version; default 4.48.0.
	Protocol dm.Version
	// TargetVersions replaces the versions of targets. The zero version removes a
	// target.
	TargetVersions map[string]dm.Version
	// Unavailable is the kind of the error that every call returns, if it is set:
	// dm.ErrNoDeviceMapper or fault.Denied.
	Unavailable error
	// Store keeps the committed metadata of pools; default a new one.
	Store *Store
	// Fault is called before and after each call; see [Call].
	Fault func(Call) error
}

// Kernel is a device mapper in memory. It is safe for concurrent use.
type Kernel struct {
	protocol    dm.Version
	targets     map[string]dm.Version
	unavailable error
	store       *Store

	faults faults

	mu         sync.Mutex // guards the fields below
	boot       uint64     // number of boots
	disks      map[blockdev.Number]Disk
	devices    map[uint32]*device // by minor
	names      map[dm.Name]*device
	uuids      map[dm.UUID]*device
	opens      map[blockdev.Number]int // number of times that Hold and tables have a device open
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
	k.reset()
	return k
}

// reset drops all devices, as a boot does.
func (k *Kernel) reset() {
	k.boot++
	k.devices = make(map[uint32]*device)
	k.names = make(map[dm.Name]*device)
	k.uuids = make(map[dm.UUID]*device)
	k.opens = make(map[blockdev.Number]int)
	k.pools = make(map[*device]*pool)
	k.poolsOn = make(map[blockdev.Number]*pool)
}

// PowerOff simulates a power cut and the next boot. All devices and disks are gone, and
// pools have lost their uncommitted changes. Add the disks again with AddDisk.
func (k *Kernel) PowerOff() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reset()
	k.disks = make(map[blockdev.Number]Disk)
	k.wakeAll()
}

// Commits returns the number of commits of all pools, including those without a change.
// It does not count the ones that a pool's mode forbids.
func (k *Kernel) Commits() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.commits
}

// Violations returns the calls, in order, that lose data although the kernel accepts
// them.
func (k *Kernel) Violations() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.violations...)
}

func (k *Kernel) poolVersion() dm.Version { return k.targets[dm.TypeThinPool] }

// wakeAll wakes all callers of WaitEvent.
func (k *Kernel) wakeAll() {
	close(k.changed)
	k.changed = make(chan struct{})
}

func (k *Kernel) event(d *device) {
	d.event++
	k.wakeAll()
}

// call runs one command under the kernel's lock, with its faults.
func call[T any](
	ctx context.Context, k *Kernel, op string, ref dm.Ref, detail string, run func() (T, error),
) (T, error) {
	var none T
	if err := k.enter(ctx, op, ref, detail); err != nil {
		return none, err
	}
	k.mu.Lock()
	value, err := run()
	k.mu.Unlock()
	if err := k.faults.inject(Call{Op: op, Ref: ref, Detail: detail, Phase: After}); err != nil {
		return none, err
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
		if errors.Is(k.unavailable, fault.Denied) {
			failed.Detail = "the device mapper needs root (CAP_SYS_ADMIN)"
		}
		return failed
	}
	return k.faults.inject(Call{Op: op, Ref: ref, Detail: detail, Phase: Before})
}

// asError returns an errno as the *dm.Error that dm.Control returns.
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

// kindOf returns the kind that dm.Control gives to an errno.
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
