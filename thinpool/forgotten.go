package thinpool

import (
	"context"
	"errors"

	"thinctl/internal/filelock"
)

// ReleaseForgotten releases a metadata snapshot that a killed reading of
// thinctl's left. It returns the block of one that another program holds, which
// is never released, or 0; a reading of thinctl's that is under way is left alone.
func (p *Pool) ReleaseForgotten(ctx context.Context) (foreign uint64, err error) {
	const op = "release the metadata snapshot of"
	turn, err := filelock.Try(p.path(lockFile), readingRange())
	if errors.Is(err, filelock.ErrHeld) {
		return 0, nil
	}
	if err != nil {
		return 0, p.failed(op, err)
	}
	defer turn.Release()
	lock, err := p.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer lock.Release()
	_, status, err := p.kernelStatus(ctx)
	if err != nil {
		return 0, err
	}
	foreign = status.HeldRoot
	if p.writable(op, status) == nil {
		foreign, err = p.releaseLeft(ctx, status)
	}
	return foreign, p.failed(op, err)
}
