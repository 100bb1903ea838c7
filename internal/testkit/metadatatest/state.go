package metadatatest

import (
	"maps"
	"slices"

	"thinctl/thinpool/metadata"
)

// State is the content of a live pool or of its held root.
type State struct {
	Time          uint32
	TransactionID uint64
	devices       map[uint32]*device
}

// Live returns the state of the pool.
func (p *Pool) Live() State { return State{p.time, p.transaction, p.live} }

// Held returns the state of the held root; ok is false if there is none.
func (p *Pool) Held() (s State, ok bool) {
	return State{p.heldTime, p.heldTransactionID, p.held}, p.held != nil
}

// IDs returns the ids of the devices in order.
func (s State) IDs() []uint32 { return slices.Sorted(maps.Keys(s.devices)) }

// Devices returns the record of each device.
func (s State) Devices() []metadata.Device {
	var all []metadata.Device
	for _, id := range s.IDs() {
		d := s.devices[id].Device
		s.Each(id, func(metadata.Mapping) { d.MappedBlocks++ })
		all = append(all, d)
	}
	return all
}

// Each calls visit with the mappings of a device in order.
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

// Usage is the number of data blocks that a device maps, and how many of them no other device
// of the state maps.
type Usage struct{ Mapped, Exclusive, Shared uint64 }

// Usage counts the blocks of each device. It holds 4 bytes for each data block up to the last
// mapped one.
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

// Used returns the number of mapped data blocks.
func (s State) Used() uint64 {
	var n uint64
	for _, devices := range s.owners() {
		if devices > 0 {
			n++
		}
	}
	return n
}

// Freed returns the number of data blocks that become free if the devices are deleted.
func (s State) Freed(ids ...uint32) uint64 {
	rest := State{devices: maps.Clone(s.devices)}
	for _, id := range ids {
		delete(rest.devices, id)
	}
	return s.Used() - rest.Used()
}

// owners counts the devices that map each data block. No device maps a block twice.
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
