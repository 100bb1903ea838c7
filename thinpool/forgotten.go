package thinpool

import (
	"context"
	"errors"

	"thinctl/internal/filelock"
)

// ReleaseForgotten releases a metadata snapshot that a killed reading of thinctl left. It
// never releases the snapshot of another program: it returns the block of that snapshot,
// or 0. It does nothing while a reading of thinctl is in progress.
func (p *Pool) ReleaseForgotten(ctx context.Context) (foreign uint64, err error) {
	const op = "release the metadata snapshot of"
	reading, err := filelock.Try(p.path(lockFile), readingRange())
	if errors.Is(err, filelock.ErrHeld) {
		return 0, nil
	}
	if err != nil {
		return 0, p.failed(op, err)
	}
	defer reading.Release()
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
