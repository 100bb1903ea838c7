package thinpool_test

import (
	"context"
	"os"

	"thinctl/thinpool"
	"thinctl/thinpool/thinpooltest"
)

// memoryTools rebuild metadata as it should be.
type memoryTools struct {
	world *thinpooltest.World
}

var _ thinpool.MetadataTools = (*memoryTools)(nil)

func (m *memoryTools) Repair(_ context.Context, damaged, fresh string) error {
	content, err := os.ReadFile(damaged)
	if err != nil {
		return err
	}
	delete(m.world.Damage, damaged)
	return os.WriteFile(fresh, content, 0o600)
}
