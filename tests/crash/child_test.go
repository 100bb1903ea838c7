//go:build kernel

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"thinctl/internal/testkit/thinpooltest"
)

// program is a copy of this test binary on the scratch disk. The lab shows the host's files
// over 9p, where starting a program is slow.
var program = sync.OnceValues(func() (string, error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer self.Close()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("crash-%d.test", os.Getpid()))
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o700)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(file, self); err != nil {
		file.Close()
		return "", err
	}
	return path, file.Close()
})

// child returns a process of this binary that has the role.
func child(t *testing.T, root, as string) *exec.Cmd {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, root)
	cmd.Env = append(os.Environ(), role+"="+as)
	return cmd
}

// killed is the child that runs an operation and kills itself before the n-th step, or
// after the last one if there are fewer.
func killed(ctx context.Context, rest string) error {
	number, name, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	host, _, err := OpenHost()
	if err != nil {
		return err
	}
	count := 0
	host = thinpooltest.Steps(host, func(step string, do func() error) error {
		if count++; count == n {
			fmt.Printf("%d %s\n", n, step)
			die()
		}
		return do()
	})
	for _, operation := range thinpooltest.Operations() {
		if operation.Name == name {
			if err := operation.Run(ctx, host, os.Args[1]); err != nil {
				return err
			}
			fmt.Println(acknowledged)
			die()
		}
	}
	return fmt.Errorf("no operation %q", name)
}

const acknowledged = "acknowledged"

// die ends the process as a kill does: no deferred call runs, nothing is closed.
func die() {
	syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {}
}

var errNotKilled = errors.New("it was not killed")

// killAt starts a child and waits until it has killed itself. It returns the step at which
// the child died, or acknowledged.
func killAt(ctx context.Context, t *testing.T, root string, operation thinpooltest.Operation, n int) (string, error) {
	t.Helper()
	cmd := child(t, root, fmt.Sprintf("kill %d %s", n, operation.Name))
	var out, faults bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &faults
	if err := cmd.Start(); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	if !stop() {
		return "", fmt.Errorf("the child hung: %w", ctx.Err())
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return "", fmt.Errorf("the child ended by itself: %s: %w", faults.String(), errors.Join(err, errNotKilled))
	}
	return strings.TrimSpace(out.String()), nil
}
