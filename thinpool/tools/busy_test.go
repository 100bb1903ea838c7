package tools

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The claim of a pool is stood in for by O_EXCL from here.
func TestClaimedDevice(t *testing.T) {
	device := loop(t, sound(t))
	if report, err := Check(t.Context(), device); err != nil || !report.Clean() {
		t.Errorf("unclaimed: %+v, %v", report, err)
	}
	claim, err := os.OpenFile(device, os.O_RDWR|syscall.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Close()
	if _, err := Check(t.Context(), device); !errors.Is(err, ErrBusy) || errors.Is(err, ErrDamaged) {
		t.Errorf("check: %v", err)
	}
	if err := ClearNeedsCheck(t.Context(), device); !errors.Is(err, ErrBusy) {
		t.Errorf("clear: %v", err)
	}
	if err := Repair(t.Context(), device, blank(t, size)); !errors.Is(err, ErrBusy) {
		t.Errorf("repair from: %v", err)
	}
	if err := Repair(t.Context(), sound(t), device); !errors.Is(err, ErrBusy) {
		t.Errorf("repair to: %v", err)
	}
}

// loop attaches file to a loop device that goes with the test.
func loop(t *testing.T, file string) string {
	t.Helper()
	backing, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Fatalf("loop devices are needed, and root: %v", err)
	}
	defer control.Close()
	for range 100 { // others take free devices too
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatal(err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		config := unix.LoopConfig{Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			t.Cleanup(func() { device.Close() })
			return device.Name()
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			t.Fatalf("attaching %s to %s: %v", file, device.Name(), err)
		}
	}
	t.Fatal("others took every free loop device first")
	return ""
}
