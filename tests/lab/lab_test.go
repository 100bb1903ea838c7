package lab_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thinctl/internal/testkit/need"
	"thinctl/tests/lab"
)

type outcome struct {
	lab.Result
	stdout, stderr string
	err            error
}

// run runs a shell script in a guest. The guests need only the shell, so thinctl is not
// built for them.
func run(t *testing.T, config lab.Config, script string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	config.Command = []string{"sh", "-c", script}
	config.Stdout, config.Stderr, config.Progress = &stdout, &stderr, t.Output()
	config.NoBuild = true
	config.Memory = 1 << 30
	if config.Timeout == 0 {
		config.Timeout = 10 * time.Minute
	}
	result, err := lab.Run(context.Background(), config)
	if errors.Is(err, lab.ErrUnprepared) {
		need.Unmet(t, "a guest: %v", err)
	}
	t.Logf("accelerator %s, command reached in %v, whole run %v", result.Accel, result.Boot, result.Elapsed)
	return outcome{result, stdout.String(), stderr.String(), err}
}

func (o outcome) mustExit(t *testing.T, status int) {
	t.Helper()
	if o.err != nil || o.ExitCode != status {
		t.Fatalf("exit status %d, want %d; error: %v\nstdout: %s\nstderr: %s", o.ExitCode, status, o.err, o.stdout, o.stderr)
	}
}

func TestCommandRunsOnEachKernel(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, kernel := range lab.Kernels() {
		t.Run(kernel, func(t *testing.T) {
			t.Parallel()
			o := run(t, lab.Config{
				Kernel: kernel,
				Disks:  []lab.Disk{{Size: 1 << 30}, {Size: 2 << 30}},
				Stdin:  strings.NewReader("from the caller\n"),
			}, `uname -r; pwd; cat; dmsetup targets
				blockdev --getsize64 /dev/disk/by-id/virtio-disk0 /dev/disk/by-id/virtio-disk1
				grep ' /scratch ' /proc/mounts; echo $TMPDIR; test -w /var/lib/thinctl && echo home
				echo to the other side >&2; exit 7`)
			o.mustExit(t, 7)
			if o.stderr != "to the other side\n" {
				t.Errorf("stderr: got %q", o.stderr)
			}
			release := kernel + "."
			if kernel == "sid" {
				release = "+deb" // the newest in sid
			}
			for _, want := range []string{release, here + "\n", "from the caller\n", "thin-pool ", "thin ",
				"flakey ", "log-writes ", "delay ", "snapshot ", "1073741824\n2147483648\n",
				" /scratch ext4 ", "/scratch/tmp\n", "home\n"} {
				if !strings.Contains(o.stdout, want) {
					t.Errorf("stdout lacks %q:\n%s", want, o.stdout)
				}
			}
		})
	}
}

func TestPanicIsAFailure(t *testing.T) {
	t.Parallel()
	o := run(t, lab.Config{}, "echo before; echo c >/proc/sysrq-trigger; sleep 60")
	if !errors.Is(o.err, lab.ErrGuest) || !strings.Contains(o.err.Error(), "sysrq triggered crash") {
		t.Errorf("error: got %v, want one with the panic", o.err)
	}
	if o.stdout != "before\n" {
		t.Errorf("stdout: got %q", o.stdout)
	}
}

func TestPanicBeforeTheProgram(t *testing.T) {
	t.Parallel()
	config := lab.Config{Stdin: strings.NewReader("from the caller\n")}
	config.SetFirstBoot("rdinit=/none") // the kernel panics without an init
	o := run(t, config, "cat; exit 7")
	o.mustExit(t, 7)
	if o.stdout != "from the caller\n" {
		t.Errorf("stdout: got %q", o.stdout)
	}
}

func TestHungGuestTimesOut(t *testing.T) {
	t.Parallel()
	o := run(t, lab.Config{Timeout: 15 * time.Second}, "echo before; sleep 3600")
	if !errors.Is(o.err, lab.ErrTimeout) {
		t.Errorf("error %v, want a timeout", o.err)
	}
	if o.Elapsed > time.Minute {
		t.Errorf("elapsed: got %v, want at most a minute", o.Elapsed)
	}
}

// Data that were flushed before the power was cut are there at the next boot.
func TestPowerOffKeepsWhatWasFlushed(t *testing.T) {
	t.Parallel()
	disk := filepath.Join(t.TempDir(), "scratch.img")
	o := run(t, lab.Config{KeepScratch: disk, Scratch: 1 << 30, PowerOffOn: "now"},
		"echo flushed >/scratch/kept; sync; echo cut now; sleep 3600")
	o.mustExit(t, 137)
	if !o.PoweredOff || o.stdout != "cut now\n" {
		t.Errorf("got powered off %v, stdout %q", o.PoweredOff, o.stdout)
	}
	o = run(t, lab.Config{KeepScratch: disk, PowerOffAfter: 20 * time.Second}, "cat /scratch/kept; exec sleep 3600")
	o.mustExit(t, 137)
	if o.stdout != "flushed\n" {
		t.Errorf("the second boot: got %q; stderr: %s", o.stdout, o.stderr)
	}
}

func TestModuleLeftOut(t *testing.T) {
	t.Parallel()
	o := run(t, lab.Config{Without: []string{"dm-thin-pool"}},
		`dmsetup create pool --table "0 2048 thin-pool /dev/null /dev/null 128 0"; dmsetup targets; modprobe dm-thin-pool || echo absent`)
	o.mustExit(t, 0)
	if strings.Contains(o.stdout, "thin-pool") || !strings.Contains(o.stdout, "absent") {
		t.Errorf("stdout: got %s", o.stdout)
	}
}

func TestSystemd(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	o := run(t, lab.Config{Systemd: true}, `pwd; cat lab_test.go | head -1; cat /proc/1/comm
		udevadm settle; ls -l /dev/disk/by-id/virtio-scratch; test -d /host/etc && echo host
		dmsetup create zeros --table "0 2048 zero" && readlink /dev/mapper/zeros; exit 5`)
	o.mustExit(t, 5)
	for _, want := range []string{here + "\n", "package lab_test\n", "systemd\n", "virtio-scratch -> ", "host\n",
		"../dm-0\n"} {
		if !strings.Contains(o.stdout, want) {
			t.Errorf("stdout lacks %q:\n%s", want, o.stdout)
		}
	}
}
