package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/thinpool"
)

// OpenHost opens the real kernel, loop devices and disks, and returns a function that
// closes them.
func OpenHost() (thinpool.Host, func(), error) {
	kernel, err := dm.Open(dm.Options{})
	if err != nil {
		return thinpool.Host{}, nil,
			fmt.Errorf("this needs a kernel with device mapper, as root; tests/lab/run brings one: %w", err)
	}
	loops := loopback.New(loopback.Options{})
	return thinpool.Host{Kernel: kernel, Loops: loops, Disks: thinpool.LocalDisks{}},
		func() { kernel.Close(); loops.Close() }, nil
}

// ThinCheck runs thin_check on the metadata file of a pool that is not active or is idle.
func ThinCheck(ctx context.Context, pool *thinpool.Pool) error {
	out, err := exec.CommandContext(ctx, "thin_check", filepath.Join(pool.Dir(), "metadata")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("thin_check of pool %s: %w\n%s", pool.Name(), err, out)
	}
	return nil
}

// Leaks reports directories under root and devices in the kernel that belong to no pool.
func Leaks(root string) error {
	var faults []error
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	backing := map[string]bool{}
	for _, entry := range entries {
		dir := filepath.Join(root, entry.Name())
		if strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".lock" {
			faults = append(faults, fmt.Errorf("%s is left", dir))
		}
		if !entry.IsDir() {
			continue
		}
		backing[filepath.Join(dir, "data")], backing[filepath.Join(dir, "metadata")] = true, true
		inside, err := os.ReadDir(dir)
		faults = append(faults, err)
		for _, file := range inside {
			switch file.Name() {
			case "data", "metadata", "state.db", "state.db.lock", "state.db.gz", "lock", "mnt", "layers", "work.lock":
			default:
				faults = append(faults, fmt.Errorf("%s is left in %s", file.Name(), dir))
			}
		}
	}
	attached, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	faults = append(faults, err)
	for _, path := range attached {
		file, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		name := strings.TrimSpace(string(file))
		switch within, ours := strings.CutPrefix(name, root); {
		case err != nil:
			faults = append(faults, err)
		case !ours:
		case backing[name]:
			delete(backing, name)
		default:
			faults = append(faults, fmt.Errorf("%s: a loop device too many on %s", path, within))
		}
	}
	return errors.Join(faults...)
}

// NothingLeft reports what the system's own tools still show after all pools have been
// destroyed.
func NothingLeft(ctx context.Context, root string) error {
	faults := []error{Leaks(root)}
	for _, look := range []struct {
		bad     string
		command []string
	}{
		{"thinctl-", []string{"dmsetup", "ls"}},
		{root, []string{"losetup", "-a"}},
	} {
		out, err := exec.CommandContext(ctx, look.command[0], look.command[1:]...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", strings.Join(look.command, " "), err, out)
		} else if strings.Contains(string(out), look.bad) {
			err = fmt.Errorf("%s shows leftovers:\n%s", strings.Join(look.command, " "), out)
		}
		faults = append(faults, err)
	}
	entries, err := os.ReadDir(root)
	for _, entry := range entries {
		if entry.Name() != ".lock" {
			faults = append(faults, fmt.Errorf("%s is left in %s", entry.Name(), root))
		}
	}
	return errors.Join(err, errors.Join(faults...))
}
