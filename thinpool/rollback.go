package thinpool

import (
	"context"
	"errors"
	"slices"

	"thinctl/internal/contexts"
)

// rollback collects how to take back what a call has made so far.
type rollback struct {
	ctx   context.Context
	steps []func(context.Context) error
}

func newRollback(ctx context.Context) *rollback { return &rollback{ctx: ctx} }

func (r *rollback) add(step func(context.Context) error) { r.steps = append(r.steps, step) }

// unless takes everything back, the newest first, if the call has not
// succeeded. The caller's context may be over, so it works under its own.
func (r *rollback) unless(succeeded bool) error {
	if succeeded {
		return nil
	}
	ctx, cancel := contexts.Cleanup(r.ctx)
	defer cancel()
	var faults []error
	for _, step := range slices.Backward(r.steps) {
		faults = append(faults, step(ctx))
	}
	return errors.Join(faults...)
}
