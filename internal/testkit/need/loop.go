package need

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loopPatience bounds the wait for a free loop device. Tests of other packages take and
// release devices all the time.
const loopPatience = 2 * time.Minute

// Loop attaches a file to a free loop device until the end of the test, and returns the
// open device. flags are those of the kernel, such as unix.LO_FLAGS_READ_ONLY.
func Loop(t testing.TB, file string, flags uint32) *os.File {
	t.Helper()
	Loops(t)
	backing, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR | flags}}
	for end := time.Now().Add(loopPatience); ; {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatal(err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err == nil {
			if err = unix.IoctlLoopConfigure(int(device.Fd()), &config); err == nil {
				t.Cleanup(func() { device.Close() })
				return device
			}
			device.Close()
		}
		// Another process took the device, or removed it.
		taken := errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENXIO) || errors.Is(err, os.ErrNotExist)
		if !taken || time.Now().After(end) {
			t.Fatalf("attach %s to /dev/loop%d: %v", file, n, err)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}
