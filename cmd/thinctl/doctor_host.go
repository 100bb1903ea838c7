package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"thinctl/snapshots/filesystem/program"
	"thinctl/thinpool"
)

func (u *checkup) permissions() {
	switch {
	case u.euid() != 0:
		u.fail("permissions", "run thinctl as root", "user id %d", u.euid())
	case !u.probe.mayAdminister():
		u.fail("permissions", "give the container CAP_SYS_ADMIN, or run on the host", "root without CAP_SYS_ADMIN")
	default:
		u.ok("permissions", "root with CAP_SYS_ADMIN")
	}
	info, err := os.Stat(u.root())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		u.ok("root folder", "%s is not there yet: the first pool makes it", u.root())
	case err != nil:
		u.fail("root folder", "make it reachable", "%v", err)
	case !info.IsDir():
		u.fail("root folder", "move it away, or choose another with --root", "%s is not a folder", u.root())
	case info.Mode().Perm()&0o077 != 0:
		u.warn("root folder", "run `chmod 0700 "+u.root()+"`", "others may look into %s (mode %04o)", u.root(), info.Mode().Perm())
	default:
		u.ok("root folder", "%s", u.root())
	}
}

func (u *checkup) loops() {
	if u.probe.exists("dev/loop-control") {
		u.ok("loop devices", "/dev/loop-control is there")
	} else {
		u.fail("loop devices", "run `modprobe loop`, or use block devices", "no /dev/loop-control")
	}
	release, major, minor := u.probe.kernelRelease()
	if major > 5 || major == 5 && minor >= 8 {
		u.ok("LOOP_CONFIGURE", "this kernel has it, by its version")
	} else {
		u.warn("LOOP_CONFIGURE", "works all the same; kernels from 5.8 on attach in one step", "kernel %s attaches in several", release)
	}
}

func (u *checkup) udev() {
	switch {
	case u.probe.udevSync() && u.probe.udevHas("11-dm-thinctl.rules"):
		u.ok("udev", "runs, and has device mapper's rules and thinctl's")
	case u.probe.udevSync():
		u.warn("udev", "install 11-dm-thinctl.rules, which thinctl's packages bring, in /etc/udev/rules.d", "runs without thinctl's rules: each change of a container waits for it")
	case u.probe.udevRunning():
		u.warn("udev", "install them: package dmsetup (Debian) or device-mapper (CentOS, Fedora)", "runs without device mapper's rules: thinctl makes nodes itself, links are missing")
	default:
		u.ok("udev", "does not run: thinctl makes device nodes itself")
	}
	cookies, err := u.probe.cookies()
	if err != nil {
		u.warn("udev cookies", "", "%v", err)
		return
	}
	const stale = 5 * time.Minute
	old := 0
	for _, cookie := range cookies {
		if u.probe.now().Sub(cookie.Changed) > stale {
			old++
		}
	}
	if old > 0 {
		u.warn("udev cookies", "run `dmsetup udevcomplete_all 5` if no other program is at work", "%s left by killed programs", plural(old, "semaphore"))
	} else {
		u.ok("udev cookies", "none left behind")
	}
}

func (u *checkup) programs() {
	for _, p := range []struct{ name, packages, without string }{
		{"mkfs.ext4", "e2fsprogs", "no ext4 can be made"},
		{"mkfs.xfs", "xfsprogs", "no xfs can be made"},
	} {
		path, err := u.probe.find(program.Program{Name: p.name, Packages: p.packages})
		if err != nil {
			u.warn(p.name, "install "+p.packages, "not found: %s", p.without)
		} else {
			u.ok(p.name, "%s", path)
		}
	}
}

// space looks at the file system that sparse files would be on.
func (u *checkup) space() {
	dir := u.root()
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	space, err := u.probe.space(dir)
	if err != nil {
		u.fail("host space", "make it reachable", "%v", err)
		return
	}
	const remedy = "free some, or move the pools"
	share := 100.0
	if space.Total > 0 {
		share = 100 * float64(space.Available) / float64(space.Total)
	}
	switch {
	case share < thinpool.DefaultHostReserve:
		u.fail("host space", remedy, "%s of %s available under %s (%.1f%%): pools on files take no new volumes", space.Available, space.Total, dir, share)
	case share < 2*thinpool.DefaultHostReserve:
		u.warn("host space", remedy, "%s of %s available under %s (%.1f%%)", space.Available, space.Total, dir, share)
	default:
		u.ok("host space", "%s of %s available under %s", space.Available, space.Total, dir)
	}
}

func (u *checkup) leftovers() {
	left, err := thinpool.Leftovers(u.root())
	switch {
	case err != nil:
		u.warn("leftovers", "", "%v", err)
	case len(left) > 0:
		u.warn("leftovers", "the next `thinctl pool create` clears them away, unless one is at work now", "%s in %s: %s", plural(len(left), "unfinished folder"), u.root(), sentence(left...))
	default:
		u.ok("leftovers", "none")
	}
}
