package loopback

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/units"
)

// Info implements Loops.
func (c *Control) Info(ctx context.Context, d Device) (Info, error) {
	info, err := c.info(ctx, d)
	return info, withOp("info", d.Path, err)
}

func (c *Control) info(ctx context.Context, d Device) (Info, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	f, st, err := c.openChecked(d)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	index, err := indexOf(d.Path)
	if err != nil {
		return Info{}, err
	}
	info, err := c.describe(f, index, st)
	info.Device.File = d.File
	return info, err
}

func (c *Control) describe(f *os.File, index int, st *unix.LoopInfo64) (Info, error) {
	size, err := blockdev.Size(f)
	if err != nil {
		return Info{}, fmt.Errorf("size of %s: %w", f.Name(), err)
	}
	sector, err := sectorSize(f)
	if err != nil {
		return Info{}, fmt.Errorf("sector size of %s: %w", f.Name(), err)
	}
	path := c.backingPath(index, st)
	return Info{
		Device:      c.device(f.Name(), index, path, st),
		BackingPath: path,
		Offset:      units.Bytes(st.Offset),
		SizeLimit:   units.Bytes(st.Sizelimit),
		Size:        size,
		SectorSize:  sector,
		DirectIO:    st.Flags&unix.LO_FLAGS_DIRECT_IO != 0,
		ReadOnly:    st.Flags&unix.LO_FLAGS_READ_ONLY != 0,
		Autoclear:   st.Flags&unix.LO_FLAGS_AUTOCLEAR != 0,
		PartScan:    st.Flags&unix.LO_FLAGS_PARTSCAN != 0,
	}, nil
}

// Refresh implements Loops.
func (c *Control) Refresh(ctx context.Context, d Device) (units.Bytes, error) {
	size, err := c.refresh(ctx, d)
	return size, withOp("refresh", d.Path, err)
}

func (c *Control) refresh(ctx context.Context, d Device) (units.Bytes, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f, st, err := c.openChecked(d)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	least, known := sizeFromFile(d, st)
	if err := setCapacity(f); err != nil {
		return 0, fmt.Errorf("LOOP_SET_CAPACITY: %w", err)
	}
	size, err := blockdev.Size(f)
	if err != nil {
		return 0, err
	}
	// The device may be larger: the file may have grown between the two calls.
	if known && size < least {
		return size, &Error{Detail: fmt.Sprintf("the device still has %d bytes, its file has %d", size, least)}
	}
	return size, nil
}

// sizeFromFile returns the size that the device gets from its file (drivers/block/loop.c,
// lo_calculate_size). It reports false if the path leads to another file by now.
func sizeFromFile(d Device, lo *unix.LoopInfo64) (size units.Bytes, known bool) {
	var st unix.Stat_t
	if err := unix.Stat(d.File, &st); err != nil || statID(&st) != d.Backing || uint64(st.Size) < lo.Offset {
		return 0, false
	}
	usable := uint64(st.Size) - lo.Offset
	if lo.Sizelimit > 0 {
		usable = min(usable, lo.Sizelimit)
	}
	return units.Bytes(usable).Sectors().Bytes(), true
}
