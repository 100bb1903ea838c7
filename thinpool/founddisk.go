package thinpool

import (
	"context"

	"thinctl/internal/disk"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// FoundDisk is one of the pool's disks, found by its identity or by what it
// holds.
type FoundDisk struct {
	Role     string        `json:"role"` // "data" or "metadata"
	Path     string        `json:"path"` // where it is now
	Size     units.Bytes   `json:"size_bytes"`
	Identity disk.Identity `json:"identity,omitzero"`
}

func disksOf(c *claims) []FoundDisk {
	found := []FoundDisk{}
	for _, one := range []struct {
		role string
		held Disk
	}{{"data", c.data}, {"metadata", c.metadata}} {
		about := one.held.About()
		found = append(found, FoundDisk{Role: one.role, Path: about.Path, Size: about.Size, Identity: about.Identity})
	}
	return found
}

// checkActiveDisks compares the disks that an active pool's table stands on with
// those that are recorded.
func (p *Pool) checkActiveDisks(ctx context.Context, report *Report, record store.Pool) {
	c, err := p.claimActive(ctx, "check", record)
	if err == nil {
		report.Disks = disksOf(c)
		err = c.close()
	}
	if err != nil {
		report.add(p.identityFinding(err))
	}
}
