package cli

import (
	"context"
	"fmt"
	"io"

	"thinctl/blockdev"
	"thinctl/fault"
	"thinctl/internal/metadatafile"
	"thinctl/loopback"
	"thinctl/thinpool/metadata"
)

// metadata returns the users of files and devices on the host in memory.
func (m *machine) metadata() metadatafile.Host {
	busy := func(path string) error {
		return fmt.Errorf("open metadata %s: %w", path, fault.Busy)
	}
	return metadatafile.Host{
		Loops: func(ctx context.Context, file string) ([]loopback.Device, error) { return m.host.loops.Find(ctx, file) },
		Claim: func(path string) (io.Closer, error) {
			for _, loop := range m.host.loops.Attached() {
				if loop.Path == path && m.host.kernel.DiskHeld(blockdev.Number(loop.Number)) {
					return nil, busy(path)
				}
			}
			return io.NopCloser(nil), nil
		},
		Offline: func(path string) (*metadata.File, error) {
			m.host.disks.mu.Lock()
			defer m.host.disks.mu.Unlock()
			if device := m.host.disks.devices[path]; device != nil && device.busy {
				return nil, busy(path)
			}
			return metadata.OpenOffline(path)
		},
	}
}
