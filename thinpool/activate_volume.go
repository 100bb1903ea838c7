package thinpool

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// ActivateVolume creates the volume's block device, unless it exists. The node exists when
// ActivateVolume returns.
func (p *Pool) ActivateVolume(ctx context.Context, name string) (Volume, error) {
	record, unlock, err := p.holdVolume(ctx, "activate", name)
	if err != nil {
		return Volume{}, err
	}
	defer unlock()
	info, err := p.activateThin(ctx, record, volumeDeviceName(p.name, name))
	if err != nil {
		return Volume{}, p.volumeFailed("activate", name, err)
	}
	return activeVolume(record, info), nil
}

// LookupActive returns the active volume of a record that was read in View. ok is false if
// ActivateVolume has something to do, or would return an error. LookupActive never waits.
func (p *Pool) LookupActive(ctx context.Context, record store.Volume) (volume Volume, ok bool) {
	info, err := p.host.Kernel.Info(ctx, p.volumeRef(record.ID))
	if err != nil || !info.ActiveTable || info.Suspended || info.ReadOnly != record.ReadOnly ||
		info.Name != volumeDeviceName(p.name, record.Name) {
		return Volume{}, false
	}
	// No node is made without the volume's lock: the device may be about to be removed.
	if private(record.For) && !p.host.Kernel.HasOwnNode(ctx, info) {
		return Volume{}, false
	}
	return activeVolume(record, info), true
}

// activateThin creates a volume's device. The caller holds the volume's lock, not the
// pool's.
//
// A suspended pool accepts no new thin device (EINVAL, dm-thin.c, thin_ctr). An extension
// suspends the pool for a moment and holds its lock; one that was killed in that moment
// leaves the pool suspended.
func (p *Pool) activateThin(ctx context.Context, record store.Volume, name dm.Name) (dm.Info, error) {
	info, err := p.tryActivateThin(ctx, record, name)
	if !errors.Is(err, syscall.EINVAL) {
		return info, err
	}
	lock, held := p.lock(ctx)
	if held != nil {
		return info, errors.Join(err, held)
	}
	defer lock.Release()
	if resumed := p.resumeIfSuspended(ctx, p.ref()); resumed != nil {
		return info, errors.Join(err, resumed)
	}
	return p.tryActivateThin(ctx, record, name)
}

// tryActivateThin creates, loads and resumes a thin device, from any state that a killed
// process can leave.
func (p *Pool) tryActivateThin(ctx context.Context, record store.Volume, name dm.Name) (dm.Info, error) {
	pool, status, err := p.kernelStatus(ctx)
	if err != nil {
		return dm.Info{}, err
	}
	if status.Mode == dm.ModeFail {
		return dm.Info{}, p.writable("activate a volume of", status)
	}
	table := dm.Thin{Length: record.Size.Sectors(), Pool: pool.Dev, ID: record.ID}
	ref := p.volumeRef(record.ID)
	info, err := p.host.Kernel.Info(ctx, ref)
	made := false
	switch {
	case errors.Is(err, fault.NotFound):
		if info, err = p.host.Kernel.Create(ctx, name, volumeDeviceUUID(p.id.String(), record.ID)); err != nil {
			return info, nameTaken(name, err)
		}
		made = true
	case err != nil:
		return info, err
	case info.ActiveTable && !info.Suspended:
		same, err := p.tableIs(ctx, ref, table)
		if err != nil {
			return info, err
		}
		if same && info.ReadOnly == record.ReadOnly {
			return info, p.ownNode(ctx, record, info)
		}
	}
	info, err = p.loadAndResume(ctx, ref, table, dm.LoadOptions{ReadOnly: record.ReadOnly},
		dm.ResumeOptions{Private: true, NoUdevSync: private(record.For)})
	if err == nil {
		return info, p.ownNode(ctx, record, info)
	}
	if made {
		clean, cancel := contexts.Cleanup(ctx)
		defer cancel()
		_, removed := p.host.Kernel.Remove(clean, ref, dm.RemoveOptions{NoUdevSync: private(record.For)})
		err = errors.Join(err, removed)
	}
	return info, err
}

// private reports whether a package above the pool keeps the volume. Its device needs no
// name under /dev/mapper: it has its own node. No operation waits for udev, because
// udev's rules take longer than the rest of an activation.
func private(keptFor string) bool { return keptFor != "" }

// nodeOf returns the path of a volume's node.
func nodeOf(keptFor string, device dm.Name) string {
	if private(keptFor) {
		return device.OwnNode()
	}
	return device.Node()
}

// NodeOf returns the path that a volume's device has while it is active.
func (p *Pool) NodeOf(record store.Volume) string {
	return nodeOf(record.For, volumeDeviceName(p.name, record.Name))
}

// ownNode makes the node of a private volume's device if it is missing, for example after a
// kill.
func (p *Pool) ownNode(ctx context.Context, record store.Volume, info dm.Info) error {
	if !private(record.For) {
		return nil
	}
	return p.host.Kernel.MakeOwnNode(ctx, info)
}

func nameTaken(name dm.Name, err error) error {
	if errors.Is(err, fault.Exists) {
		return fmt.Errorf("%w: another device has the name %s: remove or rename it (%w)", fault.Exists, name, err)
	}
	return err
}

func (p *Pool) tableIs(ctx context.Context, ref dm.Ref, want dm.Target) (bool, error) {
	lines, err := p.host.Kernel.Table(ctx, ref)
	return err == nil && len(lines) == 1 && lines[0] == want.Line(), err
}

// loadAndResume loads a table and resumes the device. It clears the table again if the
// resume fails.
func (p *Pool) loadAndResume(
	ctx context.Context, ref dm.Ref, table dm.Target, load dm.LoadOptions, resume dm.ResumeOptions,
) (dm.Info, error) {
	if err := p.host.Kernel.Load(ctx, ref, []dm.Target{table}, load); err != nil {
		return dm.Info{}, err
	}
	info, err := p.host.Kernel.Resume(ctx, ref, resume)
	if err != nil {
		clean, cancel := contexts.Cleanup(ctx)
		defer cancel()
		return info, errors.Join(err, p.host.Kernel.Clear(clean, ref))
	}
	return info, nil
}

// DeactivateVolume removes the volume's block device, not the volume. It waits for a device
// that is open but not mounted.
func (p *Pool) DeactivateVolume(ctx context.Context, name string) error {
	return p.host.closeWait().await(ctx, func() error { return p.DeactivateIfClosed(ctx, name) })
}

// DeactivateIfClosed is DeactivateVolume without the wait.
func (p *Pool) DeactivateIfClosed(ctx context.Context, name string) error {
	record, unlock, err := p.holdVolume(ctx, "deactivate", name)
	if err != nil {
		return err
	}
	defer unlock()
	return p.volumeFailed("deactivate", name, p.deactivateThin(ctx, record))
}

func (p *Pool) deactivateThin(ctx context.Context, record store.Volume) error {
	err := p.removeDevice(ctx, p.volumeRef(record.ID), dm.RemoveOptions{NoUdevSync: private(record.For)})
	var open *openDevices
	if errors.As(err, &open) {
		return openError("deactivate", p.volumeObject(record.Name), open)
	}
	return err
}

// ResizeVolume grows a volume to size, active or not. It does not grow the file system
// on the volume.
func (p *Pool) ResizeVolume(ctx context.Context, name string, size units.Bytes) (Volume, error) {
	return p.resizeVolume(ctx, name, size, false)
}

// GrowVolume grows a volume by a number of bytes.
func (p *Pool) GrowVolume(ctx context.Context, name string, by units.Bytes) (Volume, error) {
	return p.resizeVolume(ctx, name, by, true)
}

func (p *Pool) resizeVolume(ctx context.Context, name string, asked units.Bytes, more bool) (Volume, error) {
	record, unlock, err := p.holdVolume(ctx, "resize", name)
	if err != nil {
		return Volume{}, err
	}
	defer unlock()
	if err := p.keptFor("resize", record, ""); err != nil {
		return Volume{}, err
	}
	size := target(record.Size, asked, more)
	if err := checkVolumeSize(size); err != nil {
		return Volume{}, p.volumeError("resize", name, fault.Invalid, err)
	}
	if size < record.Size {
		return Volume{}, p.volumeError("resize", name, fault.Invalid,
			fmt.Errorf("%s is smaller than its %s: volumes may only grow", size, record.Size))
	}
	if size != record.Size {
		record.Size = size
		err = p.db.Update(ctx, func(tx *store.Tx) error {
			now, err := tx.Volume(name)
			if err != nil {
				return err
			}
			now.Size = size
			return tx.PutVolume(now)
		})
		if err != nil {
			return Volume{}, p.volumeFailed("resize", name, err)
		}
	}
	info, err := p.host.Kernel.Info(ctx, p.volumeRef(record.ID))
	if errors.Is(err, fault.NotFound) {
		return plainVolume(record), nil
	}
	if err == nil {
		info, err = p.activateThin(ctx, record, volumeDeviceName(p.name, name))
	}
	return activeVolume(record, info), p.volumeFailed("resize", name, err)
}

func activeVolume(record store.Volume, info dm.Info) Volume {
	volume := plainVolume(record)
	volume.Active = true
	volume.Suspended = info.Suspended
	volume.Open = info.OpenCount
	volume.Dev = info.Dev
	volume.Node = nodeOf(record.For, info.Name)
	return volume
}
