package metadatatest

import (
	"maps"
	"slices"

	"thinctl/thinpool/metadata"
)

// State is what a live pool, or its held root, has.
type State struct {
	Time          uint32
	TransactionID uint64
	devices       map[uint32]*device
}

// Live is the state of the pool.
func (p *Pool) Live() State { return State{p.time, p.transaction, p.live} }

// Held is the state of the held root; ok tells whether there is one.
func (p *Pool) Held() (s State, ok bool) {
	return State{p.heldTime, p.heldTransactionID, p.held}, p.held != nil
}

// IDs returns the ids of the devices in order.
func (s State) IDs() []uint32 { return slices.Sorted(maps.Keys(s.devices)) }

// Devices returns what the details say of each device.
func (s State) Devices() []metadata.Device {
	var all []metadata.Device
	for _, id := range s.IDs() {
		d := s.devices[id].Device
		s.Each(id, func(metadata.Mapping) { d.MappedBlocks++ })
		all = append(all, d)
	}
	return all
}

// Each visits the mappings of a device in order.
func (s State) Each(id uint32, visit func(metadata.Mapping)) {
	s.devices[id].root.each(func(key, value uint64) {
		visit(metadata.Mapping{Virtual: key, Data: value >> 24, Time: uint32(value & (1<<24 - 1))})
	})
}

// Mappings returns the mappings of a device in order.
func (s State) Mappings(id uint32) []metadata.Mapping {
	var all []metadata.Mapping
	s.Each(id, func(m metadata.Mapping) { all = append(all, m) })
	return all
}

// Usage is how many data blocks a device maps: some that no other device of
// the state has, and the rest.
type Usage struct{ Mapped, Exclusive, Shared uint64 }

// Usage counts, for each device, its blocks, through 4 bytes for each data
// block up to the last that is mapped.
func (s State) Usage() map[uint32]Usage {
	all := make(map[uint32]Usage, len(s.devices))
	owners := s.owners()
	for id := range s.devices {
		var u Usage
		s.Each(id, func(m metadata.Mapping) {
			u.Mapped++
			if owners[m.Data] == 1 {
				u.Exclusive++
			} else {
				u.Shared++
			}
		})
		all[id] = u
	}
	return all
}

// Used is how many data blocks any device maps.
func (s State) Used() uint64 {
	var n uint64
	for _, devices := range s.owners() {
		if devices > 0 {
			n++
		}
	}
	return n
}

// Freed is how many data blocks are free once the devices ids are gone.
func (s State) Freed(ids ...uint32) uint64 {
	rest := State{devices: maps.Clone(s.devices)}
	for _, id := range ids {
		delete(rest.devices, id)
	}
	return s.Used() - rest.Used()
}

// owners counts, for each data block, the devices that map it. No device maps
// a block twice.
func (s State) owners() []uint32 {
	var owners []uint32
	for id := range s.devices {
		s.Each(id, func(m metadata.Mapping) {
			if n := m.Data + 1; n > uint64(len(owners)) {
				owners = append(owners, make([]uint32, n-uint64(len(owners)))...)
			}
			owners[m.Data]++
		})
	}
	return owners
}
