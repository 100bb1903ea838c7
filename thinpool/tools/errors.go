package tools

import (
	"errors"

	"thinctl/thinpool/tools/program"
)

var (
	// ErrMissing: thin_check or thin_repair is not installed. All.
	ErrMissing = program.ErrMissing
	// ErrDamaged: thin_check or thin_repair ended with a failure. All.
	ErrDamaged = errors.New("the metadata is damaged or cannot be read")
	// ErrBusy: the device is claimed, mostly by the active pool. All.
	ErrBusy = errors.New("in use: deactivate the pool first")
	// ErrNotEmpty: what a repair should write to holds something. Repair.
	ErrNotEmpty = errors.New("not empty: give a device whose first 4 KiB are zero")
	// ErrTooSmall: what a repair should write to is smaller than what it reads.
	// Repair.
	ErrTooSmall = errors.New("too small")
)
