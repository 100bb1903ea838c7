package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/snapshots/filesystem/program"
)

// probe looks at the host beside the device mapper. Its root is "/" but in
// tests, where a folder stands in for it.
type probe struct {
	root    string
	cookies func() ([]dm.Cookie, error)
	find    func(program.Program) (string, error)
	space   func(path string) (loopback.Space, error)
	now     func() time.Time
}

func localProbe() probe {
	return probe{
		root: "/", cookies: dm.Cookies, space: loopback.FreeSpace, now: time.Now,
		find: func(p program.Program) (string, error) { return p.Find(nil) },
	}
}

func (p probe) path(name string) string { return filepath.Join(p.root, name) }

func (p probe) exists(name string) bool {
	_, err := os.Stat(p.path(name))
	return err == nil
}

func (p probe) read(name string) (string, error) {
	text, err := os.ReadFile(p.path(name))
	return strings.TrimSpace(string(text)), err
}

func (p probe) udevRunning() bool { return p.exists("run/udev/control") }

// udevHas tells whether udev has these rules (dm/udev.go asks the same).
func (p probe) udevHas(rules string) bool {
	for _, dir := range []string{"etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"} {
		if p.exists(filepath.Join(dir, rules)) {
			return true
		}
	}
	return false
}

// udevSync: without the last of device mapper's rules nobody answers a cookie.
func (p probe) udevSync() bool { return p.udevRunning() && p.udevHas("95-dm-notify.rules") }

// kernelRelease returns the kernel's release and its first two numbers.
func (p probe) kernelRelease() (release string, major, minor int) {
	release, err := p.read("proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown", 0, 0
	}
	parts := strings.SplitN(release, ".", 3)
	major, _ = strconv.Atoi(parts[0])
	if len(parts) > 1 {
		minor, _ = strconv.Atoi(strings.TrimRight(strings.SplitN(parts[1], "-", 2)[0], "+"))
	}
	return release, major, minor
}

// mayAdminister tells whether this process has CAP_SYS_ADMIN, bit 21 of the
// effective set (include/uapi/linux/capability.h).
func (p probe) mayAdminister() bool {
	status, err := p.read("proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(status) {
		if set, ok := strings.CutPrefix(line, "CapEff:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
			return err == nil && bits&(1<<21) != 0
		}
	}
	return false
}
