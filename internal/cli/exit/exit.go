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
	"thinctl/internal/remedy"
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

// codes maps the kinds of package fault to exit codes. The other kinds have CodeFailed.
var codes = map[fault.Kind]int{
	fault.Invalid:     CodeUsage,
	fault.NotFound:    CodeNotFound,
	fault.Exists:      CodeExists,
	fault.Busy:        CodeBusy,
	fault.Unhealthy:   CodeUnhealthy,
	fault.Full:        CodeUnhealthy,
	fault.Damaged:     CodeUnhealthy,
	fault.Unsupported: CodeMissing,
	fault.Denied:      CodeMissing,
	fault.Refused:     CodeFailed,
	fault.Unavailable: CodeFailed,
}

// Code returns the exit code of an error. The kind that the highest layer has given it
// counts: a pool that is unhealthy because a file is missing is unhealthy.
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
	if code, ok := codes[kindOf(err)]; ok {
		return code
	}
	return CodeFailed
}

// kindOf returns an error's kind. An error of the operating system has none by itself.
func kindOf(err error) fault.Kind {
	kind := fault.KindOf(err)
	switch {
	case kind != fault.Unknown:
		return kind
	case errors.Is(err, fs.ErrPermission):
		return fault.Denied
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.Busy
	}
	return fault.Unknown
}

// Message writes an error for people: one line for each fault.
func Message(ctx context.Context, err error) string {
	text := remedy.Text(err)
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
