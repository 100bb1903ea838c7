package doctor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"thinctl/snapshots/filesystem/program"
	"thinctl/thinpool"
)

func (e *examination) permissions() {
	switch {
	case e.o.EUID() != 0:
		e.fail("permissions", "run thinctl as root", "user id %d", e.o.EUID())
	case !e.o.Probe.mayAdminister():
		e.fail("permissions", "give the container CAP_SYS_ADMIN, or run on the host", "root without CAP_SYS_ADMIN")
	default:
		e.ok("permissions", "root with CAP_SYS_ADMIN")
	}
	info, err := os.Stat(e.o.Root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.ok("root folder", "%s is not there yet: the first pool makes it", e.o.Root)
	case err != nil:
		e.fail("root folder", "make it reachable", "%v", err)
	case !info.IsDir():
		e.fail("root folder", "move it away, or choose another with --root", "%s is not a folder", e.o.Root)
	case info.Mode().Perm()&0o077 != 0:
		e.warn("root folder", "run `chmod 0700 "+e.o.Root+"`", "others may look into %s (mode %04o)", e.o.Root, info.Mode().Perm())
	default:
		e.ok("root folder", "%s", e.o.Root)
	}
}

func (e *examination) loops() {
	if e.o.Probe.exists("dev/loop-control") {
		e.ok("loop devices", "/dev/loop-control is there")
	} else {
		e.fail("loop devices", "run `modprobe loop`, or use block devices", "no /dev/loop-control")
	}
	release, major, minor := e.o.Probe.kernelRelease()
	if major > 5 || major == 5 && minor >= 8 {
		e.ok("LOOP_CONFIGURE", "this kernel has it, by its version")
	} else {
		e.warn("LOOP_CONFIGURE", "works all the same; kernels from 5.8 on attach in one step", "kernel %s attaches in several", release)
	}
}

func (e *examination) udev() {
	switch {
	case e.o.Probe.UdevSync() && e.o.Probe.udevHas("11-dm-thinctl.rules"):
		e.ok("udev", "runs, and has device mapper's rules and thinctl's")
	case e.o.Probe.UdevSync():
		e.warn("udev", "install 11-dm-thinctl.rules, which thinctl's packages bring, in /etc/udev/rules.d", "runs without thinctl's rules: each change of a container waits for it")
	case e.o.Probe.udevRunning():
		e.warn("udev", "install them: package dmsetup (Debian) or device-mapper (CentOS, Fedora)", "runs without device mapper's rules: thinctl makes nodes itself, links are missing")
	default:
		e.ok("udev", "does not run: thinctl makes device nodes itself")
	}
	cookies, err := e.o.Probe.Cookies()
	if err != nil {
		e.warn("udev cookies", "", "%v", err)
		return
	}
	const stale = 5 * time.Minute
	old := 0
	for _, cookie := range cookies {
		if e.o.Probe.Now().Sub(cookie.Changed) > stale {
			old++
		}
	}
	if old > 0 {
		e.warn("udev cookies", "run `dmsetup udevcomplete_all 5` if no other program is at work", "%s left by killed programs", plural(old, "semaphore"))
	} else {
		e.ok("udev cookies", "none left behind")
	}
}

func (e *examination) programs() {
	for _, p := range []struct{ name, packages, without string }{
		{"mkfs.ext4", "e2fsprogs", "no ext4 can be made"},
		{"mkfs.xfs", "xfsprogs", "no xfs can be made"},
	} {
		path, err := e.o.Probe.Find(program.Program{Name: p.name, Packages: p.packages})
		if err != nil {
			e.warn(p.name, "install "+p.packages, "not found: %s", p.without)
		} else {
			e.ok(p.name, "%s", path)
		}
	}
}

// space looks at the file system that sparse files would be on.
func (e *examination) space() {
	dir := e.o.Root
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	space, err := e.o.Probe.Space(dir)
	if err != nil {
		e.fail("host space", "make it reachable", "%v", err)
		return
	}
	const remedy = "free some, or move the pools"
	share := 100.0
	if space.Total > 0 {
		share = 100 * float64(space.Available) / float64(space.Total)
	}
	switch {
	case share < thinpool.DefaultHostReserve:
		e.fail("host space", remedy, "%s of %s available under %s (%.1f%%): pools on files take no new volumes", space.Available, space.Total, dir, share)
	case share < 2*thinpool.DefaultHostReserve:
		e.warn("host space", remedy, "%s of %s available under %s (%.1f%%)", space.Available, space.Total, dir, share)
	default:
		e.ok("host space", "%s of %s available under %s", space.Available, space.Total, dir)
	}
}

func (e *examination) leftovers() {
	left, err := thinpool.Leftovers(e.o.Root)
	switch {
	case err != nil:
		e.warn("leftovers", "", "%v", err)
	case len(left) > 0:
		e.warn("leftovers", "the next `thinctl pool create` clears them away, unless one is at work now", "%s in %s: %s", plural(len(left), "unfinished folder"), e.o.Root, listed(left))
	default:
		e.ok("leftovers", "none")
	}
}
