package programs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Run runs a program and returns its standard output without the last newline.
func Run(ctx context.Context, name string, args ...string) (string, error) {
	return command{ctx: ctx}.run(name, args...)
}

// RunWith is Run with more environment variables.
func RunWith(ctx context.Context, env []string, name string, args ...string) (string, error) {
	return command{ctx: ctx, env: env}.run(name, args...)
}

type command struct {
	ctx   context.Context
	dir   string
	env   []string // added to the caller's
	stdin io.Reader
}

func (c command) run(name string, args ...string) (string, error) {
	out, err := c.raw(name, args...)
	return strings.TrimSuffix(string(out), "\n"), err
}

func (c command) raw(name string, args ...string) ([]byte, error) {
	var out, said bytes.Buffer
	cmd := exec.CommandContext(c.ctx, name, args...)
	if len(c.env) > 0 {
		cmd.Env = append(os.Environ(), c.env...)
	}
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.dir, c.stdin, &out, &said
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err,
			tail(out.Bytes()), tail(said.Bytes()))
	}
	return out.Bytes(), nil
}

// Until repeats try until it succeeds. what is what it waits for.
func Until(ctx context.Context, what string, patience time.Duration, try func() error) error {
	deadline := time.After(patience)
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", what, ctx.Err(), err)
		case <-deadline:
			return fmt.Errorf("%s: did not happen within %s: %w", what, patience, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func tail(text []byte) []byte { return text[max(0, len(text)-2000):] }
