package main

import (
	"fmt"
	"os"
	"path/filepath"

	"thinctl/thinpool/metadata/metadatatest"
)

// pools are what is measured, by how many mappings their leaves hold: families
// of a device and its snapshots, whose nodes lie anywhere.
var pools = map[string]metadatatest.Large{
	"10M":  {Seed: 1, Families: 10, Devices: 20, Mappings: 800_000, Changes: 60, Shuffle: true},
	"60M":  {Seed: 2, Families: 20, Devices: 50, Mappings: 2_400_000, Changes: 70, Shuffle: true},
	"200M": {Seed: 3, Families: 20, Devices: 50, Mappings: 8_000_000, Changes: 240, Shuffle: true},
	// Two devices that differ in two thousand blocks.
	"delta": {Seed: 4, Families: 1, Devices: 2, Mappings: 20_000_000, Changes: 12, Shuffle: true},
}

// file makes the pool of that name, once.
func file(dir, name string) (string, error) {
	pool, ok := pools[name]
	if !ok {
		return "", fmt.Errorf("no pool %s", name)
	}
	path := filepath.Join(dir, "thinctl-bench-"+name+".metadata")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	f, err := os.CreateTemp(dir, "thinctl-bench-")
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := pool.Save(f, nil); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return path, os.Rename(f.Name(), path)
}
