package dmtest

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/units"
)

// Major is the major number of the fake device mapper's devices.
const Major = 253

// device is a mapped device (drivers/md/dm.c, struct mapped_device).
type device struct {
	name     dm.Name
	uuid     dm.UUID
	number   blockdev.Number
	event    uint32
	readOnly bool

	live     *table
	inactive *table
	loaded   bool   // a table has been loaded before; see admit
	fixed    string // the only target type that the device accepts; see resume

	ownNode   bool
	suspended bool
	inner     int // number of suspends by its pool (dm_internal_suspend_noflush)
	deferred  bool

	uses map[blockdev.Number]int // the devices that its tables have open
}

// find looks up a device as __find_device_hash_cell does.
func (k *Kernel) find(ref dm.Ref) (*device, error) {
	var d *device
	switch {
	case ref.UUID() != "":
		d = k.uuids[ref.UUID()]
	case ref.Name() != "":
		d = k.names[ref.Name()]
	case ref.Dev().Major == Major:
		d = k.devices[ref.Dev().Minor]
	}
	if d == nil {
		return nil, unix.ENXIO
	}
	return d, nil
}

func (k *Kernel) info(d *device) dm.Info {
	info := dm.Info{
		Name: d.name, UUID: d.uuid, Dev: d.number,
		OpenCount: k.opens[d.number], EventNr: d.event,
		Suspended: d.suspended, InactiveTable: d.inactive != nil, DeferredRemove: d.deferred,
	}
	if d.live != nil {
		info.ActiveTable = true
		info.TargetCount = len(d.live.targets)
		info.ReadOnly = d.readOnly
	}
	return info
}

// Version implements [dm.Kernel].
func (k *Kernel) Version(ctx context.Context) (dm.Version, error) {
	return call(ctx, k, opVersion, dm.Ref{}, "", func() (dm.Version, error) { return k.protocol, nil })
}

// TargetVersion implements [dm.Kernel].
func (k *Kernel) TargetVersion(ctx context.Context, target string) (dm.Version, error) {
	return call(ctx, k, opTargetVersion, dm.Ref{}, target, func() (dm.Version, error) {
		if v, ok := k.targets[target]; ok {
			return v, nil
		}
		return dm.Version{}, missingTarget(target)
	})
}

func missingTarget(target string) error {
	return &dm.Error{Op: "find", Object: "target " + target, Kind: dm.ErrNoTarget}
}

// Targets implements [dm.Kernel].
func (k *Kernel) Targets(ctx context.Context) ([]dm.TargetVersion, error) {
	return call(ctx, k, opTargets, dm.Ref{}, "", func() ([]dm.TargetVersion, error) {
		var all []dm.TargetVersion
		for name, version := range k.targets {
			all = append(all, dm.TargetVersion{Name: name, Version: version})
		}
		slices.SortFunc(all, func(a, b dm.TargetVersion) int { return strings.Compare(a.Name, b.Name) })
		return all, nil
	})
}

// Create implements [dm.Kernel].
func (k *Kernel) Create(ctx context.Context, name dm.Name, uuid dm.UUID) (dm.Info, error) {
	if _, err := dm.NewName(string(name)); err != nil {
		return dm.Info{}, err
	}
	if _, err := dm.NewUUID(string(uuid)); err != nil {
		return dm.Info{}, err
	}
	return call(ctx, k, opCreate, dm.ByName(name), string(uuid), func() (dm.Info, error) {
		if k.names[name] != nil || uuid != "" && k.uuids[uuid] != nil {
			return dm.Info{}, unix.EBUSY
		}
		minor := uint32(0)
		for k.devices[minor] != nil {
			minor++
		}
		number := blockdev.Number{Major: Major, Minor: minor}
		d := &device{name: name, uuid: uuid, number: number, uses: make(map[blockdev.Number]int)}
		k.devices[minor], k.names[name] = d, d
		if uuid != "" {
			k.uuids[uuid] = d
		}
		return k.info(d), nil
	})
}

// Remove implements [dm.Kernel].
func (k *Kernel) Remove(ctx context.Context, ref dm.Ref, options dm.RemoveOptions) (bool, error) {
	return call(ctx, k, opRemove, ref, "", func() (bool, error) {
		d, err := k.find(ref)
		if err != nil {
			return false, err
		}
		if k.opens[d.number] == 0 {
			k.destroy(d)
			return false, nil
		}
		if options.Deferred && k.protocol.AtLeast(4, 27) {
			d.deferred = true
			return true, nil
		}
		return false, unix.EBUSY
	})
}

func (k *Kernel) destroy(d *device) {
	delete(k.devices, d.number.Minor)
	delete(k.names, d.name)
	if d.uuid != "" {
		delete(k.uuids, d.uuid)
	}
	if !d.suspended {
		k.suspend(d)
	}
	k.drop(d, d.inactive)
	k.drop(d, d.live)
	d.inactive, d.live = nil, nil
	k.wakeAll()
}

// MakeOwnNode implements [dm.OwnNodes].
func (k *Kernel) MakeOwnNode(ctx context.Context, info dm.Info) error {
	_, err := call(ctx, k, opOwnNode, dm.ByDev(info.Dev), "", func() (struct{}, error) {
		d, err := k.find(dm.ByDev(info.Dev))
		if err == nil {
			d.ownNode = true
		}
		return struct{}{}, err
	})
	return err
}

// HasOwnNode implements [dm.OwnNodes].
func (k *Kernel) HasOwnNode(_ context.Context, info dm.Info) bool {
	dev, ok := k.Behind(info.Name.OwnNode())
	return ok && dev == info.Dev
}

// Behind returns the number of the device that a node leads to.
func (k *Kernel) Behind(node string) (blockdev.Number, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, d := range k.devices {
		if d.name.Node() == node || d.ownNode && d.name.OwnNode() == node {
			return d.number, true
		}
	}
	return blockdev.Number{}, false
}

// Rename implements [dm.Kernel].
func (k *Kernel) Rename(ctx context.Context, ref dm.Ref, name dm.Name) error {
	if _, err := dm.NewName(string(name)); err != nil {
		return err
	}
	_, err := call(ctx, k, opRename, ref, string(name), func() (struct{}, error) {
		d, err := k.find(ref)
		if err != nil {
			return struct{}{}, err
		}
		if k.names[name] != nil {
			return struct{}{}, unix.EBUSY
		}
		delete(k.names, d.name)
		d.name, d.ownNode = name, false
		k.names[name] = d
		if d.live != nil {
			k.event(d) // dm_hash_rename wakes the waiters
		}
		return struct{}{}, nil
	})
	return err
}

// Info implements [dm.Kernel].
func (k *Kernel) Info(ctx context.Context, ref dm.Ref) (dm.Info, error) {
	return call(ctx, k, opInfo, ref, "", func() (dm.Info, error) {
		d, err := k.find(ref)
		if err != nil {
			return dm.Info{}, err
		}
		return k.info(d), nil
	})
}

// List implements [dm.Kernel]. It sorts by name, as kernels since 5.13 do.
func (k *Kernel) List(ctx context.Context) ([]dm.Entry, error) {
	return call(ctx, k, opList, dm.Ref{}, "", func() ([]dm.Entry, error) {
		var all []dm.Entry
		for _, d := range k.devices {
			e := dm.Entry{Name: d.name, UUID: d.uuid, Dev: d.number}
			if k.protocol.AtLeast(4, 37) {
				e.EventNr = d.event
			}
			all = append(all, e)
		}
		slices.SortFunc(all, func(a, b dm.Entry) int { return strings.Compare(a.Name.Node(), b.Name.Node()) })
		return all, nil
	})
}

// WaitEvent implements [dm.Kernel]. If the device is removed during the wait, the error
// is fault.NotFound.
func (k *Kernel) WaitEvent(ctx context.Context, ref dm.Ref, seen uint32) (uint32, error) {
	if err := k.enter(ctx, opWait, ref, ""); err != nil {
		return seen, err
	}
	for {
		k.mu.Lock()
		d, err := k.find(ref)
		now, changed := uint32(0), k.changed
		if err == nil {
			now = d.event
		}
		k.mu.Unlock()
		switch {
		case err != nil:
			return 0, asError(opWait, "", ref, err)
		case now != seen:
			return now, k.faults.inject(Call{Op: opWait, Ref: ref, Phase: After})
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return seen, ctx.Err()
		}
	}
}

// Hold keeps a device open, as a mount or a program does, until release is called.
func (k *Kernel) Hold(dev blockdev.Number) (release func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.exists(dev) {
		return nil, &dm.Error{Op: "open", Object: dev.String(), Err: unix.ENXIO, Kind: fault.NotFound}
	}
	k.opens[dev]++
	boot, done := k.boot, false
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if !done && boot == k.boot {
			k.close(dev)
		}
		done = true
	}, nil
}

func (k *Kernel) exists(dev blockdev.Number) bool {
	if dev.Major == Major {
		return k.devices[dev.Minor] != nil
	}
	return k.disks[dev] != nil
}

// close closes a device once. The last close carries out a deferred removal.
func (k *Kernel) close(dev blockdev.Number) {
	if k.opens[dev]--; k.opens[dev] > 0 {
		return
	}
	delete(k.opens, dev)
	if dev.Major != Major {
		return
	}
	if d := k.devices[dev.Minor]; d != nil && d.deferred {
		k.destroy(d)
	}
}

// sizeOf returns a device's size. The size of a mapped device is that of its live table.
func (k *Kernel) sizeOf(dev blockdev.Number) units.Bytes {
	if dev.Major == Major {
		if d := k.devices[dev.Minor]; d != nil {
			return d.live.length().Bytes()
		}
		return 0
	}
	if disk := k.disks[dev]; disk != nil {
		return disk.Size()
	}
	return 0
}
