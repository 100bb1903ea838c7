package dmtest

import (
	"context"

	"golang.org/x/sys/unix"

	"thinctl/dm"
)

// Suspend implements [dm.Kernel]. It does not wait, because no IO is ever in flight. If
// the kernel would wait for a suspended pool, the error is ErrWouldBlock.
func (k *Kernel) Suspend(ctx context.Context, ref dm.Ref, _ dm.SuspendOptions) error {
	_, err := call(ctx, k, opSuspend, ref, "", func() (struct{}, error) {
		d, err := k.find(ref)
		switch {
		case err != nil || d.suspended:
			return struct{}{}, err
		case d.inner > 0:
			return struct{}{}, ErrWouldBlock // until its pool is resumed (dm.c, dm_suspend)
		}
		k.suspend(d)
		return struct{}{}, nil
	})
	return err
}

func (k *Kernel) suspend(d *device) {
	if d.live != nil {
		for _, p := range d.live.targets {
			p.target.presuspend()
		}
	}
	d.suspended = true
	if d.live != nil {
		for _, p := range d.live.targets {
			p.target.postsuspend()
		}
	}
}

// Resume implements [dm.Kernel].
func (k *Kernel) Resume(ctx context.Context, ref dm.Ref, _ dm.ResumeOptions) (dm.Info, error) {
	return call(ctx, k, opResume, ref, "", func() (dm.Info, error) {
		d, err := k.find(ref)
		if err != nil {
			return dm.Info{}, err
		}
		if d.inner > 0 {
			return dm.Info{}, ErrWouldBlock // until its pool is resumed (dm.c, dm_resume)
		}
		if err := k.resume(d); err != nil {
			return dm.Info{}, err
		}
		return k.info(d), nil
	})
}

// resume follows dm-ioctl.c, do_resume. If the new table does not fit, the old one stays
// live. If a target's preresume fails, the new one is live. In both cases the device
// stays suspended and the inactive slot is empty.
func (k *Kernel) resume(d *device) error {
	var old *table
	if fresh := d.inactive; fresh != nil {
		d.inactive = nil
		if !d.suspended {
			k.suspend(d)
		}
		if err := k.measure(fresh); err != nil {
			k.drop(d, fresh)
			return err
		}
		old, d.live = d.live, fresh
		d.readOnly = fresh.readOnly
		if fresh.targets[0].kind == dm.TypeThinPool {
			d.fixed = dm.TypeThinPool // DM_TARGET_IMMUTABLE
		}
		defer k.drop(d, old)
	}
	if !d.suspended {
		return nil
	}
	if d.live == nil {
		return unix.EINVAL // dm.c, dm_resume
	}
	for _, p := range d.live.targets {
		if err := p.target.preresume(); err != nil {
			return err
		}
	}
	d.suspended = false
	for _, p := range d.live.targets {
		p.target.resume()
	}
	return nil
}

func (d *device) stopped() bool { return d.suspended || d.inner > 0 }
