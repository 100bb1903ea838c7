package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"thinctl/dm"
	"thinctl/internal/changes"
	"thinctl/internal/config"
	"thinctl/internal/containerd"
	"thinctl/internal/daemon"
	"thinctl/internal/filelock"
	"thinctl/internal/images"
	"thinctl/internal/images/layertar"
	"thinctl/internal/images/manifest"
	"thinctl/internal/images/reference"
	"thinctl/internal/images/registry"
	"thinctl/loopback"
	"thinctl/snapshots"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
	"thinctl/thinpool/metadata"
)

// The exit codes; scripts rely on them.
const (
	codeDone        = 0
	codeFailed      = 1
	codeUsage       = 2
	codeNotFound    = 3
	codeExists      = 4
	codeBusy        = 5
	codeUnhealthy   = 6
	codeMissing     = 7 // privilege or kernel feature
	codeInterrupted = 130
)

// usageError is a command line that cannot be meant.
type usageError struct{ why, remedy string }

func (e *usageError) Error() string {
	if e.remedy == "" {
		return e.why
	}
	return e.why + "; " + e.remedy
}

var (
	errUnhealthy = errors.New("not healthy")
	errNoRoot    = errors.New("not root")
)

// failure is an error of this package's own: what was tried on what, and why
// not, with what to do.
type failure struct {
	text string
	kind error
}

func (e *failure) Error() string { return e.text }
func (e *failure) Unwrap() error { return e.kind }

func failed(kind error, format string, args ...any) error {
	return &failure{text: fmt.Sprintf(format, args...), kind: kind}
}

// isFailure reports whether an error has a text of this program already.
func isFailure(err error) bool {
	var own *failure
	return errors.As(err, &own)
}

// exitCode is the one place that turns errors into exit codes. What thinpool
// says of an error goes before what the layers below it said: a pool that is
// unhealthy because a file is missing is unhealthy, not a name unknown.
func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return codeDone
	}
	if errors.Is(context.Cause(ctx), errInterrupted) {
		return codeInterrupted
	}
	var usage *usageError
	if errors.As(err, &usage) {
		return codeUsage
	}
	for _, class := range classes() {
		for _, kind := range class.kinds {
			if errors.Is(err, kind) {
				return class.code
			}
		}
	}
	return codeFailed
}

type class struct {
	code  int
	kinds []error
}

func classes() []class {
	return []class{
		{codeMissing, []error{errNoRoot, thinpool.ErrUnsupported}},
		{codeUsage, []error{config.ErrInvalid}},
		{codeBusy, []error{daemon.ErrRunning, syscall.EADDRINUSE}},
		// An image that is in use is that, whatever the pool said of its volumes.
		{codeUsage, []error{images.ErrInvalid, reference.ErrInvalid, reference.ErrAmbiguous, manifest.ErrInvalid,
			snapshots.ErrInvalid, snapshots.ErrAmbiguous, containerd.ErrInvalid}},
		{codeNotFound, []error{reference.ErrNotFound, registry.ErrNotFound, manifest.ErrPlatform, snapshots.ErrNotFound}},
		{codeExists, []error{snapshots.ErrExists}},
		{codeBusy, []error{images.ErrInUse, registry.ErrBusy, snapshots.ErrInUse, snapshots.ErrMounted, containerd.ErrInUse}},
		{codeUnhealthy, []error{snapshots.ErrFull}},
		{codeUsage, []error{thinpool.ErrInvalid}},
		{codeNotFound, []error{thinpool.ErrNotFound}},
		{codeExists, []error{thinpool.ErrExists, thinpool.ErrHoldsData}},
		{codeBusy, []error{thinpool.ErrBusy}},
		{codeUnhealthy, []error{errUnhealthy, thinpool.ErrUnhealthy, thinpool.ErrNeedsCheck, thinpool.ErrReserve,
			thinpool.ErrSwapped, thinpool.ErrDiverged, thinpool.ErrForeign, thinpool.ErrGone, thinpool.ErrCloned, thinpool.ErrShrunk}},
		{codeMissing, []error{dm.ErrNoDeviceMapper, dm.ErrPermission, dm.ErrProtocol, dm.ErrNoTarget,
			registry.ErrDenied, changes.ErrUnsupported, loopback.ErrUnsupported, filesystem.ErrUnsupported, metadata.ErrUnsupported, fs.ErrPermission}},
		{codeUsage, []error{loopback.ErrInvalid, filesystem.ErrInvalid}},
		{codeBusy, []error{dm.ErrBusy, loopback.ErrBusy, filesystem.ErrBusy, filesystem.ErrMountPoint, filelock.ErrHeld, metadata.ErrBusy}},
		{codeExists, []error{dm.ErrExists, filesystem.ErrSignature}},
		{codeUnhealthy, []error{dm.ErrRefused, dm.ErrNoSpace, filesystem.ErrDamaged,
			metadata.ErrChecksum, metadata.ErrCorrupt, metadata.ErrTruncated}},
		{codeNotFound, []error{dm.ErrNotFound, dm.ErrNoThinDevice, metadata.ErrNoDevice}},
	}
}

// explain writes an error for people: one line for each fault.
func explain(ctx context.Context, err error) string {
	text := err.Error()
	switch {
	case errors.Is(context.Cause(ctx), errInterrupted):
		text += "; interrupted: run it again to go on"
	case errors.Is(err, context.DeadlineExceeded):
		text += "; it took too long: give it more with --timeout"
	}
	var limit *layertar.LimitError
	if errors.As(err, &limit) {
		text += fmt.Sprintf("; if the source is trusted, raise the limit with --limit %s=VALUE", limit.Name)
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString("thinctl: " + line + "\n")
		}
	}
	return b.String()
}
