package main

import (
	"errors"
	"strings"

	"thinctl/dm"
	"thinctl/thinpool"
)

// kernel looks at the device mapper: what it can do, and what is in it.
func (u *checkup) kernel() {
	release, _, _ := u.probe.kernelRelease()
	u.ok("kernel", "%s", release)
	host, closer, err := u.app.host(u.logger)
	if err != nil {
		u.fail("device mapper", remedyFor(err), "%v", err)
		return
	}
	defer closer.Close()
	u.host = host
	version, err := host.Kernel.Version(u.ctx)
	if err != nil {
		u.fail("device mapper", remedyFor(err), "%v", err)
		return
	}
	u.ok("device mapper", "protocol %s", version)
	u.target(dm.TypeThinPool)
	u.target(dm.TypeThin)
	u.devices()
}

func remedyFor(err error) string {
	if errors.Is(err, dm.ErrPermission) || errors.Is(err, dm.ErrNoDeviceMapper) {
		return "" // both say it themselves
	}
	return "see the kernel's log"
}

func (u *checkup) target(name string) {
	version, err := u.host.Kernel.TargetVersion(u.ctx, name)
	switch {
	case errors.Is(err, dm.ErrNoTarget):
		u.fail("target "+name, "run `modprobe dm_thin_pool`", "this kernel has none")
	case err != nil:
		u.fail("target "+name, remedyFor(err), "%v", err)
	case name == dm.TypeThinPool && !version.AtLeast(1, 10):
		u.warn("target "+name, "leave --full at queue", "%s: a full pool cannot fail writes", version)
	default:
		u.ok("target "+name, "%s", version)
	}
}

// devices looks for device mapper devices that nobody here owns, and for those
// whose IO waits.
func (u *checkup) devices() {
	entries, err := u.host.Kernel.List(u.ctx)
	if err != nil {
		u.fail("devices", remedyFor(err), "%v", err)
		return
	}
	owners, err := u.poolsByUUID()
	if err != nil {
		u.warn("pools", "run `thinctl pool check`", "%v", err)
	}
	var foreign, suspended []string
	for _, entry := range entries {
		if id, ours := poolOf(entry.UUID); ours && owners[id] == "" {
			foreign = append(foreign, string(entry.Name))
		}
		if info, err := u.host.Kernel.Info(u.ctx, dm.ByDev(entry.Dev)); err == nil && info.Suspended && info.ActiveTable {
			suspended = append(suspended, string(entry.Name))
		}
	}
	if len(foreign) > 0 {
		u.warn("foreign devices", "they may be of pools under another --root; else `dmsetup remove` them, volumes first",
			"%s with thinctl's uuid and no pool in %s: %s", plural(len(foreign), "device"), u.root(), sentence(foreign...))
	} else {
		u.ok("foreign devices", "none")
	}
	if len(suspended) > 0 {
		u.fail("suspended devices", "`thinctl pool repair` resumes a pool's; else run `dmsetup resume`", "all IO waits on %s", sentence(suspended...))
	} else {
		u.ok("suspended devices", "none")
	}
}

// poolsByUUID returns the names of the pools under the root.
func (u *checkup) poolsByUUID() (map[string]string, error) {
	owners := map[string]string{}
	names, err := thinpool.List(u.root())
	faults := []error{err}
	for _, name := range names {
		pool, err := thinpool.Open(u.ctx, u.host, u.root(), name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		owners[pool.UUID()] = name
	}
	return owners, errors.Join(faults...)
}

// poolOf reads the pool's uuid out of a device's: THINCTL-<pool uuid>-<what>.
func poolOf(id dm.UUID) (pool string, ours bool) {
	rest, ours := strings.CutPrefix(string(id), "THINCTL-")
	pool, _, _ = strings.Cut(rest, "-")
	return pool, ours
}
