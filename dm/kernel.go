package dm

import (
	"context"
	"fmt"

	"thinctl/blockdev"
	"thinctl/units"
)

// Kernel is the interface to the device mapper: the kernel's calls and the devices'
// own nodes. [Control] implements it with the real kernel, and the tests with one
// in memory.
//
// An error is an [*Error] that wraps the kernel's errno and matches one of the
// kinds listed in errors.go. All methods are safe for concurrent use.
type Kernel interface {
	OwnNodes

	// Version returns the version of the ioctl protocol.
	Version(ctx context.Context) (Version, error)

	// TargetVersion returns the version of one target. The kernel loads the
	// target's module if necessary. ErrNoTarget: the kernel has no such target.
	TargetVersion(ctx context.Context, target string) (Version, error)

	// Targets lists the targets that are registered at present.
	Targets(ctx context.Context) ([]TargetVersion, error)

	// Create creates a device without a table. fault.Exists: another device has the
	// name or the uuid. The uuid may be empty.
	Create(ctx context.Context, name Name, uuid UUID) (Info, error)

	// Remove removes a device and its nodes. fault.Busy: the device is open. With
	// Deferred the kernel then removes it at the last close, and Remove returns true.
	Remove(ctx context.Context, ref Ref, options RemoveOptions) (deferred bool, err error)

	// Rename gives a device another name.
	Rename(ctx context.Context, ref Ref, name Name) error

	// Load puts a table into the inactive slot; Resume makes it live.
	Load(ctx context.Context, ref Ref, table []Target, options LoadOptions) error

	// Clear empties the inactive slot.
	Clear(ctx context.Context, ref Ref) error

	// Suspend stops IO. It may have to wait for IO in flight. If ctx ends first,
	// Suspend returns the error of ctx, and resumes the device as soon as the kernel
	// has suspended it.
	Suspend(ctx context.Context, ref Ref, options SuspendOptions) error

	// Resume makes a loaded table live and starts IO. When it returns, the device's
	// node in /dev/mapper exists, unless NoUdevSync is set.
	Resume(ctx context.Context, ref Ref, options ResumeOptions) (Info, error)

	// Info returns a device's state. fault.NotFound: no such device.
	Info(ctx context.Context, ref Ref) (Info, error)

	// Table returns the live table, as the kernel prints it.
	Table(ctx context.Context, ref Ref) ([]Line, error)

	// Status returns each target's status. Without NoFlush a thin pool commits
	// its metadata first (drivers/md/dm-thin.c, pool_status).
	Status(ctx context.Context, ref Ref, options StatusOptions) (Info, []Line, error)

	// Deps lists the block devices that the live table uses.
	Deps(ctx context.Context, ref Ref) ([]blockdev.Number, error)

	// List returns every device mapper device of the host.
	List(ctx context.Context) ([]Entry, error)

	// Message sends text to the target at sector 0 and returns the target's answer,
	// which most messages leave empty.
	Message(ctx context.Context, ref Ref, text string) (string, error)

	// WaitEvent waits until the device's event number differs from seen, and returns
	// the present one. It also returns when ctx ends. A state that existed before
	// seen was read raises no event, so callers poll on a timer as well.
	WaitEvent(ctx context.Context, ref Ref, seen uint32) (uint32, error)
}

// OwnNodes creates and checks device nodes that are independent of udev: see
// [Name.OwnNode]. The methods make no device mapper call. They belong to [Kernel]
// because a node has the lifetime of its device: Remove removes both.
type OwnNodes interface {
	// MakeOwnNode creates the device's own node if it does not exist, or leads to
	// another device.
	MakeOwnNode(ctx context.Context, info Info) error

	// HasOwnNode reports whether the device's own node exists and leads to the device.
	HasOwnNode(ctx context.Context, info Info) bool
}

// Version holds a major, a minor and a patch number.
type Version [3]uint32

// AtLeast reports whether v is major.minor or newer within the same major.
func (v Version) AtLeast(major, minor uint32) bool {
	return v[0] > major || v[0] == major && v[1] >= minor
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// TargetVersion names a target and its version.
type TargetVersion struct {
	Name    string
	Version Version
}

// Info holds a device's state.
type Info struct {
	Name           Name
	UUID           UUID
	Dev            blockdev.Number
	OpenCount      int
	EventNr        uint32
	TargetCount    int
	Suspended      bool
	ReadOnly       bool
	ActiveTable    bool
	InactiveTable  bool
	DeferredRemove bool
}

// Entry is one device in a list.
type Entry struct {
	Name    Name
	UUID    UUID // empty for devices without one
	Dev     blockdev.Number
	EventNr uint32 // 0 on kernels before protocol 4.37
}

// Line is a target's table or status, as the kernel prints it but without
// trailing spaces.
type Line struct {
	Start  units.Sectors
	Length units.Sectors
	Type   string
	Params string
}

func (l Line) String() string {
	if l.Params == "" {
		return fmt.Sprintf("%d %d %s", l.Start, l.Length, l.Type)
	}
	return fmt.Sprintf("%d %d %s %s", l.Start, l.Length, l.Type, l.Params)
}

// Target is one line of a table to load.
type Target interface {
	// Line returns the target as the kernel prints it.
	Line() Line
}

// RemoveOptions changes how a device is removed.
type RemoveOptions struct {
	Deferred bool // protocol 4.27
	// NoUdevSync has the same meaning as in ResumeOptions.
	NoUdevSync bool
}

// LoadOptions changes how a table is loaded.
type LoadOptions struct {
	ReadOnly bool
}

// SuspendOptions changes what a suspend waits for.
type SuspendOptions struct {
	NoFlush    bool // do not wait for queued IO (needed if a pool queues writes for lack of space)
	SkipLockFS bool // do not freeze the file system on the device
}

// ResumeOptions changes how udev handles the device.
type ResumeOptions struct {
	// Private keeps udev's scanners (blkid, multipath, LVM) away from the device,
	// which still gets its node. Scanners open devices, so that removals fail.
	Private bool

	// NoUdevSync creates no node in /dev/mapper: udev adds its link there later. If
	// thinctl's udev rules are installed, it does not wait for udev either. Without
	// the rules a cookie is needed, because it carries the flag Private to udev.
	NoUdevSync bool
}

// StatusOptions changes what a status does before it is read.
type StatusOptions struct {
	NoFlush bool // do not commit the pool's metadata first
}
