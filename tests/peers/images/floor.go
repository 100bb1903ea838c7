package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"thinctl/tests/programs"
)

// floorLoad returns the time that tar takes to unpack into a fresh ext4 on a loop device,
// with a sync of that file system, and then the time of a sha256sum of the tar, because
// every loader must verify it. Making and mounting the file system is not counted.
func floorLoad(ctx context.Context, f fixture) (took, hashed time.Duration, err error) {
	file := filepath.Join(f.dir, "floor.img")
	target := filepath.Join(f.dir, "floor")
	for _, args := range [][]string{
		{"truncate", "-s", "10G", file},
		{"mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=1", file},
		{"mkdir", "-p", target},
		{"mount", "-o", "loop", file, target},
	} {
		if _, err := programs.Run(ctx, args[0], args[1:]...); err != nil {
			return 0, 0, err
		}
	}
	defer func() {
		if _, unmounted := programs.Run(ctx, "umount", target); err == nil {
			err = unmounted
		}
		os.Remove(file)
	}()
	began := time.Now()
	for _, layer := range f.layers {
		if _, err := programs.Run(ctx, "tar", "--numeric-owner", "-xpf", layer, "-C", target); err != nil {
			return 0, 0, err
		}
	}
	_, err = programs.Run(ctx, "sync", "-f", target)
	took = time.Since(began)
	if err == nil {
		_, err = programs.Run(ctx, "sha256sum", f.layers...)
	}
	return took, time.Since(began), err
}
