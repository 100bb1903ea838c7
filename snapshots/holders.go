package snapshots

import (
	"context"
	"fmt"

	"thinctl/blockdev"
	"thinctl/internal/disk"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// Holders returns a function that finds the processes and mounts that hold a device,
// for [thinpool.Host].
func Holders(files interface {
	Holders(ctx context.Context, device blockdev.Number) ([]filesystem.Holder, error)
}) func(context.Context, blockdev.Number) (thinpool.Holding, error) {
	return func(ctx context.Context, dev blockdev.Number) (thinpool.Holding, error) {
		held := thinpool.Holding{Devices: disk.Above(dev)}
		holders, err := files.Holders(ctx, dev)
		for _, h := range holders {
			for _, point := range h.MountPoints {
				if !h.Own {
					point += fmt.Sprintf(" of mount namespace %d", h.Namespace)
				}
				held.Mounts = append(held.Mounts, point)
			}
			for _, p := range h.Processes {
				held.Processes = append(held.Processes, fmt.Sprintf("%s (pid %d)", p.Command, p.PID))
			}
		}
		return held, err
	}
}
