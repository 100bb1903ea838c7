package metadata

import "slices"

// DeviceUsage is the space that one thin device takes, in data blocks.
type DeviceUsage struct {
	Device
	// Mapped is the number of mappings in the device's tree. In sound metadata it equals
	// [Device.MappedBlocks].
	Mapped uint64
	// Exclusive is the number of blocks that only this device maps: deleting it frees
	// them.
	Exclusive uint64
	// Shared is Mapped minus Exclusive.
	Shared uint64
}

// Usage is the space that each device of a pool takes, in data blocks.
type Usage struct {
	Devices   []DeviceUsage // ordered by id
	Used      uint64        // mapped by at least one device
	Exclusive uint64        // mapped by exactly one
	Shared    uint64        // mapped by several
	// Nodes is the number of metadata blocks in all trees that were read.
	Nodes uint64
}

// Usage returns the usage of all devices. It reads nothing.
func (m *Map) Usage() Usage {
	g := m.graph
	mapped, exclusive := make([]uint64, len(g.vertices)), make([]uint64, len(g.vertices))
	u := Usage{Nodes: uint64(len(g.vertices) - 1)}
	for _, number := range slices.Backward(m.order) {
		v := &g.vertices[number]
		switch {
		case v.tree != mappingTree:
			continue
		case v.leaf:
			mapped[number], exclusive[number] = uint64(v.entries), uint64(v.exclusive)
		default:
			for _, child := range g.children(v) {
				mapped[number] += mapped[child]
				exclusive[number] += exclusive[child]
			}
		}
		if v.refs > 1 {
			exclusive[number] = 0
		}
	}
	details := m.details
	for _, root := range m.roots {
		d := DeviceUsage{Device: Device{ID: root.id}, Mapped: mapped[root.root], Exclusive: exclusive[root.root]}
		for len(details) > 0 && details[0].ID < root.id {
			details = details[1:]
		}
		if len(details) > 0 && details[0].ID == root.id {
			d.Device = details[0]
		}
		d.Shared = d.Mapped - d.Exclusive
		u.Devices = append(u.Devices, d)
		u.Exclusive += d.Exclusive
	}
	u.Used = m.used
	u.Shared = u.Used - u.Exclusive
	return u
}
