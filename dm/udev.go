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

// Flags that travel to udev's rules in the upper half of the cookie
// (libdevmapper.h, DM_UDEV_*).
const (
	udevFlagShift             = 16
	udevDisableSubsystemRules = 0x0002
	udevDisableDiskRules      = 0x0004
	udevDisableOtherRules     = 0x0008
	udevPrimarySource         = 0x0040
	udevPrivate               = udevDisableSubsystemRules | udevDisableDiskRules | udevDisableOtherRules
)

// udev waits for udevd where it runs and knows device mapper's rules: each
// change carries a cookie, a rule completes it when nodes and links are there.
type udev struct {
	options Options
	answers bool // a rule completes cookies; without it each wait would run out
	knows   bool // a rule keeps scanners off thinctl's devices, whatever an event says

	// unreachable says why udevd cannot complete cookies, as far as it is known; it is
	// asked for and logged at the first change that would wait.
	unreachable func() string
	// gaveUp: a wait ran out. What kept udevd from answering, such as a namespace
	// that cannot be seen, will mostly keep it from the next answer.
	gaveUp atomic.Bool
}

// disableUdev is libdevmapper's: where it is set, to whatever value, programs make
// the nodes by themselves and wait for nothing (libdm-common.c, dm_lib_init).
const disableUdev = "DM_DISABLE_UDEV"

func newUdev(options Options) *udev {
	_, disabled := os.LookupEnv(disableUdev)
	u := &udev{options: options, answers: hasRules("95-dm-notify.rules") && !disabled, knows: hasRules("11-dm-thinctl.rules")}
	u.unreachable = sync.OnceValue(func() string {
		why := udevUnreachable("/proc")
		if why != "" {
			options.Logger.Warn("udev is not waited for; nodes are made here", "reason", why)
		}
		return why
	})
	return u
}

func hasRules(name string) bool {
	for _, dir := range []string{"/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

func (u *udev) running() bool {
	if !u.answers {
		return false
	}
	_, err := os.Stat("/run/udev/control")
	return err == nil
}

// waits reports whether udevd is waited for.
func (u *udev) waits() bool { return u.running() && !u.gaveUp.Load() && u.unreachable() == "" }

// run performs a command that makes the kernel tell udev something, and waits
// until udev is done or the bound is reached. A quiet one is not waited for where
// udev needs not be told what to leave alone: without a cookie its rules start no
// program.
func (u *udev) run(ctx context.Context, c *Control, r *request, flags uint32, quiet bool) error {
	if quiet && u.knows {
		return c.do(r)
	}
	if !u.waits() {
		// A udevd that cannot answer still acts on the event. The flags go without a
		// cookie, as libdevmapper sends them (dm_task_set_cookie).
		r.header().Event_nr = (flags | udevPrimarySource) << udevFlagShift
		return c.do(r)
	}
	cookie, err := newCookie()
	if err != nil {
		u.options.Logger.Warn("no udev cookie; going on without waiting for udev", "error", err)
		return c.do(r)
	}
	defer cookie.remove()
	r.header().Event_nr = cookie.id() | (flags|udevPrimarySource)<<udevFlagShift
	if err := c.do(r); err != nil {
		return err
	}
	if r.header().Flags&unix.DM_UEVENT_GENERATED_FLAG == 0 {
		return nil // nothing was sent, so nobody will answer
	}
	// The change is made; it must not be reported as failed for the wait's sake.
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.options.UdevTimeout)
	defer cancel()
	began := time.Now()
	if err := cookie.wait(wait); err != nil {
		u.gaveUp.Store(true)
		u.options.Logger.Warn("udev did not answer in time and is not waited for again by this process; nodes are made here",
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
	if err := c.udev.run(ctx, c, r, flags, options.Quiet); err != nil {
		return Info{}, err
	}
	info := r.info()
	if options.Quiet {
		return info, nil
	}
	return info, ensureNode(c.options.Dir, info.Name, info.Dev)
}

// OwnNode implements [Kernel].
func (c *Control) OwnNode(_ context.Context, info Info) error {
	return ensureNode(ownDir, info.Name, info.Dev)
}

// HasOwnNode implements [Kernel].
func (c *Control) HasOwnNode(_ context.Context, info Info) bool {
	got, err := blockDev(info.Name.OwnNode())
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
	if err := c.udev.run(ctx, c, r, 0, options.Quiet); err != nil {
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
	wire := mangle(string(name))
	// The kernel's rename finds its device by name or uuid only.
	r := newRequest(unix.DM_DEV_RENAME, "rename to "+string(name), ByName(before.Name), len(wire)+1)
	copy(r.payload(), wire)
	if err := c.udev.run(ctx, c, r, 0, false); err != nil {
		return err
	}
	if err := c.removeNodes(before); err != nil {
		return err
	}
	return ensureNode(c.options.Dir, name, before.Dev)
}
