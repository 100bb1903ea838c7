package dm

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUdevUnreachable(t *testing.T) {
	const own, other = "ipc:[4026532001]", "ipc:[4026532002]"
	type process struct{ name, ipc string }
	for _, c := range []struct {
		name        string
		self        string
		processes   []process
		unreachable bool
	}{
		{"the initial namespace", initialIPC, nil, false},
		{"the initial namespace, without udevd in /proc", initialIPC, []process{{"sh", initialIPC}}, false},
		{"unshare --ipc on a host", own, []process{{"systemd", initialIPC}, {"systemd-udevd", initialIPC}}, true},
		{"a container without udevd", own, []process{{"sh", own}}, true},
		{"a container with its own udevd", own, []process{{"systemd", own}, {"systemd-udevd", own}}, false},
		{"eudev in the same namespace", own, []process{{"udevd", own}}, false},
		{"udevd of another container", own, []process{{"systemd-udevd", other}}, true},
		{"udevd with an unreadable namespace", own, []process{{"systemd-udevd", "unreadable"}}, false},
		{"no /proc", "", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			proc := t.TempDir()
			link := func(pid, ipc string) {
				t.Helper()
				dir := filepath.Join(proc, pid, "ns")
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				err := os.Symlink(ipc, filepath.Join(dir, "ipc"))
				if ipc == "unreadable" { // no link: readlink fails with EINVAL
					os.Remove(filepath.Join(dir, "ipc"))
					err = os.WriteFile(filepath.Join(dir, "ipc"), nil, 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if c.self != "" {
				link("self", c.self)
			}
			for i, p := range c.processes {
				pid := string(rune('1' + i))
				link(pid, p.ipc)
				if err := os.WriteFile(filepath.Join(proc, pid, "comm"), []byte(p.name+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			why := udevUnreachable(proc)
			if (why != "") != c.unreachable {
				t.Errorf("got %q, want unreachable %t", why, c.unreachable)
			}
			if c.unreachable && !strings.Contains(why, c.self) {
				t.Errorf("got %q, want the namespace %s in it", why, c.self)
			}
		})
	}
}

// As in libdevmapper, DM_DISABLE_UDEV may have any value.
func TestUdevDisabled(t *testing.T) {
	for _, value := range []string{"1", "0", ""} {
		t.Setenv(disableUdev, value)
		if u := newUdev(Options{Logger: slog.New(slog.DiscardHandler)}); u.notifyRules {
			t.Errorf("with %s=%q: got waits for udev, want none", disableUdev, value)
		}
	}
}
