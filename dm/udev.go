package dm

import (
	"context"
	"os"
	"path/filepath"
	"sync"
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
//
// Whoever resumes a device that is kept from udev's scanners does not wait: what the
// rules would do for him, the link, is done here, and the rules find it done.
type udev struct {
	options Options
	rules   bool

	mu   sync.Mutex
	late map[Dev]chan struct{} // closed when udev has answered for the device
	all  sync.WaitGroup
}

func newUdev(options Options) *udev {
	u := &udev{options: options, late: map[Dev]chan struct{}{}}
	for _, dir := range []string{"/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d"} {
		// Without this rule nobody completes cookies, and each wait would run out.
		if _, err := os.Stat(filepath.Join(dir, "95-dm-notify.rules")); err == nil {
			u.rules = true
		}
	}
	return u
}

func (u *udev) running() bool {
	if !u.rules {
		return false
	}
	_, err := os.Stat("/run/udev/control")
	return err == nil
}

// run performs a command that makes the kernel tell udev something, and waits
// until udev is done or the bound is reached.
func (u *udev) run(ctx context.Context, c *Control, r *request, flags uint32) error {
	cookie, err := u.send(c, r, flags)
	if cookie == nil {
		return err
	}
	// The change is made; it must not be reported as failed for the wait's sake.
	u.await(context.WithoutCancel(ctx), cookie, r.ref)
	return nil
}

// begin performs a command as run does, and leaves the wait for udev to whoever
// changes the device next. It reports whether udev has something to do.
func (u *udev) begin(c *Control, r *request, flags uint32) (pending bool, err error) {
	cookie, err := u.send(c, r, flags)
	if cookie == nil {
		return false, err
	}
	dev, done := r.info().Dev, make(chan struct{})
	u.mu.Lock()
	u.late[dev] = done
	u.mu.Unlock()
	u.all.Go(func() {
		u.await(context.Background(), cookie, r.ref)
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.late[dev] == done {
			delete(u.late, dev)
		}
		close(done)
	})
	return true, nil
}

// settle waits until udev has answered for a device.
func (u *udev) settle(dev Dev) {
	u.mu.Lock()
	done := u.late[dev]
	u.mu.Unlock()
	if done != nil {
		<-done // bounded by UdevTimeout
	}
}

// send performs a command; nil where nobody has to be waited for.
func (u *udev) send(c *Control, r *request, flags uint32) (*cookie, error) {
	if !u.running() {
		return nil, c.do(r)
	}
	cookie, err := newCookie()
	if err != nil {
		u.options.Logger.Warn("no udev cookie; going on without waiting for udev", "error", err)
		return nil, c.do(r)
	}
	r.header().Event_nr = cookie.id() | (flags|udevPrimarySource)<<udevFlagShift
	if err := c.do(r); err != nil {
		cookie.remove()
		return nil, err
	}
	if r.header().Flags&unix.DM_UEVENT_GENERATED_FLAG == 0 { // nothing was sent, so nobody will answer
		cookie.remove()
		return nil, nil
	}
	return cookie, nil
}

func (u *udev) await(ctx context.Context, cookie *cookie, ref Ref) {
	defer cookie.remove()
	wait, cancel := context.WithTimeout(ctx, u.options.UdevTimeout)
	defer cancel()
	began := time.Now()
	if err := cookie.wait(wait); err != nil {
		u.options.Logger.Warn("udev did not answer in time; its node is made here",
			"device", ref.String(), "waited", time.Since(began).Round(time.Millisecond), "error", err)
	}
}

// Resume implements [Kernel].
func (c *Control) Resume(ctx context.Context, ref Ref, options ResumeOptions) (Info, error) {
	r := newRequest(unix.DM_DEV_SUSPEND, "resume", ref, 0)
	if !options.Private {
		err := c.udev.run(ctx, c, r, 0)
		if err != nil {
			return Info{}, err
		}
		info := r.info()
		return info, c.ensureNode(info.Name, info.Dev)
	}
	pending, err := c.udev.begin(c, r, udevPrivate)
	if err != nil {
		return Info{}, err
	}
	info := r.info()
	if pending && c.ensureLink(info.Name, info.Dev) == nil {
		return info, nil
	}
	c.udev.settle(info.Dev)
	return info, c.ensureNode(info.Name, info.Dev)
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
	c.udev.settle(info.Dev)
	if err := c.udev.run(ctx, c, r, 0); err != nil {
		return false, err
	}
	if r.header().Flags&unix.DM_DEFERRED_REMOVE != 0 {
		if _, err := c.Info(ctx, ByDev(info.Dev)); err == nil {
			return true, nil
		}
	}
	return false, c.removeNode(info.Name, info.Dev)
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
	c.udev.settle(before.Dev)
	wire := mangle(string(name))
	// The kernel's rename finds its device by name or uuid only.
	r := newRequest(unix.DM_DEV_RENAME, "rename to "+string(name), ByName(before.Name), len(wire)+1)
	copy(r.payload(), wire)
	if err := c.udev.run(ctx, c, r, 0); err != nil {
		return err
	}
	if err := c.removeNode(before.Name, before.Dev); err != nil {
		return err
	}
	return c.ensureNode(name, before.Dev)
}
