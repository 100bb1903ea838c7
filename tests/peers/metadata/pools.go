package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"thinctl/internal/testkit/metadatatest"
	"thinctl/thinpool/metadata"
)

// pools are the measured pools, named after the number of mappings in their leaves. All devices
// together have four times as many mappings. A pool consists of families of a device and its
// snapshots, with changes in many places and nodes in random order.
var pools = map[string]metadatatest.Large{
	"10M":  {Seed: 1, Families: 10, Devices: 8, Mappings: 500_000, Changes: 400, Shuffle: true},
	"60M":  {Seed: 2, Families: 40, Devices: 8, Mappings: 800_000, Changes: 600, Shuffle: true},
	"200M": {Seed: 3, Families: 100, Devices: 8, Mappings: 1_000_000, Changes: 850, Shuffle: true},
	// Two devices with about two thousand different blocks.
	"delta": {Seed: 4, Families: 1, Devices: 2, Mappings: 20_000_000, Changes: 12, Shuffle: true},
	// Nearly the largest possible metadata; for -op.
	"16G": {Seed: 5, Families: 250, Devices: 8, Mappings: 1_100_000, Changes: 960, Shuffle: true,
		MetadataBlocks: metadata.MaxBlocks},
}

// poolFile writes the metadata of the pool once, in its own process, because the memory of this
// process would count as that of its children.
func poolFile(ctx context.Context, self, dir, name string) (string, error) {
	path := filepath.Join(dir, "thinctl-bench-"+name+".metadata")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	command := exec.CommandContext(ctx, self, "-make", name, path)
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("make %s: %w", path, err)
	}
	return path, nil
}

func makePool(name, path string) (err error) {
	pool, ok := pools[name]
	if !ok {
		return fmt.Errorf("unknown pool %s", name)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "thinctl-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := pool.Save(f, nil); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
