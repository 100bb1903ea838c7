package thinpool

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"thinctl/fault"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// SetOptions are new values of a pool's settings. Nil or zero leaves a setting as it is.
type SetOptions struct {
	ReserveData     *int // percent
	ReserveMetadata *int
	ReserveHost     *int
	BaseSize        units.Bytes
	DryRun          bool
}

// Settings are the options of a pool that only the database has. The kernel does not
// use them, so a change takes effect at once, for an active and an inactive pool.
type Settings struct {
	Reserve  store.Reserve
	BaseSize units.Bytes
}

// Set changes a pool's settings, all in one transaction. It returns the old and the new
// settings. Existing volumes keep their size.
func (p *Pool) Set(ctx context.Context, options SetOptions) (before, after Settings, err error) {
	change := func(tx *store.Tx) error {
		record, err := tx.Pool()
		if err != nil {
			return err
		}
		before = Settings{record.Reserve, record.BaseSize}
		after = before.with(options)
		if err := p.checkSettings(after); err != nil || after == before || options.DryRun {
			return err
		}
		record.Reserve, record.BaseSize = after.Reserve, after.BaseSize
		return tx.PutPool(record)
	}
	transaction := p.db.Update
	if options.DryRun {
		transaction = p.db.View
	}
	return before, after, p.failed("set", transaction(ctx, change))
}

func (s Settings) with(o SetOptions) Settings {
	for _, reserve := range []struct {
		asked *int
		is    *int
	}{{o.ReserveData, &s.Reserve.Data}, {o.ReserveMetadata, &s.Reserve.Metadata}, {o.ReserveHost, &s.Reserve.Host}} {
		if reserve.asked != nil {
			*reserve.is = *reserve.asked
		}
	}
	s.BaseSize = cmp.Or(o.BaseSize, s.BaseSize)
	return s
}

// checkSettings returns all faults of the settings.
func (p *Pool) checkSettings(s Settings) error {
	var faults []error
	s.check(func(format string, args ...any) {
		faults = append(faults, &Error{Op: "set", Object: p.object(), Kind: fault.Invalid,
			Detail: fmt.Sprintf(format, args...)})
	})
	return errors.Join(faults...)
}

func (s Settings) check(invalid func(format string, args ...any)) {
	if s.BaseSize%units.SectorSize != 0 || s.BaseSize < units.MiB {
		invalid("base size %s must be at least 1M and a multiple of 512 bytes", s.BaseSize)
	}
	for _, r := range []struct {
		name    string
		percent int
	}{{"data", s.Reserve.Data}, {"metadata", s.Reserve.Metadata}, {"host", s.Reserve.Host}} {
		if r.percent < 0 || r.percent > 90 {
			invalid("%s reserve %d%% must be from 0 to 90", r.name, r.percent)
		}
	}
}
