package metadata

import "slices"

// DeviceUsage is what one thin device takes of its pool, in data blocks.
type DeviceUsage struct {
	Device
	// Mapped is how many there are in its tree, which [Device.MappedBlocks]
	// should be too.
	Mapped uint64
	// Exclusive are those that no other device maps: they come back when it
	// goes.
	Exclusive uint64
	// Shared is the rest.
	Shared uint64
}

// Usage is who takes what of a pool, in data blocks. The devices' Exclusive and
// Shared here add up to Used.
type Usage struct {
	Devices   []DeviceUsage // in the order of their ids
	Used      uint64        // mapped by at least one device
	Exclusive uint64        // mapped by just one
	Shared    uint64        // mapped by several
	// Nodes is how many metadata blocks the devices' trees take.
	Nodes uint64
}

// Usage sums up. It reads nothing more.
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
			for _, child := range g.below(v) {
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
