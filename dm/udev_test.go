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

func openControl(t *testing.T, patience time.Duration) *dm.Control {
	t.Helper()
	kernel, err := dm.Open(dm.Options{UdevTimeout: patience})
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

// bring makes a live device.
func bring(t *testing.T, kernel *dm.Control, name dm.Name) dm.Info {
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
	node = "our node"
)

// stands tells what is at a device's path, which must lead to the device.
func stands(t *testing.T, name dm.Name) string {
	t.Helper()
	info, err := os.Lstat(name.Node())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return none
	case err != nil:
		t.Fatal(err)
	case info.Mode()&fs.ModeSymlink != 0:
		if _, err := os.Stat(name.Node()); err != nil {
			t.Errorf("%s leads nowhere: %v", name.Node(), err)
		}
		return link
	}
	return node
}

func expect(t *testing.T, when string, name dm.Name, want string) {
	t.Helper()
	if got := stands(t, name); got != want {
		t.Errorf("%s: at %s there is %s, want %s", when, name.Node(), got, want)
	}
}

func noSemaphores(t *testing.T, when string) {
	t.Helper()
	cookies, err := dm.Cookies()
	if err != nil || len(cookies) > 0 {
		t.Errorf("%s: cookies left: %v, %v", when, cookies, err)
	}
	if out := mustRun(t, "ipcs", "-s"); strings.Contains(out, "0x0d4d") {
		t.Errorf("%s: semaphores left:\n%s", when, out)
	}
}

func TestUdevMakesTheNodes(t *testing.T) {
	// An emulated guest just booted may keep udevd busy for long.
	const patience = 2 * time.Minute
	kernel := openControl(t, patience)
	for range 10 {
		began := time.Now()
		bring(t, kernel, "ut one")
		expect(t, "resumed", "ut one", link)
		if err := kernel.Rename(t.Context(), dm.ByName("ut one"), "ut-two"); err != nil {
			t.Fatal(err)
		}
		expect(t, "renamed", "ut one", none)
		expect(t, "renamed", "ut-two", link)
		if _, err := kernel.Remove(t.Context(), dm.ByName("ut-two"), dm.RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
		expect(t, "removed", "ut-two", none)
		if took := time.Since(began); took > patience {
			t.Errorf("three changes took %s: a wait ran out", took)
		}
	}
	noSemaphores(t, "with udevd")
}

// A quiet device where udev knows thinctl's devices: nobody waits, its own node is
// there, and nothing of it stays when udev has caught up.
func TestUdevIsNotWaitedFor(t *testing.T) {
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

	// udevd stands still, so that whoever waits for it waits for long.
	signal := func(how string) {
		mustRun(t, "systemctl", "kill", "--kill-whom=all", "--signal="+how, "systemd-udevd.service")
	}
	signal("STOP")
	thawed := false
	thaw := func() {
		if !thawed {
			signal("CONT")
			thawed = true
		}
	}
	t.Cleanup(thaw)
	made := func(name dm.Name) dm.Info {
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
	for range 5 { // the same name and the same minor, again and again
		info := made("ut-quiet")
		if got, err := dm.NodeNumber(dm.Name("ut-quiet").OwnNode()); err != nil || got != info.Dev {
			t.Errorf("%s leads to %s, %v; want %s", dm.Name("ut-quiet").OwnNode(), got, err, info.Dev)
		}
		expect(t, "frozen", "ut-quiet", none)
		remove("ut-quiet")
		if _, err := os.Lstat(dm.Name("ut-quiet").OwnNode()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("removed: %s is still there: %v", dm.Name("ut-quiet").OwnNode(), err)
		}
	}
	stays := made("ut-stays")
	if took := time.Since(began); took > 5*time.Minute {
		t.Errorf("with udevd standing still it took %s", took)
	}
	noSemaphores(t, "frozen")

	thaw()
	mustRun(t, "udevadm", "settle", "--timeout=120")
	if got, err := dm.NodeNumber(dm.Name("ut-stays").OwnNode()); err != nil || got != stays.Dev {
		t.Errorf("thawed: %s leads to %s, %v; want %s", dm.Name("ut-stays").OwnNode(), got, err, stays.Dev)
	}
	expect(t, "thawed", "ut-stays", link)
	properties := mustRun(t, "udevadm", "info", "-q", "property", dm.Name("ut-stays").OwnNode())
	for _, flag := range []string{"SUBSYSTEM_RULES", "DISK_RULES", "OTHER_RULES"} {
		if !strings.Contains(properties, "DM_UDEV_DISABLE_"+flag+"_FLAG=1") {
			t.Errorf("udev may look into the device (%s): %s", flag, properties)
		}
	}
	remove("ut-stays")
	mustRun(t, "udevadm", "settle", "--timeout=120")
	expect(t, "at the end", "ut-quiet", none)
	expect(t, "at the end", "ut-stays", none)
	noSemaphores(t, "at the end")
}

// udevd freezes in the middle: waits are bounded, the nodes are ours, and what
// udevd does once it is back harms nothing.
func TestUdevFrozenInTheMiddle(t *testing.T) {
	const patience = time.Second
	var log bytes.Buffer
	kernel, err := dm.Open(dm.Options{UdevTimeout: patience, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kernel.Close() })
	bring(t, kernel, "ut-before")
	expect(t, "with udevd", "ut-before", link)

	signal := func(how string) {
		mustRun(t, "systemctl", "kill", "--kill-whom=all", "--signal="+how, "systemd-udevd.service")
	}
	signal("STOP")

	t.Cleanup(func() { signal("CONT") })
	began := time.Now()
	bring(t, kernel, "ut-frozen")
	took := time.Since(began)
	if took < patience/2 || took > 10*patience {
		t.Errorf("resuming took %s, the bound is %s", took, patience)
	}
	expect(t, "frozen, resumed", "ut-frozen", node)
	if err := kernel.Rename(t.Context(), dm.ByName("ut-frozen"), "ut-renamed"); err != nil {
		t.Fatal(err)
	}
	expect(t, "frozen, renamed", "ut-frozen", none)
	expect(t, "frozen, renamed", "ut-renamed", node)
	if _, err := kernel.Remove(t.Context(), dm.ByName("ut-before"), dm.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, "frozen, removed", "ut-before", none)
	noSemaphores(t, "frozen")
	if n := strings.Count(log.String(), "wait for udev timed out"); n != 1 {
		t.Errorf("%d waits ran out, want one: %s", n, log.String())
	}

	signal("CONT")
	mustRun(t, "udevadm", "settle", "--timeout=60")
	noSemaphores(t, "thawed")
	if got := stands(t, "ut-renamed"); got == none {
		t.Error("thawed: udevd took our node away")
	}
	if _, err := kernel.Remove(t.Context(), dm.ByName("ut-renamed"), dm.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []dm.Name{"ut-before", "ut-frozen", "ut-renamed"} {
		expect(t, "at the end", name, none)
	}
	noSemaphores(t, "at the end")
}

// In an IPC namespace of its own, and with DM_DISABLE_UDEV, a process makes and
// removes its nodes without waiting. Here it would wait for an hour.
func TestUdevIsOutOfReach(t *testing.T) {
	const inner = "THINCTL_TEST_OUT_OF_REACH"
	if os.Getenv(inner) != "" {
		kernel := openControl(t, time.Hour)
		for range 2 {
			bring(t, kernel, "ut-apart")
			if got := stands(t, "ut-apart"); got == none {
				t.Error("there is no node")
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
		name  string
		flags uintptr
		env   string
		says  int
	}{{"own namespace", syscall.CLONE_NEWIPC, "A=1", 1}, {"disabled", 0, "DM_DISABLE_UDEV=1", 0}} {
		t.Run(c.name, func(t *testing.T) {
			command := exec.Command(program, "-test.run=^TestUdevIsOutOfReach$")
			command.Env = append(os.Environ(), inner+"=1", c.env)
			command.SysProcAttr = &syscall.SysProcAttr{Unshareflags: c.flags}
			out, err := command.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if n := strings.Count(string(out), "not waiting for udev, creating"); n != c.says {
				t.Errorf("it says so %d times, want %d:\n%s", n, c.says, out)
			}
			mustRun(t, "udevadm", "settle", "--timeout=120")
			expect(t, "at the end", "ut-apart", none)
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
	bring(t, kernel, "ut-stopped")
	expect(t, "stopped, resumed", "ut-stopped", node)
	if err := kernel.Rename(t.Context(), dm.ByName("ut-stopped"), "ut-renamed"); err != nil {
		t.Fatal(err)
	}
	expect(t, "stopped, renamed", "ut-stopped", none)
	expect(t, "stopped, renamed", "ut-renamed", node)
	if _, err := kernel.Remove(t.Context(), dm.ByName("ut-renamed"), dm.RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, "stopped, removed", "ut-renamed", none)
	if took := time.Since(began); took > 5*time.Minute {
		t.Errorf("three changes took %s, each is bounded to 2 s", took)
	} else {
		t.Logf("three changes took %s", took)
	}
	noSemaphores(t, "stopped")
}
