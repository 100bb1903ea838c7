package snapshots

import (
	"context"
	"fmt"

	"thinctl/dm"
)

// explainFull says that the pool is full where that is what was in the way:
// file systems tell of it as of any other fault of a device.
func (s *Store) explainFull(ctx context.Context, err error) error {
	ctx, cancel := settling(ctx)
	defer cancel()
	status, asked := s.pool.Status(ctx)
	if asked != nil || !status.Active || status.Kernel.Mode != dm.ModeOutOfDataSpace {
		return err
	}
	return &Error{Op: "write to", Object: "pool " + s.pool.Name(), Kind: ErrFull, Err: err,
		Detail: "no data block is left",
		Remedy: fmt.Sprintf("run `thinctl pool extend %s --data SIZE`, or remove images and containers", s.pool.Name())}
}
