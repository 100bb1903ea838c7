package loopback_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"thinctl/internal/testkit/looptest"
	"thinctl/loopback"
	"thinctl/units"
)

// A sparse file of 100 GiB becomes a block device, then grows to 200 GiB.
func Example() {
	dir, err := os.MkdirTemp("", "loopback")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "data")
	if err := loopback.CreateSparse(file, 100*units.GiB, loopback.FileOptions{}); err != nil {
		panic(err)
	}

	// These loop devices are in memory, so that the example runs without root. For the
	// kernel's loop devices, use loopback.New(loopback.Options{}).
	memory := looptest.New(looptest.Hooks{})
	defer memory.PowerOff()
	var loops loopback.Loops = memory

	ctx := context.Background()
	device, err := loops.Attach(ctx, file, loopback.AttachOptions{Reuse: true})
	if err != nil {
		panic(err)
	}
	if err := loopback.Grow(file, 200*units.GiB, loopback.FileOptions{}); err != nil {
		panic(err)
	}
	size, err := loops.Refresh(ctx, device)
	fmt.Println(device.Path, size, err)
	fmt.Println("detached:", loops.Detach(ctx, device))
	// Output:
	// /dev/loop0 200G <nil>
	// detached: <nil>
}

// The file takes space on the host only for the blocks that have been written.
func ExampleUsage() {
	dir, err := os.MkdirTemp("", "loopback")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "data")
	if err := loopback.CreateSparse(file, 100*units.GiB, loopback.FileOptions{}); err != nil {
		panic(err)
	}
	usage, err := loopback.Usage(file)
	fmt.Println(usage.Apparent, usage.Allocated < units.MiB, err)
	// Output: 100G true <nil>
}
