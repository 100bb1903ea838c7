package loopback_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/internal/testkit/need"
	"thinctl/loopback"
	"thinctl/units"
)

// childJob, if set, makes the test binary one of the processes that a test
// starts: see children_test.go.
const childJob = "THINCTL_LOOPBACK_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childJob); job != "" {
		os.Exit(runChild(job))
	}
	flag.Parse()
	if os.Geteuid() != 0 && os.Getenv(need.Variable) == "" {
		// An example cannot skip itself, and this package's attaches a device.
		if err := flag.Set("test.skip", "^Example"); err != nil {
			panic(err)
		}
	}
	before := indexes()
	code := m.Run()
	removeFresh(before)
	os.Exit(code)
}

// tempDir is a folder for backing files; at the test's end no loop device may
// have a file in it any more.
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
				t.Errorf("left attached: %+v; detaching: %v", info, c.Detach(context.Background(), info.Device))
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

// removeFresh leaves the host with the loop devices that it had; the kernel
// refuses to remove one in use.
func removeFresh(before map[string]bool) {
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
