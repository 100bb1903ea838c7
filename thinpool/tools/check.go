package tools

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thinctl/thinpool/tools/program"
)

// bound is how long a run may take where the context sets no deadline: the
// largest metadata of 16 GiB takes minutes on a fast disk.
const bound = 2 * time.Hour

// Report is what a check said.
type Report struct {
	Status int      // the exit status, -1 where a signal ended it
	Lines  []string // the last lines of the output
	Cut    bool     // there were more lines before
}

// Clean reports whether nothing was found.
func (r Report) Clean() bool { return r.Status == 0 }

// Check checks the metadata in the device or file at path and changes nothing.
// Where thin_check fails the report comes with an ErrDamaged.
func Check(ctx context.Context, path string) (Report, error) {
	return runner{}.check(ctx, path)
}

// ClearNeedsCheck checks the metadata at path and, where that is clean, clears
// needs_check.
func ClearNeedsCheck(ctx context.Context, path string) error {
	return runner{}.clearNeedsCheck(ctx, path)
}

// runner is where the tools are looked for; none means the usual folders.
type runner struct{ dirs []string }

func (r runner) check(ctx context.Context, path string) (Report, error) {
	report, err := r.thinCheck(ctx, path)
	if err != nil {
		return report, fmt.Errorf("checking metadata %s: %w", path, err)
	}
	return report, nil
}

func (r runner) clearNeedsCheck(ctx context.Context, path string) error {
	if _, err := r.thinCheck(ctx, path); err != nil {
		return fmt.Errorf("clearing needs_check of metadata %s, not touched yet: %w", path, err)
	}
	if _, err := r.thinCheck(ctx, path, "--clear-needs-check-flag"); err != nil {
		return fmt.Errorf("clearing needs_check of metadata %s: %w", path, err)
	}
	return nil
}

func (r runner) thinCheck(ctx context.Context, path string, options ...string) (Report, error) {
	path, err := usable(path)
	if err != nil {
		return Report{Status: -1}, err
	}
	result, err := r.run(ctx, "thin_check", append(options, path)...)
	return Report(result), err
}

func (r runner) run(ctx context.Context, name string, args ...string) (program.Result, error) {
	path, err := program.Program{
		Name:     name,
		Packages: "thin-provisioning-tools (Debian, Ubuntu) or device-mapper-persistent-data (CentOS, Fedora)",
	}.Find(r.dirs)
	if err != nil {
		return program.Result{Status: -1}, err
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, bound)
		defer cancel()
	}
	result, err := program.Run(ctx, path, args...)
	var exit *program.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return result, err
}
