package loopback_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/loopback"
	"thinctl/units"
)

// childJob is a variable that makes the test binary run as a child process of a test:
// see children_test.go.
const childJob = "THINCTL_LOOPBACK_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childJob); job != "" {
		os.Exit(runChild(job))
	}
	before := indexes()
	code := m.Run()
	removeAdded(before)
	os.Exit(code)
}

// tempDir returns a directory for backing files. At the end of the test no loop
// device may have a file in it.
func tempDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		c := loopback.New(loopback.Options{})
		all, err := c.List(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, info := range all {
			if strings.HasPrefix(info.BackingPath, dir+"/") {
				t.Errorf("still attached at the end: %+v; detach: %v", info, c.Detach(context.Background(), info.Device))
			}
		}
	})
	return dir
}

func makeFile(t *testing.T, dir, name string, size units.Bytes) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := loopback.CreateSparse(path, size, loopback.FileOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

func attach(t *testing.T, c *loopback.Control, file string, o loopback.AttachOptions) loopback.Device {
	t.Helper()
	d, err := c.Attach(t.Context(), file, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func detach(t *testing.T, c *loopback.Control, d loopback.Device) {
	t.Helper()
	if err := c.Detach(context.Background(), d); err != nil {
		t.Error(err)
	}
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func indexes() map[string]bool {
	paths, _ := filepath.Glob("/sys/block/loop*")
	have := map[string]bool{}
	for _, p := range paths {
		have[p] = true
	}
	return have
}

// removeAdded removes the loop devices that the tests have added to the host. The
// kernel does not remove a device in use.
func removeAdded(before map[string]bool) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer control.Close()
	for p := range indexes() {
		var index int
		if _, err := fmt.Sscanf(filepath.Base(p), "loop%d", &index); err == nil && !before[p] {
			_ = unix.IoctlSetInt(int(control.Fd()), unix.LOOP_CTL_REMOVE, index)
		}
	}
}
