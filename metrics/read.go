package metrics

import (
	"context"
	"time"

	"thinctl/thinpool"
)

// ReadOptions change what a sample has.
type ReadOptions struct {
	// VolumeLimit is how many named volumes a pool may have for each to be asked
	// how much it has mapped; with more, none is.
	VolumeLimit int
}

// Read takes a sample of the pool of that name: no lock of the pool's is taken
// and nothing is committed. Limits, forecast, conditions and scan are not in it.
func Read(ctx context.Context, host thinpool.Host, root, pool string) Sample {
	begun := time.Now()
	opened, err := thinpool.Open(ctx, host, root, pool)
	if err != nil {
		return Sample{Pool: pool, At: begun, Took: time.Since(begun), Err: err}
	}
	defer opened.Close(context.WithoutCancel(ctx))
	return ReadPool(ctx, opened, ReadOptions{VolumeLimit: DefaultVolumeLimit})
}

// ReadPool is Read of a pool that is open.
func ReadPool(ctx context.Context, pool *thinpool.Pool, o ReadOptions) Sample {
	s := Sample{Pool: pool.Name(), At: time.Now()}
	s.Status, s.Err = pool.Status(ctx)
	s.Took = time.Since(s.At)
	return s
}
