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
	return info, inOp("info", d.Path, err)
}

func (c *Control) info(ctx context.Context, d Device) (Info, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	f, st, err := c.openOurs(d)
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
	return size, inOp("refresh", d.Path, err)
}

func (c *Control) refresh(ctx context.Context, d Device) (units.Bytes, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f, st, err := c.openOurs(d)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	least, known := expected(d, st)
	if err := setCapacity(f); err != nil {
		return 0, fmt.Errorf("LOOP_SET_CAPACITY: %w", err)
	}
	size, err := blockdev.Size(f)
	if err != nil {
		return 0, err
	}
	// The file may have grown in between, which is why it is not compared for
	// being equal.
	if known && size < least {
		return size, &Error{Kind: ErrResize, Detail: fmt.Sprintf("the device has %d bytes, its file gives %d", size, least)}
	}
	return size, nil
}

// expected is the size that the file gives the device, if its path still names
// it (drivers/block/loop.c, lo_calculate_size).
func expected(d Device, lo *unix.LoopInfo64) (units.Bytes, bool) {
	var st unix.Stat_t
	if err := unix.Stat(d.File, &st); err != nil || statID(&st) != d.Backing || uint64(st.Size) < lo.Offset {
		return 0, false
	}
	size := uint64(st.Size) - lo.Offset
	if lo.Sizelimit > 0 {
		size = min(size, lo.Sizelimit)
	}
	return units.Bytes(size).Sectors().Bytes(), true
}
