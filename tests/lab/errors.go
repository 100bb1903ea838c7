package lab

import (
	"errors"
	"strings"
)

var (
	// ErrUnprepared means that a program, the kernel or the image of a guest is
	// missing and cannot be installed.
	ErrUnprepared = errors.New("the guest is not prepared")
	// ErrTimeout means that the run outlasted Config.Timeout and the guest was killed.
	ErrTimeout = errors.New("timed out")
	// ErrGuest means that the guest panicked, died or ended without an exit status.
	ErrGuest = errors.New("the guest failed")
)

// consoleTail is how many lines of the console a failure quotes.
const consoleTail = 40

// GuestError is a failure of the guest, with the last lines of its console.
type GuestError struct {
	Kind    error // ErrTimeout or ErrGuest
	What    string
	Console string
}

func (e *GuestError) Error() string {
	text := e.Kind.Error() + ": " + e.What
	if p := panicLine(e.Console); p != "" {
		text += ": " + p
	}
	tail := lastLines(e.Console, consoleTail)
	if tail == "" {
		return text + "; its console is empty"
	}
	return text + "; the last of its console:\n" + tail
}

func (e *GuestError) Unwrap() error { return e.Kind }

func panicLine(console string) string {
	for line := range strings.Lines(console) {
		if strings.Contains(line, "Kernel panic") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(text, "\r", "")), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
