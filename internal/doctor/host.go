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
		e.ok("root directory", "%s does not exist yet: the first pool creates it", e.o.Root)
	case err != nil:
		e.fail("root directory", "make it reachable", "%v", err)
	case !info.IsDir():
		e.fail("root directory", "move it away, or choose another with --root", "%s is not a directory", e.o.Root)
	case info.Mode().Perm()&0o077 != 0:
		e.warn("root directory", "run `chmod 0700 "+e.o.Root+"`", "other users can read %s (mode %04o)", e.o.Root,
			info.Mode().Perm())
	default:
		e.ok("root directory", "%s", e.o.Root)
	}
}

func (e *examination) loops() {
	if e.o.Probe.exists("dev/loop-control") {
		e.ok("loop devices", "/dev/loop-control exists")
	} else {
		e.fail("loop devices", "run `modprobe loop`, or use block devices", "no /dev/loop-control")
	}
	release, major, minor := e.o.Probe.kernelRelease()
	if major > 5 || major == 5 && minor >= 8 {
		e.ok("LOOP_CONFIGURE", "supported, by the kernel version")
	} else {
		e.warn("LOOP_CONFIGURE", "no action is needed; kernels from 5.8 on attach in one step",
			"kernel %s attaches in several steps", release)
	}
}

func (e *examination) udev() {
	switch {
	case e.o.Probe.UdevSync() && e.o.Probe.udevHas("11-dm-thinctl.rules"):
		e.ok("udev", "running, with the rules of device mapper and thinctl")
	case e.o.Probe.UdevSync():
		e.warn("udev", "install 11-dm-thinctl.rules from the thinctl package in /etc/udev/rules.d",
			"running without thinctl's rules: each change of a container waits for udev")
	case e.o.Probe.udevRunning():
		e.warn("udev", "install package dmsetup (Debian) or device-mapper (CentOS, Fedora)",
			"running without device mapper's rules: thinctl creates device nodes, but links are missing")
	default:
		e.ok("udev", "not running: thinctl creates device nodes")
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
		e.warn("udev cookies", "run `dmsetup udevcomplete_all 5` if no other program is waiting",
			"%s left by killed programs", plural(old, "semaphore"))
	} else {
		e.ok("udev cookies", "none left behind")
	}
}

func (e *examination) programs() {
	for _, p := range []struct{ name, packages, without string }{
		{"mkfs.ext4", "e2fsprogs", "ext4 cannot be created"},
		{"mkfs.xfs", "xfsprogs", "xfs cannot be created"},
	} {
		path, err := e.o.Probe.Find(program.Program{Name: p.name, Packages: p.packages})
		if err != nil {
			e.warn(p.name, "install "+p.packages, "not found: %s", p.without)
		} else {
			e.ok(p.name, "%s", path)
		}
	}
}

// space checks the file system of sparse files.
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
	const remedy = "free some space, or move the pools"
	share := 100.0
	if space.Total > 0 {
		share = 100 * float64(space.Available) / float64(space.Total)
	}
	switch {
	case share < thinpool.DefaultHostReserve:
		e.fail("host space", remedy, "%s of %s available under %s (%.1f%%): pools on files refuse new volumes",
			space.Available, space.Total, dir, share)
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
		e.warn("leftovers", "the next `thinctl pool create` removes them, unless one is in progress", "%s in %s: %s",
			plural(len(left), "unfinished pool"), e.o.Root, listed(left))
	default:
		e.ok("leftovers", "none")
	}
}
