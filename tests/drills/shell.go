package drills

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// Shell is the shell that runs the commands. Variables and exit statuses are kept from one
// command to the next.
type Shell struct {
	in     io.WriteCloser
	out    *bufio.Reader
	mark   string // ends a command's output
	code   int
	cancel func()
	wait   func() error
}

// NewShell starts a bash, which ends with ctx.
func NewShell(ctx context.Context, vars map[string]string) (*Shell, error) {
	ctx, cancel := context.WithCancel(ctx)
	bash := exec.CommandContext(ctx, "bash", "--noprofile", "--norc")
	in, err := bash.StdinPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	near, far := io.Pipe()
	bash.Stdout, bash.Stderr = far, far
	if err := bash.Start(); err != nil {
		cancel()
		return nil, err
	}
	s := &Shell{in: in, out: bufio.NewReader(near), mark: "end-" + rand.Text(), cancel: cancel}
	ended := make(chan error, 1)
	go func() {
		err := bash.Wait()
		far.CloseWithError(errors.Join(errors.New("the shell has ended"), err))
		ended <- err
	}()
	s.wait = func() error { return <-ended }
	for name, value := range vars {
		if _, code, err := s.Run(fmt.Sprintf("%s='%s'", name, value)); err != nil || code != 0 {
			return nil, errors.Join(fmt.Errorf("setting %s: exit status %d", name, code), err, s.Close())
		}
	}
	return s, nil
}

// Run runs one command, without a terminal, and returns what it wrote and its
// exit status.
func (s *Shell) Run(command string) (output string, code int, err error) {
	_, err = fmt.Fprintf(s.in, "(exit %d)\n{ %s\n} </dev/null\nprintf '\\n%s %%d\\n' $?\n", s.code, command, s.mark)
	if err != nil {
		return "", 0, err
	}
	var b strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			return b.String(), 0, err
		}
		if rest, is := strings.CutPrefix(line, s.mark+" "); is {
			_, err := fmt.Sscan(rest, &s.code)
			return strings.TrimSuffix(b.String(), "\n"), s.code, err
		}
		b.WriteString(line)
	}
}

// Close ends the shell.
func (s *Shell) Close() error {
	err := s.in.Close()
	s.cancel()
	_ = s.wait() // it was killed
	return err
}
