package loopback_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"thinctl/loopback"
	"thinctl/units"
)

// A sparse file of 100 GiB becomes a block device, grows, and goes.
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
	ctx := context.Background()
	loops := loopback.New(loopback.Options{})
	data, err := loops.Attach(ctx, file, loopback.AttachOptions{Reuse: true})
	if err != nil {
		panic(err)
	}
	if err := loopback.Grow(file, 200*units.GiB, loopback.FileOptions{}); err != nil {
		panic(err)
	}
	size, err := loops.Refresh(ctx, data)
	fmt.Println(size, err)
	fmt.Println(loops.Detach(ctx, data))
	// Output:
	// 200G <nil>
	// <nil>
}
