package doctor

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

// Probe reads facts about the host other than its device mapper. Its root is "/", or a directory
// in tests.
type Probe struct {
	Root    string
	Cookies func() ([]dm.Cookie, error)
	Find    func(program.Program) (string, error)
	Space   func(path string) (loopback.Space, error)
	Now     func() time.Time
}

// Local returns the probe of this host.
func Local() Probe {
	return Probe{
		Root: "/", Cookies: dm.Cookies, Space: loopback.FreeSpace, Now: time.Now,
		Find: func(p program.Program) (string, error) { return p.Find(nil) },
	}
}

func (p Probe) path(name string) string { return filepath.Join(p.Root, name) }

func (p Probe) exists(name string) bool {
	_, err := os.Stat(p.path(name))
	return err == nil
}

func (p Probe) read(name string) (string, error) {
	text, err := os.ReadFile(p.path(name))
	return strings.TrimSpace(string(text)), err
}

func (p Probe) udevRunning() bool { return p.exists("run/udev/control") }

func (p Probe) udevHas(rules string) bool { return dm.HasUdevRules(p.Root, rules) }

// UdevSync reports whether udev completes cookies, which needs the last of device mapper's rules.
func (p Probe) UdevSync() bool { return p.udevRunning() && p.udevHas("95-dm-notify.rules") }

// kernelRelease returns the kernel's release and its first two numbers.
func (p Probe) kernelRelease() (release string, major, minor int) {
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

// mayAdminister reports whether this process has CAP_SYS_ADMIN, bit 21 of the effective set
// (include/uapi/linux/capability.h).
func (p Probe) mayAdminister() bool {
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
