//go:build systemd

package dm_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"thinctl/dm"
)

// These tests need udevd and libdevmapper's rules:
//
//	go test -tags systemd -exec "$PWD/tests/lab/run --systemd --" ./dm -run Udev

func openControl(t *testing.T, timeout time.Duration) *dm.Control {
	t.Helper()
	kernel, err := dm.Open(dm.Options{UdevTimeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kernel.Close() })
	return kernel
}

func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// activate creates a device with a live table.
func activate(t *testing.T, kernel *dm.Control, name dm.Name) dm.Info {
	t.Helper()
	made, err := kernel.Create(t.Context(), name, dm.UUID("UT-"+name))
	if err == nil {
		err = kernel.Load(t.Context(), dm.ByDev(made.Dev), []dm.Target{dm.ErrorTarget{Length: 8}}, dm.LoadOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	info, err := kernel.Resume(t.Context(), dm.ByName(name), dm.ResumeOptions{Private: true})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

const (
	none = "none"
	link = "udev's link"
	node = "a node of package dm"
)

// kindOfNode returns what exists at a device's path. A link must lead to a device.
func kindOfNode(t *testing.T, name dm.Name) string {
	t.Helper()
	info, err := os.Lstat(name.Node())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return none
	case err != nil:
		t.Fatal(err)
	case info.Mode()&fs.ModeSymlink != 0:
		if _, err := os.Stat(name.Node()); err != nil {
			t.Errorf("target of the link %s: got %v, want a device", name.Node(), err)
		}
		return link
	}
	return node
}

func wantNode(t *testing.T, when string, name dm.Name, want string) {
	t.Helper()
	if got := kindOfNode(t, name); got != want {
		t.Errorf("%s: at %s: got %s, want %s", when, name.Node(), got, want)
	}
}

func noSemaphores(t *testing.T, when string) {
	t.Helper()
	cookies, err := dm.Cookies()
	if err != nil || len(cookies) > 0 {
		t.Errorf("%s: cookies: got %v, %v, want none", when, cookies, err)
	}
	if out := mustRun(t, "ipcs", "-s"); strings.Contains(out, "0x0d4d") {
		t.Errorf("%s: semaphores: got\n%swant no cookie", when, out)
	}
}

func TestUdevMakesTheNodes(t *testing.T) {
	// In an emulated guest, udevd may be busy for a long time after the boot.
	const timeout = 2 * time.Minute
	kernel := openControl(t, timeout)
	for range 10 {
		began := time.Now()
		activate(t, kernel, "ut one")
		wantNode(t, "resumed", "ut one", link)
		if err := kernel.Rename(t.Context(), dm.ByName("ut one"), "ut-two"); err != nil {
			t.Fatal(err)
		}
		wantNode(t, "renamed", "ut one", none)
		wantNode(t, "renamed", "ut-two", link)
		if _, err := kernel.Remove(t.Context(), dm.ByName("ut-two"), dm.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
		wantNode(t, "removed", "ut-two", none)
		if took := time.Since(began); took > timeout {
			t.Errorf("three changes: got %s, want at most %s", took, timeout)
		}
	}
	noSemaphores(t, "with udevd")
}

// With thinctl's udev rules and NoUdevSync no change waits for udev. The device's own
// node exists immediately, and no link is left when udev has handled all events.
func TestNoUdevSync(t *testing.T) {
	const rules = "/run/udev/rules.d/11-dm-thinctl.rules"
	text, err := os.ReadFile("../packaging/udev/11-dm-thinctl.rules")
	if err == nil {
		err = os.MkdirAll("/run/udev/rules.d", 0o755)
	}
	if err == nil {
		err = os.WriteFile(rules, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	reload := func() { mustRun(t, "udevadm", "control", "--reload") }
	reload()
	t.Cleanup(func() { os.Remove(rules); reload() })
	kernel := openControl(t, 2*time.Minute)

	// udevd is stopped, so that a wait for it would be long.
	signal := func(how string) {
		mustRun(t, "systemctl", "kill", "--kill-whom=all", "--signal="+how, "systemd-udevd.service")
	}
	signal("STOP")
	resumed := false
	resume := func() {
		if !resumed {
			signal("CONT")
			resumed = true
		}
	}
	t.Cleanup(resume)
	create := func(name dm.Name) dm.Info {
		info, err := kernel.Create(t.Context(), name, dm.UUID("THINCTL-"+name))
		if err == nil {
			err = kernel.Load(t.Context(), dm.ByName(name), []dm.Target{dm.ErrorTarget{Length: 8}}, dm.LoadOptions{})
		}
		if err == nil {
			info, err = kernel.Resume(t.Context(), dm.ByName(name), dm.ResumeOptions{Private: true, NoUdevSync: true})
		}
		if err == nil {
			err = kernel.MakeOwnNode(t.Context(), info)
		}
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	remove := func(name dm.Name) {
		if _, err := kernel.Remove(t.Context(), dm.ByName(name), dm.RemoveOptions{NoUdevSync: true}); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	const short, kept = dm.Name("ut-short"), dm.Name("ut-kept")
	for range 5 { // each time with the same name and minor number
		info := create(short)
		if got, err := dm.NodeNumber(short.OwnNode()); err != nil || got != info.Dev {
			t.Errorf("device of %s: got %s, %v, want %s", short.OwnNode(), got, err, info.Dev)
		}
		wantNode(t, "udevd stopped", short, none)
		remove(short)
		if _, err := os.Lstat(short.OwnNode()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s after the removal: got %v, want no node", short.OwnNode(), err)
		}
	}
	stays := create(kept)
	if took := time.Since(began); took > 5*time.Minute {
		t.Errorf("changes with udevd stopped: got %s, want at most 5 minutes", took)
	}
	noSemaphores(t, "udevd stopped")

	resume()
	mustRun(t, "udevadm", "settle", "--timeout=120")
	if got, err := dm.NodeNumber(kept.OwnNode()); err != nil || got != stays.Dev {
		t.Errorf("udevd resumed: device of %s: got %s, %v, want %s", kept.OwnNode(), got, err, stays.Dev)
	}
	wantNode(t, "udevd resumed", kept, link)
	properties := mustRun(t, "udevadm", "info", "-q", "property", kept.OwnNode())
	for _, flag := range []string{"SUBSYSTEM_RULES", "DISK_RULES", "OTHER_RULES"} {
		if !strings.Contains(properties, "DM_UDEV_DISABLE_"+flag+"_FLAG=1") {
			t.Errorf("udev's properties: got %s, want the flag for %s", properties, flag)
		}
	}
	remove(kept)
	mustRun(t, "udevadm", "settle", "--timeout=120")
	wantNode(t, "at the end", short, none)
	wantNode(t, "at the end", kept, none)
	noSemaphores(t, "at the end")
}

// When udevd stops, waits for it time out and package dm creates the nodes. Later events
// of udevd do not remove them.
func TestUdevStopsInBetween(t *testing.T) {
	const timeout = time.Second
	var log bytes.Buffer
	kernel, err := dm.Open(dm.Options{UdevTimeout: timeout, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kernel.Close() })
	activate(t, kernel, "ut-before")
	wantNode(t, "with udevd", "ut-before", link)

	signal := func(how string) {
		mustRun(t, "systemctl", "kill", "--kill-whom=all", "--signal="+how, "systemd-udevd.service")
	}
	signal("STOP")

	t.Cleanup(func() { signal("CONT") })
	began := time.Now()
	activate(t, kernel, "ut-stopped-node")
	took := time.Since(began)
	if took < timeout/2 || took > 10*timeout {
		t.Errorf("time of the resume: got %s, want about %s", took, timeout)
	}
	wantNode(t, "udevd stopped, resumed", "ut-stopped-node", node)
	if err := kernel.Rename(t.Context(), dm.ByName("ut-stopped-node"), "ut-renamed"); err != nil {
		t.Fatal(err)
	}
	wantNode(t, "udevd stopped, renamed", "ut-stopped-node", none)
	wantNode(t, "udevd stopped, renamed", "ut-renamed", node)
	if _, err := kernel.Remove(t.Context(), dm.ByName("ut-before"), dm.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	wantNode(t, "udevd stopped, removed", "ut-before", none)
	noSemaphores(t, "udevd stopped")
	if n := strings.Count(log.String(), "wait for udev timed out"); n != 1 {
		t.Errorf("waits that timed out: got %d, want 1: %s", n, log.String())
	}

	signal("CONT")
	mustRun(t, "udevadm", "settle", "--timeout=60")
	noSemaphores(t, "udevd resumed")
	if got := kindOfNode(t, "ut-renamed"); got == none {
		t.Error("udevd resumed: got no node, want one")
	}
	if _, err := kernel.Remove(t.Context(), dm.ByName("ut-renamed"), dm.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []dm.Name{"ut-before", "ut-stopped-node", "ut-renamed"} {
		wantNode(t, "at the end", name, none)
	}
	noSemaphores(t, "at the end")
}

// In another IPC namespace, and with DM_DISABLE_UDEV, a process creates and removes its
// nodes without a wait. Its timeout is an hour.
func TestUdevUnreachableOrDisabled(t *testing.T) {
	const inner = "THINCTL_TEST_UDEV_UNREACHABLE"
	if os.Getenv(inner) != "" {
		kernel := openControl(t, time.Hour)
		for range 2 {
			activate(t, kernel, "ut-apart")
			if got := kindOfNode(t, "ut-apart"); got == none {
				t.Error("got no node, want one")
			}
			if _, err := kernel.Remove(t.Context(), dm.ByName("ut-apart"), dm.RemoveOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		flags    uintptr
		env      string
		warnings int
	}{{"own namespace", syscall.CLONE_NEWIPC, "A=1", 1}, {"disabled", 0, "DM_DISABLE_UDEV=1", 0}} {
		t.Run(c.name, func(t *testing.T) {
			command := exec.Command(program, "-test.run=^TestUdevUnreachableOrDisabled$")
			command.Env = append(os.Environ(), inner+"=1", c.env)
			command.SysProcAttr = &syscall.SysProcAttr{Unshareflags: c.flags}
			out, err := command.CombinedOutput()
			if err != nil {
				t.Errorf("child process: got %v, want nil\n%s", err, out)
			}
			if n := strings.Count(string(out), "not waiting for udev, creating"); n != c.warnings {
				t.Errorf("warnings: got %d, want %d:\n%s", n, c.warnings, out)
			}
			mustRun(t, "udevadm", "settle", "--timeout=120")
			wantNode(t, "at the end", "ut-apart", none)
			noSemaphores(t, "at the end")
		})
	}
}

func TestUdevStopped(t *testing.T) {
	units := []string{"systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udevd.service"}
	mustRun(t, "systemctl", append([]string{"stop"}, units...)...)
	t.Cleanup(func() {
		mustRun(t, "systemctl", append([]string{"start"}, units...)...)
		mustRun(t, "udevadm", "settle", "--timeout=60")
	})
	_, err := os.Stat("/run/udev/control")
	t.Logf("udevd is stopped; /run/udev/control: %v", err)
	kernel := openControl(t, 2*time.Second)
	began := time.Now()
	activate(t, kernel, "ut-stopped")
	wantNode(t, "stopped, resumed", "ut-stopped", node)
	if err := kernel.Rename(t.Context(), dm.ByName("ut-stopped"), "ut-renamed"); err != nil {
		t.Fatal(err)
	}
	wantNode(t, "stopped, renamed", "ut-stopped", none)
	wantNode(t, "stopped, renamed", "ut-renamed", node)
	if _, err := kernel.Remove(t.Context(), dm.ByName("ut-renamed"), dm.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	wantNode(t, "stopped, removed", "ut-renamed", none)
	if took := time.Since(began); took > 5*time.Minute {
		t.Errorf("three changes with a timeout of 2 s: got %s, want at most 5 minutes", took)
	} else {
		t.Logf("three changes took %s", took)
	}
	noSemaphores(t, "stopped")
}
