package doctor

import (
	"errors"
	"strings"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/internal/remedy"
	"thinctl/thinpool"
)

// kernel checks the device mapper: its features and its devices.
func (e *examination) kernel() {
	release, _, _ := e.o.Probe.kernelRelease()
	e.ok("kernel", "%s", release)
	host, closer, err := e.o.Open()
	if err != nil {
		e.fail("device mapper", remedyFor(err), "%v", err)
		return
	}
	defer func() { _ = closer.Close() }() // the examination only reads
	e.host = host
	version, err := host.Kernel.Version(e.ctx)
	if err != nil {
		e.fail("device mapper", remedyFor(err), "%v", err)
		return
	}
	e.ok("device mapper", "protocol %s", version)
	e.target(dm.TypeThinPool)
	e.target(dm.TypeThin)
	e.devices()
}

func remedyFor(err error) string {
	if errors.Is(err, fault.Denied) || errors.Is(err, dm.ErrNoDeviceMapper) {
		return "" // the error has a remedy
	}
	return "see the kernel's log"
}

func (e *examination) target(name string) {
	version, err := e.host.Kernel.TargetVersion(e.ctx, name)
	switch {
	case errors.Is(err, dm.ErrNoTarget):
		e.fail("target "+name, "run `modprobe dm_thin_pool`", "not in this kernel")
	case err != nil:
		e.fail("target "+name, remedyFor(err), "%v", err)
	case name == dm.TypeThinPool && !version.AtLeast(1, 10):
		e.warn("target "+name, "keep --full queue", "%s: a full pool cannot fail writes", version)
	default:
		e.ok("target "+name, "%s", version)
	}
}

// devices finds devices of thinctl without a pool under the root, and suspended devices.
func (e *examination) devices() {
	entries, err := e.host.Kernel.List(e.ctx)
	if err != nil {
		e.fail("devices", remedyFor(err), "%v", err)
		return
	}
	owners, err := e.poolsByUUID()
	if err != nil {
		e.warn("pools", "run `thinctl pool check`", "%s", remedy.Text(err))
	}
	var foreign, suspended []string
	for _, entry := range entries {
		if id, ours := poolOf(entry.UUID); ours && owners[id] == "" {
			foreign = append(foreign, string(entry.Name))
		}
		if info, err := e.host.Kernel.Info(e.ctx, dm.ByDev(entry.Dev)); err == nil && info.Suspended && info.ActiveTable {
			suspended = append(suspended, string(entry.Name))
		}
	}
	if len(foreign) > 0 {
		e.warn("foreign devices", "check whether they belong to pools under another --root; otherwise remove them with "+
			"`dmsetup remove`, volumes first",
			"%s with a uuid of thinctl and without a pool in %s: %s", plural(len(foreign), "device"), e.o.Root, listed(foreign))
	} else {
		e.ok("foreign devices", "none")
	}
	if len(suspended) > 0 {
		e.fail("suspended devices", "`thinctl pool repair` resumes the devices of a pool; otherwise run `dmsetup resume`",
			"all IO is blocked on %s", listed(suspended))
	} else {
		e.ok("suspended devices", "none")
	}
}

// poolsByUUID returns the names of the pools under the root.
func (e *examination) poolsByUUID() (map[string]string, error) {
	owners := map[string]string{}
	names, err := thinpool.List(e.o.Root)
	faults := []error{err}
	for _, name := range names {
		pool, err := thinpool.Open(e.ctx, e.host, e.o.Root, name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		owners[pool.UUID()] = name
	}
	return owners, errors.Join(faults...)
}

// poolOf returns the uuid of the pool from the uuid of a device: THINCTL-<pool uuid>-<suffix>.
func poolOf(id dm.UUID) (pool string, ours bool) {
	rest, ours := strings.CutPrefix(string(id), "THINCTL-")
	pool, _, _ = strings.Cut(rest, "-")
	return pool, ours
}
