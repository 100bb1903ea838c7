package snapshots

import (
	"context"

	core "github.com/containerd/containerd/v2/core/snapshots"

	"thinctl/fault"
	"thinctl/thinpool"
	"thinctl/units"
)

// Usage returns the space and inodes of a snapshot beyond its parent's. It commits no
// metadata. For a committed snapshot it is what was measured at the commit. For an
// active one it is what is mapped now beyond what the snapshot began with, or what the
// last scan found plus what was mapped since.
func (s *Snapshotter) Usage(ctx context.Context, key string) (core.Usage, error) {
	if err := checkName("measure", "key", key); err != nil {
		return core.Usage{}, err
	}
	r, volume, err := s.withVolume(ctx, "measure", key)
	if err != nil {
		return core.Usage{}, failed("measure", key, err)
	}
	own := footprint{}
	switch r.Kind {
	case core.KindCommitted:
		own = r.Own
	case core.KindActive:
		own, err = s.written(ctx, key, r, volume)
	}
	return core.Usage{Size: int64(own.Mapped), Inodes: int64(own.Inodes)}, failed("measure", key, err)
}

func (s *Snapshotter) written(
	ctx context.Context,
	key string,
	r Record,
	volume thinpool.VolumeRecord,
) (footprint, error) {
	status, err := s.pool.StatusOf(ctx, volume)
	if err == nil && !status.Active { // after a reboot
		if _, err = s.pool.ActivateVolume(ctx, r.Volume); err == nil {
			status, err = s.pool.VolumeStatus(ctx, r.Volume)
		}
	}
	if gone(err) {
		return footprint{}, refused("measure", key, fault.NotFound, "it was removed or committed in the meantime")
	}
	if err != nil {
		return footprint{}, err
	}
	own := footprint{Mapped: status.Mapped, Inodes: s.inodes(status.Volume)}.less(r.Below)
	if exact, known := s.exact(r.Volume, status.Mapped); known {
		own.Mapped = exact
	}
	return own, nil
}

// exact returns the blocks that only this volume maps according to a scan, plus what it
// has mapped since. It is for volumes without children.
func (s *Snapshotter) exact(volume string, mapped units.Bytes) (units.Bytes, bool) {
	if s.options.Exclusive == nil {
		return 0, false
	}
	found, known := s.options.Exclusive(volume)
	return found.Exclusive + mapped - min(mapped, found.Mapped), known
}

// inodes returns the number of inodes of an active volume, or 0 if it cannot be read.
func (s *Snapshotter) inodes(volume thinpool.Volume) uint64 {
	if target := s.target(volume); target != "" {
		if n, err := s.files.Inodes(volume.Node, target); err == nil {
			return n
		}
	}
	n, err := s.files.Inodes(volume.Node, "")
	if err != nil {
		return 0
	}
	return n
}

// target returns where this mount namespace has a volume mounted, or "". It tries the
// last place first: reading all mounts takes long on a host with many.
func (s *Snapshotter) target(volume thinpool.Volume) string {
	if volume.Open == 0 {
		return ""
	}
	s.cached.Lock()
	target := s.cached.targets[volume.Name]
	s.cached.Unlock()
	if target != "" {
		if _, err := s.files.Inodes(volume.Node, target); err == nil {
			return target
		}
	}
	points, err := s.files.Mounts(volume.Dev)
	if err != nil || len(points) == 0 {
		return ""
	}
	s.cached.Lock()
	defer s.cached.Unlock()
	const enough = 4096
	if len(s.cached.targets) >= enough {
		clear(s.cached.targets)
	}
	s.cached.targets[volume.Name] = points[0].Path
	return points[0].Path
}

func (s *Snapshotter) forgetTarget(volume string) {
	s.cached.Lock()
	defer s.cached.Unlock()
	delete(s.cached.targets, volume)
}
