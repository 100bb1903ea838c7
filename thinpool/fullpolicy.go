package thinpool

import (
	"context"
	"fmt"

	"thinctl/dm"
	"thinctl/fault"
)

// SetFullPolicy sets whether writes to a full pool fail at once or are queued. It reports
// whether this changes the policy. The policy holds while the pool is active; the next
// activation sets the one that the pool was created with. If SetFullPolicy is killed, the
// pool has the old or the new policy, and may be suspended until it is recovered.
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

// reloadPolicy sets the policy in the kernel's table. It reads the old policy from the
// table, not from the status: after the pool has queued writes for too long, its status
// reports that writes fail, even if the table requests queueing.
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
		return false, &Error{
			Op:     "set the full policy of",
			Object: p.object(),
			Kind:   fault.Unsupported,
			Detail: fmt.Sprintf("thin-pool %s always queues writes to a full pool, error_if_no_space needs 1.10",
				version),
		}
	}
	table.ErrorIfNoSpace = errorIfFull
	if err := p.host.Kernel.Load(ctx, p.ref(), []dm.Target{table}, dm.LoadOptions{}); err != nil {
		return false, err
	}
	return true, p.swapTable(ctx)
}
