package thinpool

import (
	"fmt"

	"thinctl/fault"
	"thinctl/thinpool/store"
)

// The errors that callers may test for with errors.Is, beside the kinds of package
// fault. The calls of this package return these kinds:
//
//   - fault.Invalid: an option, a name or a size cannot be right. All calls.
//   - fault.Exists: the name, directory, file or device is taken. Create, Snapshot.
//   - fault.Busy: a device is open, or another reading is in progress.
//   - fault.Unhealthy: the pool is read-only, has failed, or misses a part.
//   - fault.Unsupported: the kernel lacks a feature. Create, SetFullPolicy.
//
// A device that the kernel lacks has the kind fault.NotFound too: test for
// [ErrNoVolume] if the difference matters.
var (
	// ErrNoPool reports that there is no pool of the name. Open.
	ErrNoPool = fault.New(fault.NotFound, "not found")
	// ErrNoVolume reports that the pool has no volume of the name. All calls that take
	// the name of a volume.
	ErrNoVolume = fault.New(fault.NotFound, "not found")
	// ErrOpen reports that a device is open, mounted or below another device. The call
	// has changed nothing. All calls that remove devices.
	ErrOpen = fault.New(fault.Busy, "in use")
	// ErrInactive reports that the pool is not active. All calls that need the kernel.
	ErrInactive = fault.New(fault.Unavailable, "the pool is not active")
	// ErrNeedsCheck reports that the kernel met an error and has set the flag
	// needs_check in the metadata.
	ErrNeedsCheck = fault.New(fault.Unhealthy, "the metadata needs a check")
	// ErrReserve reports that less is free than the reserve. Only calls that allocate
	// fail with it: CreateVolume, Snapshot and the reading of an active pool's metadata.
	ErrReserve = fault.New(fault.Full, "below the reserve")
	// ErrSwapped reports metadata of another pool. Activate.
	ErrSwapped = fault.New(fault.Unhealthy, "the metadata belongs to another pool")
	// ErrDiverged reports that database and metadata are of different moments.
	ErrDiverged = fault.New(fault.Unhealthy, "database and pool metadata have diverged")
	// ErrForeign reports a disk that is not the pool's, or that carries no proof that it
	// is. Activate, Extend, Repair.
	ErrForeign = fault.New(fault.Unhealthy, "not the pool's disk")
	// ErrGone reports that no disk of the host is the pool's. Activate, Extend, Repair.
	ErrGone = fault.New(fault.Unhealthy, "the pool's disk is gone")
	// ErrCloned reports two disks with the same identity. Activate, Extend, Repair.
	ErrCloned = fault.New(fault.Unhealthy, "two disks have the same identity")
	// ErrShrunk reports a disk or file that is smaller than the pool needs. Activate,
	// Extend.
	ErrShrunk = fault.New(fault.Unhealthy, "the pool's disk shrank")
	// ErrHoldsData reports a device with contents that Create would destroy.
	ErrHoldsData = fault.New(fault.Exists, "holds data already")
	// ErrHeldByOther reports that another program holds the pool's metadata snapshot.
	// The kernel has only one, and this package never releases it. All calls that read
	// an active pool's metadata.
	ErrHeldByOther = fault.New(fault.Busy, "another program holds a metadata snapshot")
	// ErrMoved reports that another program released the metadata snapshot twice while
	// it was read: what was read is not consistent. All calls that read an active
	// pool's metadata.
	ErrMoved = fault.New(fault.Busy, "the metadata snapshot was released while it was read")
	// ErrNoDatabase reports that the pool's directory has no database. All calls.
	ErrNoDatabase = store.ErrNoDatabase
	// ErrCorrupt reports a damaged database. All calls.
	ErrCorrupt = store.ErrCorrupt
	// ErrIDsExhausted reports that all device ids of the pool are taken. CreateVolume,
	// Snapshot.
	ErrIDsExhausted = store.ErrIDsExhausted
)

// KeptError reports a volume that is kept for another purpose than the caller named in
// [Keep], [RemoveOptions] or [RenameOptions]. It is the cause of an [Error].
type KeptError struct {
	Op     string // "remove", "rename" or "resize"
	Pool   string
	Volume string
	For    string // the purpose, "" for a volume of the user
}

func (e *KeptError) Error() string {
	if e.For == "" {
		return "it is a volume of the user"
	}
	return fmt.Sprintf("it is kept for another purpose: %s", e.For)
}

// Error is a failed operation on a pool or a volume. Kind is an error from above, a
// fault.Kind, or nil. Err is the cause, or nil. Cure is a [Cure], or nil.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap returns the kind and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }
