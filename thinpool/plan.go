package thinpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/disk"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// Plan describes the pool that Create would make.
type Plan struct {
	Name     string
	Dir      string
	Device   string
	Data     store.Backing
	Metadata store.Backing
	Block    units.Bytes
	BaseSize units.Bytes
	LowWater uint64
	Reserve  store.Reserve
	Warnings []string
	options  CreateOptions
	// The numbers of the devices that were checked.
	data, metadata blockdev.Number
}

// PlanCreate checks all requirements of Create and returns all faults together. It changes
// nothing.
func PlanCreate(ctx context.Context, host Host, root, name string, options CreateOptions) (Plan, error) {
	options = options.withDefaults()
	faults := []error{CheckPoolName(name)}
	var report reporter = func(e Error) {
		e.Op, e.Object = "create", "pool "+name
		faults = append(faults, &e)
	}
	faults = append(faults, checkTargets(ctx, host, options))
	dir := filepath.Join(root, name)
	if _, err := os.Lstat(dir); err == nil {
		report.detail(fault.Exists, "%s exists already: choose another name, or remove it", dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		faults = append(faults, err)
	}
	if _, err := host.Kernel.Info(ctx, dm.ByName(poolDeviceName(name))); err == nil {
		report(Error{Kind: fault.Exists, Cure: Cure{Code: CureRemoveDevice},
			Detail: fmt.Sprintf("a device named %s exists already", poolDeviceName(name))})
	}
	plan := Plan{Name: name, Dir: dir, Device: string(poolDeviceName(name)), Block: options.Block,
		BaseSize: options.BaseSize, Reserve: *options.Reserve}
	plan.Data, plan.Metadata = store.Backing{Path: dataFile, Loop: true, Size: options.DataSize},
		store.Backing{Path: metadataFile, Loop: true, Size: options.MetadataSize}
	if options.DataDevice != "" {
		plan.Data, plan.data = planDevice(host, options.DataDevice, options.DataSize,
			max(options.Block, units.SectorSize), markArea, options.Force, report)
		options.DataSize = plan.Data.Size
	}
	if options.MetadataDevice != "" {
		plan.Metadata, plan.metadata = planDevice(host, options.MetadataDevice, options.MetadataSize,
			metadataBlock, 0, options.Force, report)
		if plan.Metadata.Size > dm.MaxMetadata {
			plan.Warnings = append(plan.Warnings,
				fmt.Sprintf("the kernel uses %s of the %s metadata device", dm.MaxMetadata, plan.Metadata.Size))
			plan.Metadata.Size = dm.MaxMetadata
		}
		options.MetadataSize = plan.Metadata.Size
	} else if options.DataDevice != "" && options.Block >= dm.MinBlock {
		options.MetadataSize = max(options.MetadataSize, MetadataFor(options.DataSize, options.Block))
		plan.Metadata.Size = options.MetadataSize
	}
	sameDevice(host, options, report)
	usedByPools(ctx, host, root, plan, report)
	options.check(report)
	slices.SortStableFunc(faults, func(a, b error) int { return cmp.Compare(rank(a), rank(b)) })
	if err := errors.Join(faults...); err != nil {
		return plan, err
	}
	plan.LowWater = options.lowWater()
	if options.SkipZeroing {
		plan.Warnings = append(plan.Warnings, "without zeroing a volume can read what its blocks held before")
	}
	plan.options = options
	return plan, nil
}

// reporter adds a fault to a plan.
type reporter func(Error)

// detail reports a fault without a cure.
func (r reporter) detail(kind error, format string, args ...any) {
	r(Error{Kind: kind, Detail: fmt.Sprintf(format, args...)})
}

// rank orders the faults of a plan: the first one gives the joined error its kind.
func rank(err error) int {
	order := []fault.Kind{fault.Unsupported, fault.Invalid, fault.Exists, fault.Busy}
	var own *Error
	if at := slices.Index(order, fault.KindOf(err)); at >= 0 && errors.As(err, &own) {
		return at
	}
	return len(order)
}

func checkTargets(ctx context.Context, host Host, options CreateOptions) error {
	if _, err := host.Kernel.Version(ctx); err != nil {
		return err
	}
	pool, err := host.Kernel.TargetVersion(ctx, dm.TypeThinPool)
	if errors.Is(err, dm.ErrNoTarget) {
		return &Error{Op: "create", Object: "a pool", Kind: fault.Unsupported, Err: err,
			Cure: Cure{Code: CureLoadModule}}
	}
	if err != nil {
		return err
	}
	if options.ErrorIfFull && !pool.AtLeast(1, 10) {
		return &Error{Op: "create", Object: "a pool", Kind: fault.Unsupported,
			Detail: fmt.Sprintf("failing writes when full needs target thin-pool 1.10, this kernel has %s", pool),
			Remedy: "leave the full policy at queue"}
	}
	return nil
}

// planDevice checks a block device for a pool. A size of zero means all of the device except
// behind bytes, rounded down to whole blocks.
func planDevice(host Host, path string, size, unit, behind units.Bytes, force bool,
	report reporter,
) (store.Backing, blockdev.Number) {
	backing := store.Backing{Path: path, Size: size}
	device, err := host.Disks.Device(path)
	if err != nil {
		report.detail(fault.Invalid, "%v", err)
		return backing, device.Dev
	}
	all, err := host.Disks.Devices()
	if err != nil {
		report.detail(fault.Invalid, "%v", err)
		return backing, device.Dev
	}
	backing.Identity = unique(disk.Device{Number: blockdev.Number(device.Dev), Identity: device.Identity}, all)
	if size == 0 {
		backing.Size = device.Size - min(device.Size, behind)
		backing.Size -= backing.Size % unit
	}
	switch {
	case device.Size < backing.Size || backing.Size == 0:
		report.detail(
			fault.Invalid,
			"%s has %s, %s is needed: use a larger device or a smaller size",
			path,
			device.Size,
			backing.Size,
		)
	case device.Size-backing.Size < behind:
		report.detail(
			fault.Invalid,
			"%s has %s, %s and %s for the pool's mark are needed: use a larger device or a smaller size",
			path,
			device.Size.Exact(),
			backing.Size.Exact(),
			behind,
		)
	case device.Busy:
		report(Error{Kind: fault.Busy, Cure: Cure{Code: CureShowUsers, Path: path},
			Detail: path + " is mounted or held by another device"})
	case !force:
		if found, err := host.Disks.Contents(path); err != nil {
			report.detail(fault.Invalid, "%v", err)
		} else if found != "" {
			report(Error{Kind: ErrHoldsData, Detail: fmt.Sprintf("%s holds %s", path, found), Cure: Cure{Code: CureForce}})
		}
	}
	return backing, device.Dev
}

// usedByPools reports disks that belong to other pools, active or not. Options.Force does
// not allow these.
func usedByPools(ctx context.Context, host Host, root string, plan Plan,
	report reporter,
) {
	if plan.Data.Loop && plan.Metadata.Loop {
		return
	}
	names, err := List(root)
	if err != nil {
		report.detail(nil, "%v", err)
	}
	for _, name := range names {
		other := newPool(host, filepath.Join(root, name), name)
		record, err := other.Record(ctx)
		if err = errors.Join(err, other.db.Close()); err != nil {
			continue // that pool cannot be used either; planDevice checks the contents of the disks
		}
		for _, mine := range []store.Backing{plan.Data, plan.Metadata} {
			for _, theirs := range []store.Backing{record.Data, record.Metadata} {
				if !mine.Loop && !theirs.Loop && mine.Identity.Compare(theirs.Identity) == disk.Same {
					report.detail(ErrHoldsData, "%s is a disk of pool %s: destroy that pool first, or use another disk",
						mine.Path, name)
				}
			}
		}
	}
}

func sameDevice(host Host, options CreateOptions, report reporter) {
	if options.DataDevice == "" || options.MetadataDevice == "" || options.DataDevice == options.MetadataDevice {
		return
	}
	data, err := host.Disks.Device(options.DataDevice)
	if err != nil {
		return // planDevice has reported it
	}
	meta, err := host.Disks.Device(options.MetadataDevice)
	if err == nil && meta.Dev == data.Dev {
		report.detail(fault.Invalid, "%s and %s are the same device: give each its own",
			options.DataDevice, options.MetadataDevice)
	}
}
