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

// pools are what is measured, by how many mappings their leaves hold; through
// all devices four times as many are reached. They are families of a device and
// its snapshots, each changed in many places, and their nodes lie anywhere.
var pools = map[string]metadatatest.Large{
	"10M":  {Seed: 1, Families: 10, Devices: 8, Mappings: 500_000, Changes: 400, Shuffle: true},
	"60M":  {Seed: 2, Families: 40, Devices: 8, Mappings: 800_000, Changes: 600, Shuffle: true},
	"200M": {Seed: 3, Families: 100, Devices: 8, Mappings: 1_000_000, Changes: 850, Shuffle: true},
	// Two devices that differ in two thousand blocks.
	"delta": {Seed: 4, Families: 1, Devices: 2, Mappings: 20_000_000, Changes: 12, Shuffle: true},
	// All that metadata can be, or nearly; for -op.
	"16G": {Seed: 5, Families: 250, Devices: 8, Mappings: 1_100_000, Changes: 960, Shuffle: true, MetadataBlocks: metadata.MaxBlocks},
}

// file makes the pool of that name, once, in a process of its own: this one's
// memory would count as that of its children.
func file(ctx context.Context, self, dir, name string) (string, error) {
	path := filepath.Join(dir, "thinctl-bench-"+name+".metadata")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	command := exec.CommandContext(ctx, self, "-make", name, path)
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("making %s: %w", path, err)
	}
	return path, nil
}

func makePool(name, path string) (err error) {
	pool, ok := pools[name]
	if !ok {
		return fmt.Errorf("no pool %s", name)
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
