package tools

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Repair writes what can be read of the damaged metadata to fresh, which must
// be there already, at least as large, and begin with 4 KiB of zeros. The
// damaged metadata stays as it is. What a failed repair leaves in fresh is not
// to be used.
func Repair(ctx context.Context, damaged, fresh string) error {
	return runner{}.repair(ctx, damaged, fresh)
}

func (r runner) repair(ctx context.Context, damaged, fresh string) error {
	if err := r.thinRepair(ctx, damaged, fresh); err != nil {
		return fmt.Errorf("repairing metadata %s to %s: %w", damaged, fresh, err)
	}
	return nil
}

func (r runner) thinRepair(ctx context.Context, damaged, fresh string) error {
	from, err := usable(damaged)
	if err != nil {
		return err
	}
	to, err := usable(fresh)
	if err != nil {
		return err
	}
	if err := suitable(from, to); err != nil {
		return err
	}
	if _, err := r.run(ctx, "thin_repair", "-i", from, "-o", to); err != nil {
		return fmt.Errorf("%w; discard what is in %s", err, fresh)
	}
	return nil
}

func suitable(from, to string) error {
	same, err := sameDevice(from, to)
	if err != nil {
		return err
	}
	if same {
		return errors.New("both are one device: give a second one to write to")
	}
	need, err := sizeOf(from)
	if err != nil {
		return err
	}
	have, err := sizeOf(to)
	if err != nil {
		return err
	}
	if have < need {
		return fmt.Errorf("%s: %w: %v, the damaged metadata has %v", to, ErrTooSmall, have, need)
	}
	f, err := os.Open(to)
	if err != nil {
		return err
	}
	zero, err := isZero(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("looking at the start of %s: %w", to, err)
	}
	if !zero {
		return fmt.Errorf("%s: %w", to, ErrNotEmpty)
	}
	return nil
}
