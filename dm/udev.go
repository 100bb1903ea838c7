package dm

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The flags for udev's rules in the upper half of a cookie (libdevmapper.h, DM_UDEV_*).
const (
	udevFlagShift             = 16
	udevDisableSubsystemRules = 0x0002
	udevDisableDiskRules      = 0x0004
	udevDisableOtherRules     = 0x0008
	udevPrimarySource         = 0x0040
	udevPrivate               = udevDisableSubsystemRules | udevDisableDiskRules | udevDisableOtherRules
)

// udev synchronises with udevd: each change carries a cookie, and a rule completes
// the cookie when the device's nodes and links exist.
type udev struct {
	options Options

	notifyRules  bool // device mapper's rules complete cookies
	thinctlRules bool // thinctl's rules keep scanners off its devices without a cookie's flags

	// unreachable returns the reason why udevd cannot complete cookies, "" if there is
	// none. The first change that would wait evaluates it, and logs the reason.
	unreachable func() string
	// timedOut is set after a wait has timed out. Its cause, such as a namespace that
	// /proc does not show, probably affects the next wait too.
	timedOut atomic.Bool
}

// disableUdev is libdevmapper's variable. If it is set, even to an empty value,
// programs create nodes themselves and do not wait (libdm-common.c, dm_lib_init).
const disableUdev = "DM_DISABLE_UDEV"

func newUdev(options Options) *udev {
	_, disabled := os.LookupEnv(disableUdev)
	u := &udev{
		options:      options,
		notifyRules:  HasUdevRules("/", "95-dm-notify.rules") && !disabled,
		thinctlRules: HasUdevRules("/", "11-dm-thinctl.rules"),
	}
	u.unreachable = sync.OnceValue(func() string {
		why := udevUnreachable("/proc")
		if why != "" {
			options.Logger.Warn("not waiting for udev, creating device nodes without it", "reason", why)
		}
		return why
	})
	return u
}

// HasUdevRules reports whether udev has a file of rules. root is "/" for this host.
func HasUdevRules(root, name string) bool {
	for _, dir := range []string{"etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"} {
		if _, err := os.Stat(filepath.Join(root, dir, name)); err == nil {
			return true
		}
	}
	return false
}

func (u *udev) running() bool {
	if !u.notifyRules {
		return false
	}
	_, err := os.Stat("/run/udev/control")
	return err == nil
}

// waits reports whether changes wait for udevd.
func (u *udev) waits() bool { return u.running() && !u.timedOut.Load() && u.unreachable() == "" }

// run performs a command that makes the kernel send an event to udev. Then it waits
// until udev has handled the event, but not longer than UdevTimeout. With noSync it
// does not wait, if thinctl's rules make the flags of a cookie unnecessary.
func (u *udev) run(ctx context.Context, c *Control, r *request, flags uint32, noSync bool) error {
	if noSync && u.thinctlRules {
		return c.do(r)
	}
	if !u.waits() {
		// A udevd that cannot complete cookies still handles the event, so the flags
		// are sent without a cookie, as in libdevmapper (dm_task_set_cookie).
		r.header().Event_nr = (flags | udevPrimarySource) << udevFlagShift
		return c.do(r)
	}
	cookie, err := newCookie()
	if err != nil {
		u.options.Logger.Warn("not waiting for udev: no cookie", "error", err)
		return c.do(r)
	}
	defer cookie.remove()
	r.header().Event_nr = cookie.id() | (flags|udevPrimarySource)<<udevFlagShift
	if err := c.do(r); err != nil {
		return err
	}
	if r.header().Flags&unix.DM_UEVENT_GENERATED_FLAG == 0 {
		return nil // the kernel sent no event
	}
	// The change is made: an end of the wait must not turn it into a failure.
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.options.UdevTimeout)
	defer cancel()
	began := time.Now()
	if err := cookie.wait(wait); err != nil {
		u.timedOut.Store(true)
		u.options.Logger.Warn("wait for udev timed out; this process creates device nodes and waits for udev no more",
			"device", r.ref.String(), "waited", time.Since(began).Round(time.Millisecond), "error", err)
	}
	return nil
}

// Resume implements [Kernel].
func (c *Control) Resume(ctx context.Context, ref Ref, options ResumeOptions) (Info, error) {
	var flags uint32
	if options.Private {
		flags = udevPrivate
	}
	r := newRequest(unix.DM_DEV_SUSPEND, "resume", ref, 0)
	if err := c.udev.run(ctx, c, r, flags, options.NoUdevSync); err != nil {
		return Info{}, err
	}
	info := r.info()
	if options.NoUdevSync {
		return info, nil
	}
	return info, ensureNode(c.options.Dir, info.Name, info.Dev)
}

// MakeOwnNode implements [OwnNodes].
func (c *Control) MakeOwnNode(_ context.Context, info Info) error {
	return ensureNode(ownNodeDir, info.Name, info.Dev)
}

// HasOwnNode implements [OwnNodes].
func (c *Control) HasOwnNode(_ context.Context, info Info) bool {
	got, err := nodeNumber(info.Name.OwnNode())
	return err == nil && got == info.Dev
}

// Remove implements [Kernel].
func (c *Control) Remove(ctx context.Context, ref Ref, options RemoveOptions) (bool, error) {
	r := newRequest(unix.DM_DEV_REMOVE, "remove", ref, 0)
	if options.Deferred && c.version.AtLeast(4, 27) {
		r.set(unix.DM_DEFERRED_REMOVE)
	}
	info, err := c.Info(ctx, ref)
	if err != nil {
		return false, err
	}
	if err := c.udev.run(ctx, c, r, 0, options.NoUdevSync); err != nil {
		return false, err
	}
	if r.header().Flags&unix.DM_DEFERRED_REMOVE != 0 {
		if _, err := c.Info(ctx, ByDev(info.Dev)); err == nil {
			return true, nil
		}
	}
	return false, c.removeNodes(info)
}

// Rename implements [Kernel].
func (c *Control) Rename(ctx context.Context, ref Ref, name Name) error {
	if _, err := NewName(string(name)); err != nil {
		return err
	}
	before, err := c.Info(ctx, ref)
	if err != nil {
		return err
	}
	mangled := mangle(string(name))
	// DM_DEV_RENAME accepts a name or a uuid, but no device number.
	r := newRequest(unix.DM_DEV_RENAME, "rename to "+string(name), ByName(before.Name), len(mangled)+1)
	copy(r.payload(), mangled)
	if err := c.udev.run(ctx, c, r, 0, false); err != nil {
		return err
	}
	if err := c.removeNodes(before); err != nil {
		return err
	}
	return ensureNode(c.options.Dir, name, before.Dev)
}
