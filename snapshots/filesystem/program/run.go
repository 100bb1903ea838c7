package program

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// grace is the time that a killed program has to end.
const grace = 5 * time.Second

// Result is the result of a program.
type Result struct {
	Status int      // the exit status; -1 if a signal ended it
	Lines  []string // the tail of both outputs
	Cut    bool     // the output had more lines before Lines
}

// ExitError is the error for a program that ended with a status other than 0.
type ExitError struct {
	Path string
	Result
	state string
}

func (e *ExitError) Error() string {
	text := fmt.Sprintf("%s failed (%s)", filepath.Base(e.Path), e.state)
	// The reason is mostly in the last lines; mkfs.xfs prints its usage after it.
	const first, last = 2, 4
	lines := e.Lines
	if len(lines) > first+last {
		lines = slices.Concat(lines[:first], []string{"..."}, lines[len(lines)-last:])
	}
	if len(lines) > 0 {
		text += ": " + strings.Join(lines, "; ")
	}
	return text
}

// Run runs the program at path to its end. A status other than 0 is also an
// *ExitError. If ctx ends first, Run kills the program and returns the cause of ctx.
func Run(ctx context.Context, path string, args ...string) (Result, error) {
	return run(ctx, grace, path, args...)
}

func run(ctx context.Context, grace time.Duration, path string, args ...string) (Result, error) {
	name := filepath.Base(path)
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("%s was not started: %w", name, context.Cause(ctx))
	}
	var out tail
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"LC_ALL=C", "PATH=" + strings.Join(defaultDirs(), ":")}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = grace
	if err := cmd.Start(); err != nil {
		return Result{}, fmt.Errorf("start %s: %w", path, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return finish(ctx, cmd, &out, err)
	case <-ctx.Done():
	}
	limit := time.NewTimer(2 * grace) // Wait itself needs up to one for the pipes
	defer limit.Stop()
	select {
	case err := <-ended:
		return finish(ctx, cmd, &out, err)
	case <-limit.C:
		return out.result(-1), fmt.Errorf("%s (process %d) was killed but is blocked in the kernel: check its device: %w",
			name, cmd.Process.Pid, context.Cause(ctx))
	}
}

func finish(ctx context.Context, cmd *exec.Cmd, out *tail, err error) (Result, error) {
	result := out.result(cmd.ProcessState.ExitCode())
	var exit *exec.ExitError
	switch {
	case err == nil:
		return result, nil
	case ctx.Err() != nil:
		return result, fmt.Errorf("%s was killed: %w", filepath.Base(cmd.Path), context.Cause(ctx))
	case errors.As(err, &exit):
		return result, &ExitError{Path: cmd.Path, Result: result, state: cmd.ProcessState.String()}
	}
	return result, fmt.Errorf("run %s: %w", cmd.Path, err)
}
