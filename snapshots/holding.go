package snapshots

import (
	"context"
	"fmt"

	"thinctl/disk"
	"thinctl/dm"
	"thinctl/snapshots/filesystem"
	"thinctl/thinpool"
)

// Holders returns thinpool's view of who holds a device, for [thinpool.Host].
func Holders(files interface {
	Holders(ctx context.Context, major, minor uint32) ([]filesystem.Holder, error)
}) func(context.Context, dm.Dev) (thinpool.Holding, error) {
	return func(ctx context.Context, dev dm.Dev) (thinpool.Holding, error) {
		held := thinpool.Holding{Devices: disk.Above(dev.Major, dev.Minor)}
		holders, err := files.Holders(ctx, dev.Major, dev.Minor)
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
