// Package exit maps errors to exit codes and prints them.
package exit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"thinctl/fault"
	"thinctl/internal/images/layertar"
	"thinctl/thinpool"
)

// The exit codes; scripts rely on them.
const (
	CodeDone        = 0
	CodeFailed      = 1
	CodeUsage       = 2
	CodeNotFound    = 3
	CodeExists      = 4
	CodeBusy        = 5
	CodeUnhealthy   = 6
	CodeMissing     = 7 // privilege or kernel feature
	CodeInterrupted = 130
)

// UsageError is an invalid command line.
type UsageError struct{ Why, Remedy string }

func (e *UsageError) Error() string {
	if e.Remedy == "" {
		return e.Why
	}
	return e.Why + "; " + e.Remedy
}

var (
	ErrUnhealthy = errors.New("unhealthy")
	ErrNoRoot    = errors.New("not root")
)

// failure is an error with a complete text: operation, object, cause and hint.
type failure struct {
	text string
	kind error
}

func (e *failure) Error() string { return e.text }

func (e *failure) Unwrap() error { return e.kind }

// Errorf returns an error of a kind with a complete text, which may include a hint.
func Errorf(kind error, format string, args ...any) error {
	return &failure{text: fmt.Sprintf(format, args...), kind: kind}
}

// IsFailure reports whether an error has a complete text from Errorf.
func IsFailure(err error) bool {
	var own *failure
	return errors.As(err, &own)
}

// Code is the one place that turns errors into exit codes. What thinpool
// says of an error goes before what the layers below it said: a pool that is
// unhealthy because a file is missing is unhealthy, not a name unknown.
func Code(ctx context.Context, err error) int {
	if err == nil {
		return CodeDone
	}
	if errors.Is(context.Cause(ctx), ErrInterrupted) {
		return CodeInterrupted
	}
	var usage *UsageError
	if errors.As(err, &usage) {
		return CodeUsage
	}
	for _, class := range classes() {
		for _, kind := range class.kinds {
			if errors.Is(err, kind) {
				return class.code
			}
		}
	}
	return CodeFailed
}

type class struct {
	code  int
	kinds []error
}

func classes() []class {
	return []class{
		{CodeMissing, []error{ErrNoRoot, thinpool.ErrUnsupported}},
		{CodeBusy, []error{syscall.EADDRINUSE}},
		{CodeUsage, []error{thinpool.ErrInvalid}},
		{CodeNotFound, []error{thinpool.ErrNotFound}},
		{CodeExists, []error{thinpool.ErrExists, thinpool.ErrHoldsData}},
		{CodeBusy, []error{thinpool.ErrBusy}},
		{CodeUnhealthy, []error{ErrUnhealthy, thinpool.ErrUnhealthy, thinpool.ErrNeedsCheck, thinpool.ErrReserve,
			thinpool.ErrSwapped, thinpool.ErrDiverged, thinpool.ErrForeign, thinpool.ErrGone, thinpool.ErrCloned,
			thinpool.ErrShrunk}},
		{CodeMissing, []error{fault.Unsupported, fault.Denied, fs.ErrPermission}},
		{CodeUsage, []error{fault.Invalid}},
		{CodeBusy, []error{fault.Busy}},
		{CodeExists, []error{fault.Exists}},
		{CodeUnhealthy, []error{fault.Unhealthy, fault.Full, fault.Damaged}},
		{CodeNotFound, []error{fault.NotFound}},
	}
}

// Message writes an error for people: one line for each fault.
func Message(ctx context.Context, err error) string {
	text := err.Error()
	switch {
	case errors.Is(context.Cause(ctx), ErrInterrupted):
		text += "; interrupted: run the command again to continue"
	case errors.Is(err, context.DeadlineExceeded):
		text += "; the time ran out: allow more with --timeout"
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

// ErrInterrupted is the cause of a context that a signal has ended.
var ErrInterrupted = errors.New("interrupted")
