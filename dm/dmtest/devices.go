package dmtest

import "fmt"

// ThinDevices reads which thin devices the pool on a metadata disk has, as last
// committed: device id to mapped blocks. It stands in for the trees that the
// fake does not write.
func (s *Store) ThinDevices(disk Disk) (map[uint32]uint64, error) {
	b := make([]byte, metadataBlock)
	if _, err := disk.ReadAt(b, 0); err != nil {
		return nil, err
	}
	t, err := checkSuperblock(b)
	if err != nil {
		return nil, fmt.Errorf("dmtest: superblock: %w", err)
	}
	committed, ok := s.get(t)
	if !ok {
		return nil, fmt.Errorf("dmtest: the store has no state for this metadata")
	}
	devices := make(map[uint32]uint64)
	for id, d := range committed.details.all {
		devices[uint32(id)] = d.mapped
	}
	return devices, nil
}
