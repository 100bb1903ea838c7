package thinpool

import (
	"errors"

	"thinctl/fault"
	"thinctl/thinpool/store"
)

// What went wrong, for errors.Is.
var (
	// ErrInvalid: an option, a name or a size cannot be right. All calls.
	ErrInvalid = fault.New(fault.Invalid, "invalid")
	// ErrNotFound: no such pool or volume. All calls but Create.
	ErrNotFound = errors.New("not found")
	// ErrExists: the name, folder, file or device is taken. Create, Snapshot.
	ErrExists = errors.New("exists already")
	// ErrBusy: somebody uses the device. Deactivate, Destroy, Create.
	ErrBusy = fault.New(fault.Busy, "in use")
	// ErrInactive: the pool has to be activated first. All that ask the kernel.
	ErrInactive = fault.New(fault.Unavailable, "the pool is not active")
	// ErrUnhealthy: the pool is read-only, failed, or needs a check.
	ErrUnhealthy = fault.New(fault.Unhealthy, "the pool is not healthy")
	// ErrNeedsCheck: the kernel met an error and wants the metadata checked.
	ErrNeedsCheck = fault.New(fault.Unhealthy, "the metadata needs a check")
	// ErrReserve: too little is free for anything new; deleting works.
	ErrReserve = fault.New(fault.Full, "below the reserve")
	// ErrSwapped: the metadata is another pool's. Activate.
	ErrSwapped = errors.New("the metadata belongs to another pool")
	// ErrDiverged: database and metadata are not of the same moment.
	ErrDiverged = fault.New(fault.Unhealthy, "database and pool metadata have diverged")
	// ErrForeign: a disk is not the pool's, or it cannot be proven to be. Activate,
	// Extend, Repair.
	ErrForeign = errors.New("not the pool's disk")
	// ErrGone: no disk of the host is the pool's. Activate, Extend, Repair.
	ErrGone = errors.New("the pool's disk is gone")
	// ErrCloned: two disks have the identity of one. Activate, Extend, Repair.
	ErrCloned = errors.New("two disks have the same identity")
	// ErrShrunk: a disk or file is smaller than the pool needs. Activate, Extend.
	ErrShrunk = errors.New("the pool's disk shrank")
	// ErrHoldsData: a device or file holds something of value. Create.
	ErrHoldsData = errors.New("holds data already")
	// ErrHeldByOther: the kernel holds a metadata snapshot that is not thinctl's;
	// there can be one. It is never released. Also an ErrBusy. All that read an
	// active pool's metadata.
	ErrHeldByOther = errors.New("another program holds a metadata snapshot")
	// ErrMoved: the metadata snapshot was released by somebody else while it was
	// read, twice over, so that what was read cannot be trusted. Also an ErrBusy.
	// All that read an active pool's metadata.
	ErrMoved = errors.New("the metadata snapshot was released while it was read")
	// ErrNoDatabase: the pool's directory has no database. All calls.
	ErrNoDatabase = store.ErrNoDatabase
	// ErrCorrupt: the database is damaged. All calls.
	ErrCorrupt = store.ErrCorrupt
	// ErrIDsExhausted: all device ids of the pool are in use. CreateVolume, Snapshot.
	ErrIDsExhausted = store.ErrIDsExhausted
	// ErrUnsupported: the kernel lacks a feature. Create, Activate.
	ErrUnsupported = errors.New("not supported by this kernel")
)

// Error says what was tried, on which object, why it failed and what to do.
type Error fault.Error

func (e *Error) Error() string { return (*fault.Error)(e).Error() }

// Unwrap yields the sentinel and the cause.
func (e *Error) Unwrap() []error { return (*fault.Error)(e).Unwrap() }
