// Package doctor examines whether a host is fit for thin pools: permissions, the
// kernel, loop devices, udev, programs, free space and what killed processes left.
// It changes nothing.
package doctor

import (
	"context"
	"fmt"
	"io"
	"strings"

	"thinctl/thinpool"
)

// Verdict is the result of one check.
type Verdict string

// The verdicts. A host with warnings is fit.
const (
	OK   Verdict = "ok"
	Warn Verdict = "warn"
	Fail Verdict = "fail"
)

// Check is the result of one check.
type Check struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`
	Remedy  string  `json:"remedy,omitempty"`
}

// Options are the subject of an examination.
type Options struct {
	Root  string                                   // the directory of the pools
	EUID  func() int                               // of this process
	Open  func() (thinpool.Host, io.Closer, error) // opens the host's device mapper
	Probe Probe
}

// examination collects the results of the checks.
type examination struct {
	ctx  context.Context
	o    Options
	host thinpool.Host
	rows []Check
}

// Examine returns the results of all checks.
func Examine(ctx context.Context, o Options) []Check {
	e := &examination{ctx: ctx, o: o}
	e.permissions()
	e.kernel()
	e.loops()
	e.udev()
	e.programs()
	e.space()
	e.leftovers()
	return e.rows
}

func (e *examination) ok(check, format string, args ...any) {
	e.rows = append(e.rows, Check{check, OK, fmt.Sprintf(format, args...), ""})
}

func (e *examination) warn(check, remedy, format string, args ...any) {
	e.rows = append(e.rows, Check{check, Warn, fmt.Sprintf(format, args...), remedy})
}

func (e *examination) fail(check, remedy, format string, args ...any) {
	e.rows = append(e.rows, Check{check, Fail, fmt.Sprintf(format, args...), remedy})
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func listed(names []string) string { return strings.Join(names, ", ") }
