package metadata

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	"thinctl/units"
)

// DumpOptions are the options of Dump. The zero value is a dump of everything.
type DumpOptions struct {
	// DataBlocks is the size of the data device, which a held root does not have: thin_dump -m
	// writes 0. 0: as in root.
	DataBlocks uint64
	// Devices, if not empty, holds the ids of the devices to write.
	Devices []uint32
	// SkipMappings leaves out the mappings of the devices.
	SkipMappings bool
	// Memory limits the memory for mappings that are read before they are written, about 5
	// bytes for each run. Leaves that do not fit are read again. 0: 512 MiB.
	Memory units.Bytes
	// Progress, if set, is called with the progress of the reading.
	Progress func(Progress)
}

// Dump writes the metadata under root as XML, in the format of thin_dump 0.9.0. root is a held
// root, or the superblock of an inactive pool. If a tree is damaged, or a device has only
// details or only mappings, Dump returns an error before it writes anything of the device; the
// XML then has no end tag. ErrNoDevice, ErrCorrupt, ErrChecksum, ErrTruncated.
//
// Memory: DumpOptions.Memory, 64 bytes for each node, 4 for each pointer between nodes and for
// each metadata block, and 2 MiB for each of a few workers.
func Dump(ctx context.Context, w io.Writer, r io.ReaderAt, root Superblock, o DumpOptions) error {
	if err := dumpAll(ctx, w, r, root, o); err != nil {
		return fmt.Errorf("dump metadata: %w", err)
	}
	return nil
}

func dumpAll(ctx context.Context, w io.Writer, r io.ReaderAt, root Superblock, o DumpOptions) error {
	if o.Memory == 0 {
		o.Memory = 512 * units.MiB
	}
	if o.DataBlocks == 0 {
		o.DataBlocks = root.DataSpaceMap.Blocks
	}
	devices, err := dumpedDevices(ctx, r, root, o)
	if err != nil {
		return err
	}
	leaves := &leafStore{graph: newGraph(r, blockLimit(root), 0), memory: int64(o.Memory)}
	leaves.graph.progress = o.Progress
	if !o.SkipMappings {
		if err := leaves.read(ctx, devices); err != nil {
			return err
		}
	}
	if err := writeAll(w, appendSuperblock(nil, root, o.DataBlocks)); err != nil {
		return err
	}
	if err := leaves.write(ctx, w, devices, o.SkipMappings); err != nil {
		return err
	}
	return writeAll(w, []byte("</superblock>\n"))
}

func writeAll(w io.Writer, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write XML: %w", err)
	}
	return nil
}

// dumpedDevice is a device and the root of its mappings.
type dumpedDevice struct {
	Device
	block uint64
	root  uint32 // vertex
}

// dumpedDevices returns the devices that the options select.
func dumpedDevices(ctx context.Context, r io.ReaderAt, root Superblock, o DumpOptions) ([]dumpedDevice, error) {
	details, err := Devices(r, root)
	if err != nil {
		return nil, err
	}
	tops, err := deviceRoots(ctx, r, root)
	if err != nil {
		return nil, err
	}
	var devices []dumpedDevice
	for _, d := range details {
		block, ok := tops[d.ID]
		if !ok {
			return nil, corrupt(root.MappingRoot, "device %d has details and no mappings", d.ID)
		}
		delete(tops, d.ID)
		devices = append(devices, dumpedDevice{Device: d, block: block})
	}
	for id := range tops {
		return nil, corrupt(root.DetailsRoot, "device %d has mappings and no details", id)
	}
	if len(o.Devices) == 0 {
		return devices, nil
	}
	wanted := slices.Clone(o.Devices)
	slices.Sort(wanted)
	devices = slices.DeleteFunc(devices, func(d dumpedDevice) bool {
		i, ok := slices.BinarySearch(wanted, d.ID)
		for ok && i < len(wanted) && wanted[i] == d.ID {
			wanted = slices.Delete(wanted, i, i+1)
		}
		return !ok
	})
	if len(wanted) > 0 {
		return nil, fmt.Errorf("%w: %d", ErrNoDevice, wanted[0])
	}
	return devices, nil
}

// deviceRoots reads the tree of devices.
func deviceRoots(ctx context.Context, r io.ReaderAt, root Superblock) (map[uint32]uint64, error) {
	tops := make(map[uint32]uint64)
	w := walker{tree: tree{r: r, limit: blockLimit(root), kind: topTree}, leaf: func(n node) error {
		for i := range n.entries {
			if n.key(i) > MaxDeviceID {
				return corrupt(n.block, "device id %d is over %d", n.key(i), MaxDeviceID)
			}
			tops[uint32(n.key(i))] = n.child(i)
		}
		return nil
	}}
	if err := w.walk(ctx, place{block: root.MappingRoot}); err != nil {
		return nil, fmt.Errorf("read tree of devices at block %d: %w", root.MappingRoot, err)
	}
	return tops, nil
}

func appendSuperblock(b []byte, s Superblock, dataBlocks uint64) []byte {
	// thin_dump writes neither the uuid nor the block of the held root.
	b = append(b, `<superblock uuid="" time="`...)
	b = strconv.AppendUint(b, uint64(s.Time), 10)
	b = append(b, `" transaction="`...)
	b = strconv.AppendUint(b, s.TransactionID, 10)
	b = append(b, `" flags="`...)
	b = strconv.AppendUint(b, uint64(s.Flags), 10)
	b = append(b, `" version="`...)
	b = strconv.AppendUint(b, uint64(s.Version), 10)
	b = append(b, `" data_block_size="`...)
	b = strconv.AppendUint(b, uint64(s.DataBlockSize), 10)
	b = append(b, `" nr_data_blocks="`...)
	b = strconv.AppendUint(b, dataBlocks, 10)
	return append(b, "\">\n"...)
}

func appendDevice(b []byte, d Device) []byte {
	b = append(b, `  <device dev_id="`...)
	b = strconv.AppendUint(b, uint64(d.ID), 10)
	b = append(b, `" mapped_blocks="`...)
	b = strconv.AppendUint(b, d.MappedBlocks, 10)
	b = append(b, `" transaction="`...)
	b = strconv.AppendUint(b, d.TransactionID, 10)
	b = append(b, `" creation_time="`...)
	b = strconv.AppendUint(b, uint64(d.CreationTime), 10)
	b = append(b, `" snap_time="`...)
	b = strconv.AppendUint(b, uint64(d.SnapshottedTime), 10)
	return append(b, "\">\n"...)
}

const deviceEnd = "  </device>\n"

func appendRun(b []byte, r dumpRun) []byte {
	if r.blocks == 1 {
		b = append(b, `    <single_mapping origin_block="`...)
		b = strconv.AppendUint(b, r.virtual, 10)
		b = append(b, `" data_block="`...)
		b = strconv.AppendUint(b, r.data, 10)
	} else {
		b = append(b, `    <range_mapping origin_begin="`...)
		b = strconv.AppendUint(b, r.virtual, 10)
		b = append(b, `" data_begin="`...)
		b = strconv.AppendUint(b, r.data, 10)
		b = append(b, `" length="`...)
		b = strconv.AppendUint(b, r.blocks, 10)
	}
	b = append(b, `" time="`...)
	b = strconv.AppendUint(b, uint64(r.time), 10)
	return append(b, "\"/>\n"...)
}
