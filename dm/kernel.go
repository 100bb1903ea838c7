package dm

import (
	"context"
	"fmt"

	"thinctl/blockdev"
	"thinctl/units"
)

// Kernel is the device mapper as everything above this package sees it.
// [Control] is the real one; dmtest.Kernel keeps the same contract in memory.
//
// Errors are [*Error] wrapping the kernel's errno, and answer to the sentinels
// in errors.go. All methods are safe for concurrent use.
type Kernel interface {
	// Version returns the ioctl protocol's version.
	Version(ctx context.Context) (Version, error)

	// TargetVersion returns the version of one target, loading its module where
	// the kernel can. ErrNoTarget: the kernel has no such target.
	TargetVersion(ctx context.Context, target string) (Version, error)

	// Targets lists the targets registered at this moment.
	Targets(ctx context.Context) ([]TargetVersion, error)

	// Create makes a device without a table. ErrExists: the name or the uuid is
	// taken. The uuid may be empty.
	Create(ctx context.Context, name Name, uuid UUID) (Info, error)

	// Remove takes a device away. ErrBusy: somebody has it open, unless
	// Deferred is set: then it goes when the last opener closes, and Remove
	// reports deferred.
	Remove(ctx context.Context, ref Ref, options RemoveOptions) (deferred bool, err error)

	// Rename gives a device another name.
	Rename(ctx context.Context, ref Ref, name Name) error

	// Load puts a table into the inactive slot; Resume makes it live.
	Load(ctx context.Context, ref Ref, table []Target, options LoadOptions) error

	// Clear empties the inactive slot.
	Clear(ctx context.Context, ref Ref) error

	// Suspend stops IO. It may wait for IO in flight; where ctx ends first the
	// error is ctx's, and the device is resumed as soon as the kernel lets go.
	Suspend(ctx context.Context, ref Ref, options SuspendOptions) error

	// Resume swaps a loaded table in and lets IO flow. On return the device's
	// node under /dev/mapper exists, unless Quiet is set.
	Resume(ctx context.Context, ref Ref, options ResumeOptions) (Info, error)

	// OwnNode makes sure that the device has the node [Name.OwnNode], whoever has
	// made the device. It goes with the device.
	OwnNode(ctx context.Context, info Info) error

	// HasOwnNode tells whether that node is there.
	HasOwnNode(ctx context.Context, info Info) bool

	// Info returns a device's state. ErrNotFound: no such device.
	Info(ctx context.Context, ref Ref) (Info, error)

	// Table returns the live table, as the kernel prints it.
	Table(ctx context.Context, ref Ref) ([]Line, error)

	// Status returns each target's status. Without NoFlush a thin pool commits
	// its metadata first (drivers/md/dm-thin.c, pool_status).
	Status(ctx context.Context, ref Ref, options StatusOptions) (Info, []Line, error)

	// Deps lists the block devices that the live table stands on.
	Deps(ctx context.Context, ref Ref) ([]blockdev.Number, error)

	// List returns every device mapper device of the host.
	List(ctx context.Context) ([]Entry, error)

	// Message sends text to the target at sector 0 and returns its answer,
	// which is mostly empty.
	Message(ctx context.Context, ref Ref, text string) (string, error)

	// WaitEvent returns when the device's event number differs from seen, with
	// the present one, or when ctx ends. Events alone miss states that held
	// already: callers keep a timer beside it.
	WaitEvent(ctx context.Context, ref Ref, seen uint32) (uint32, error)
}

// Version is major, minor, patch.
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

// Info is a device's state.
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

// Line is a target's table or status, as the kernel prints it, trailing space
// removed.
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
	// Line returns the target as the kernel will print it.
	Line() Line
}

// RemoveOptions changes how a device is removed.
type RemoveOptions struct {
	Deferred bool // protocol 4.27
	Quiet    bool // as in ResumeOptions
}

// LoadOptions changes how a table is loaded.
type LoadOptions struct {
	ReadOnly bool
}

// SuspendOptions changes what a suspend waits for.
type SuspendOptions struct {
	NoFlush    bool // do not wait for queued IO (needed where a pool queues for space)
	SkipLockFS bool // do not freeze the file system on the device
}

// ResumeOptions changes what udev is told.
type ResumeOptions struct {
	// Private keeps udev's scanners (blkid, multipath, LVM) off the device; it
	// still gets its node. Scanners hold devices open and make removal fail.
	Private bool

	// Quiet neither waits for udev nor makes a node under /dev/mapper: udev's link
	// comes there when udev gets round to it. Where udev's rules do not know
	// thinctl's devices by themselves they are told, and waited for, as ever.
	Quiet bool
}

// StatusOptions changes what a status costs.
type StatusOptions struct {
	NoFlush bool // do not commit the pool's metadata first
}
