package thinpool

import (
	"context"
	"fmt"

	"thinctl/dm"
	"thinctl/fault"
)

// SetFullPolicy says whether writes to a full pool fail at once or are queued,
// and reports whether that was another until now. It holds for as long as the
// pool is active: what the pool was made with comes back with its next
// activation. Killed in between, the pool has the one or the other, and runs once
// it was recovered.
func (p *Pool) SetFullPolicy(ctx context.Context, errorIfFull bool) (changed bool, err error) {
	const op = "set the full policy of"
	lock, err := p.lock(ctx)
	if err != nil {
		return false, err
	}
	defer lock.Release()
	_, status, err := p.kernelStatus(ctx)
	if err != nil {
		return false, err
	}
	if err := p.writable(op, status); err != nil {
		return false, err
	}
	changed, err = p.reloadPolicy(ctx, errorIfFull)
	return changed, p.failed(op, err)
}

// reloadPolicy goes by the table: the status of a pool that has queued for too
// long says that writes fail, whatever its table asks for.
func (p *Pool) reloadPolicy(ctx context.Context, errorIfFull bool) (changed bool, err error) {
	lines, err := p.host.Kernel.Table(ctx, p.ref())
	if err != nil {
		return false, err
	}
	table, err := dm.ParseThinPool(lines[0])
	if err != nil || table.ErrorIfNoSpace == errorIfFull {
		return false, err
	}
	version, err := p.host.Kernel.TargetVersion(ctx, dm.TypeThinPool)
	if err != nil {
		return false, err
	}
	if errorIfFull && !version.AtLeast(1, 10) {
		return false, &Error{Op: "set the full policy of", Object: p.object(), Kind: fault.Unsupported,
			Detail: fmt.Sprintf("thin-pool %s always queues writes to a full pool, error_if_no_space needs 1.10", version)}
	}
	table.ErrorIfNoSpace = errorIfFull
	if err := p.host.Kernel.Load(ctx, p.ref(), []dm.Target{table}, dm.LoadOptions{}); err != nil {
		return false, err
	}
	return true, p.swapTable(ctx)
}
