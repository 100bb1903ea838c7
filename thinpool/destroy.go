package thinpool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"thinctl/dm"
	"thinctl/internal/filelock"
)

// Destroy removes the pool with all its volumes. It fails if a device is in use, and
// waits for a device that is open but not mounted. The pool is gone once its directory is
// renamed. If Destroy is killed after that, the next Create or Sweep under the same root
// removes the rest.
func (p *Pool) Destroy(ctx context.Context) error {
	var unlock func()
	err := p.host.closeWait().await(ctx, func() (err error) {
		unlock, err = p.stopLocked(ctx)
		return err
	})
	if err != nil {
		return err
	}
	defer unlock()
	root := filepath.Dir(p.dir)
	if err := p.removeMountPoints(); err != nil {
		return p.failed("destroy", err)
	}
	condemned := newPool(p.host, filepath.Join(root, destroyingPrefix+p.id.String()+"-"+p.name), p.name)
	condemned.id = p.id
	if err := p.host.Disks.Rename(p.dir, condemned.dir); err != nil {
		return p.failed("destroy", err)
	}
	// An open database would keep the host's file system busy after the pool is gone.
	return p.failed("destroy", errors.Join(condemned.dismantle(ctx), p.db.Close(), condemned.db.Close()))
}

// stopLocked takes all locks that a destruction needs, and removes the pool's devices
// from the kernel. The caller releases the locks with unlock; stopLocked releases them if
// it fails.
func (p *Pool) stopLocked(ctx context.Context) (unlock func(), err error) {
	var locks []*filelock.Lock
	unlock = func() {
		for _, lock := range slices.Backward(locks) {
			lock.Release()
		}
	}
	for _, take := range []func() (*filelock.Lock, error){
		func() (*filelock.Lock, error) { return p.awaitReading(ctx, "destroy") },
		func() (*filelock.Lock, error) { return lockRoot(ctx, filepath.Dir(p.dir)) },
		func() (*filelock.Lock, error) { return p.lock(ctx) },
	} {
		lock, err := take()
		if err != nil {
			unlock()
			return nil, err
		}
		locks = append(locks, lock)
	}
	if err := p.stop(ctx, "destroy"); err != nil {
		unlock()
		return nil, p.failed("destroy", err)
	}
	return unlock, nil
}

// removeMountPoints removes the mount points of the pool, which are empty directories. It
// returns an error if one of them has files, because these are not the pool's.
func (p *Pool) removeMountPoints() error {
	entries, err := os.ReadDir(p.MountsDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := p.host.Disks.Remove(filepath.Join(p.MountsDir(), entry.Name())); err != nil {
			return fmt.Errorf("%s has files that are not the pool's: move them elsewhere: %w", p.MountsDir(), err)
		}
	}
	return nil
}

// removeDevices removes the pool's devices from the kernel, volumes first.
func (p *Pool) removeDevices(ctx context.Context) error {
	own, err := p.ownDevices(ctx)
	if err != nil {
		return err
	}
	for _, pools := range []bool{false, true} {
		for _, entry := range own {
			if entry.isPool != pools {
				continue
			}
			if err := p.removeDevice(ctx, dm.ByUUID(entry.UUID), dm.RemoveOptions{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Sweep removes the remains of killed creations and destructions under root.
func Sweep(ctx context.Context, host Host, root string) error {
	if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return host.closeWait().await(ctx, func() error {
		lock, err := lockRoot(ctx, root)
		if err != nil {
			return err
		}
		defer lock.Release()
		return sweep(ctx, host, root)
	})
}

func sweep(ctx context.Context, host Host, root string) error {
	leftovers, err := Leftovers(root)
	if err != nil {
		return err
	}
	for _, dir := range leftovers {
		_, rest, _ := strings.Cut(strings.TrimPrefix(dir, "."), "-")
		id, name, _ := strings.Cut(rest, "-")
		p := newPool(host, filepath.Join(root, dir), name)
		if p.id, err = parseUUID(id); err != nil {
			return fmt.Errorf("%s is not a directory of thinctl: remove it: %w", filepath.Join(root, dir), err)
		}
		err := errors.Join(p.dismantle(ctx), p.db.Close())
		var open *openDevices
		if errors.As(err, &open) {
			err = openError("remove", p.object(), open)
		}
		if err != nil {
			return fmt.Errorf("remove %s, which a killed command left: %w", p.dir, err)
		}
	}
	return nil
}

// Leftovers lists the temporary directories of creations and destructions under root.
// They are killed ones or still in progress.
func Leftovers(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var left []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), creatingPrefix) || strings.HasPrefix(entry.Name(), destroyingPrefix) {
			left = append(left, entry.Name())
		}
	}
	return left, nil
}
