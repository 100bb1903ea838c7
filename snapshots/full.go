package snapshots

import (
	"context"
	"fmt"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/contexts"
)

// wrote is failed for what writes: it says that the pool is full where that was in
// the way. File systems tell of it as of any other fault of a device.
func (s *Store) wrote(ctx context.Context, op, object string, err error) error {
	ctx, cancel := contexts.Cleanup(ctx)
	defer cancel()
	status, asked := s.pool.Status(ctx)
	if asked != nil || !status.Active || status.Kernel.Mode != dm.ModeOutOfDataSpace {
		return failed(op, object, err)
	}
	return &Error{Op: op, Object: object, Kind: fault.Full, Err: err,
		Detail: "no data block is left in pool " + s.pool.Name(),
		Remedy: fmt.Sprintf("run `thinctl pool extend %s --data SIZE`, or remove images and containers", s.pool.Name())}
}
