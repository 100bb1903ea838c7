package thinpool

import (
	"context"

	"thinctl/internal/disk"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// FoundDisk is one of the pool's disks, found by its identity or by its contents.
type FoundDisk struct {
	Role     string        `json:"role"` // "data" or "metadata"
	Path     string        `json:"path"` // the present path
	Size     units.Bytes   `json:"size_bytes"`
	Identity disk.Identity `json:"identity,omitzero"`
}

func disksOf(c *claims) []FoundDisk {
	found := []FoundDisk{}
	for _, part := range []struct {
		role string
		held Disk
	}{{"data", c.data}, {"metadata", c.metadata}} {
		about := part.held.About()
		found = append(found, FoundDisk{Role: part.role, Path: about.Path, Size: about.Size, Identity: about.Identity})
	}
	return found
}

// checkActiveDisks compares the disks in the table of an active pool with the recorded
// ones.
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
