package thinpool

import (
	"context"
	"errors"
	"slices"

	"thinctl/internal/contexts"
)

// rollback collects the steps that undo the changes of a call.
type rollback struct {
	ctx   context.Context
	steps []func(context.Context) error
}

func newRollback(ctx context.Context) *rollback { return &rollback{ctx: ctx} }

func (r *rollback) add(step func(context.Context) error) { r.steps = append(r.steps, step) }

// unless runs all steps, the newest first, if the call has not succeeded. The caller's
// context may have ended, so the steps have a context of their own.
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
