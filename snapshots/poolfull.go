package snapshots

import (
	"context"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/contexts"
)

// WriteFailed wraps an error for operations that write: if the pool is full, the error
// reports that. File systems report a full pool like any other I/O error.
func (s *Snapshotter) WriteFailed(ctx context.Context, op, object string, err error) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	status, asked := s.pool.Status(ctx)
	if asked != nil || !status.Active || status.Kernel.Mode != dm.ModeOutOfDataSpace {
		return wrapped(op, object, err)
	}
	return &Error{Op: op, Object: object, Kind: fault.Full, Err: err,
		Detail: "no data block is left in pool " + s.pool.Name(),
		Cure:   PoolFull{s.pool.Name()}}
}

// PoolFull is the cure for a full pool: extend it, or remove what the clients keep in it.
type PoolFull struct{ Pool string }

// IsCure makes a PoolFull a fault.Cure.
func (PoolFull) IsCure() {}
