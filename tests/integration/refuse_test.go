//go:build kernel

package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/fault"
	"thinctl/loopback"
	"thinctl/thinpool"
	"thinctl/units"
)

const lvmConfig = "devices{use_devicesfile=0 obtain_device_list_from_udev=0} activation{udev_sync=0 udev_rules=0}"

// state holds what a refusal must not change.
func state(t *testing.T, root string, devices ...string) string {
	t.Helper()
	kernel, loops := realHost(t).Kernel, loopback.New(loopback.Options{})
	defer loops.Close()
	var b strings.Builder
	entries, err := kernel.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		table, err := kernel.Table(t.Context(), dm.ByDev(entry.Dev))
		fmt.Fprintln(&b, entry, table, err)
	}
	attached, err := loops.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&b, attached)
	err = filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Base(path) != ".lock" { // of the root, which the first attempt has made
			fmt.Fprintln(&b, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range devices {
		content, err := os.ReadFile(device)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(content)
	}
	return b.String()
}

// Devices in use by real programs are refused with the reason, and are not changed.
func TestTakenDevicesAreRefused(t *testing.T) {
	kernel := realHost(t)
	root := t.TempDir()
	blank := blockDevice(t, 8*units.MiB).Path
	for _, c := range []struct {
		name string
		make func(t *testing.T, device string)
		kind error
		says string
	}{
		{"ext4", func(t *testing.T, d string) { run(t, "mkfs.ext4", "-q", d) }, thinpool.ErrHoldsData,
			"an ext2, ext3 or ext4 file system"},
		{"LVM", func(t *testing.T, d string) { run(t, "lvm", "pvcreate", "-qq", "--config", lvmConfig, d) },
			thinpool.ErrHoldsData, "an LVM physical volume"},
		{"MBR", func(t *testing.T, d string) { partition(t, d, "dos") }, thinpool.ErrHoldsData, "a partition table"},
		{"GPT", func(t *testing.T, d string) { partition(t, d, "gpt") }, thinpool.ErrHoldsData, "a GPT partition table"},
		{"mounted", func(t *testing.T, d string) {
			run(t, "mkfs.ext4", "-q", d)
			dir := t.TempDir()
			run(t, "mount", "-o", "ro", d, dir)
			t.Cleanup(func() { run(t, "umount", dir) })
		}, fault.Busy, "is mounted or held"},
		{"under another device", func(t *testing.T, d string) {
			run(t, "dmsetup", "create", "it-holder", "--table", "0 2048 linear "+d+" 0")
			t.Cleanup(func() { run(t, "dmsetup", "remove", "it-holder") })
		}, fault.Busy, "is mounted or held"},
		{"in a volume group", func(t *testing.T, d string) {
			run(t, "lvm", "vgcreate", "-qq", "--config", lvmConfig, "itvg", d)
			run(t, "lvm", "lvcreate", "-qq", "--config", lvmConfig, "-Zn", "-Wn", "-L", "4M", "-n", "lv", "itvg")
			t.Cleanup(func() { run(t, "lvm", "vgremove", "-qq", "-f", "--config", lvmConfig, "itvg") })
		}, fault.Busy, "is mounted or held"},
		{"a pool's", func(t *testing.T, d string) {
			pool, err := thinpool.Create(testContext(t), kernel, t.TempDir(), "itowner",
				thinpool.CreateOptions{DataDevice: blank, MetadataDevice: d})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := pool.Destroy(testContext(t)); err != nil {
					t.Error(err)
				}
			})
		}, fault.Busy, "is mounted or held"},
	} {
		t.Run(c.name, func(t *testing.T) {
			device := blockDevice(t, 8*units.MiB).Path
			c.make(t, device)
			before := state(t, root, device)
			for role, options := range map[string]thinpool.CreateOptions{
				"data":     {DataDevice: device, MetadataSize: 4 * units.MiB},
				"metadata": {DataSize: 32 * units.MiB, MetadataDevice: device},
			} {
				_, err := thinpool.Create(testContext(t), kernel, root, "itnew", options)
				if !errors.Is(err, c.kind) ||
					!strings.Contains(err.Error(),
						device+" "+strings.TrimPrefix("holds "+c.says, map[error]string{fault.Busy: "holds "}[c.kind])) {
					t.Errorf("in use as %s: got %v", role, err)
				} else if role == "data" {
					t.Log(err)
				}
			}
			if after := state(t, root, device); after != before {
				t.Errorf("the device was changed: %d bytes before, %d after", len(before), len(after))
			}
		})
	}
}

func partition(t *testing.T, device, label string) {
	t.Helper()
	command := exec.Command("sfdisk", "-q", "--no-reread", device)
	command.Stdin = strings.NewReader("label: " + label + "\n,4M\n")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
}

// A device is recognized by whatever path.
func TestSameDeviceByAnotherPath(t *testing.T) {
	device := blockDevice(t, 64*units.MiB)
	link, node := filepath.Join(t.TempDir(), "link"), filepath.Join(t.TempDir(), "node")
	if err := os.Symlink(device.Path, link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(device.Number.Major, device.Number.Minor))); err != nil {
		t.Fatal(err)
	}
	for _, alias := range []string{device.Path, link, node} {
		_, err := thinpool.Create(testContext(t), realHost(t), t.TempDir(), "ittwice",
			thinpool.CreateOptions{DataDevice: device.Path, MetadataDevice: alias})
		if err == nil || !strings.Contains(err.Error(), "same device") {
			t.Errorf("%s: %v", alias, err)
		}
	}
}

func TestTooSmallDevice(t *testing.T) {
	device := blockDevice(t, units.MiB).Path
	for _, options := range []thinpool.CreateOptions{
		{DataDevice: device, DataSize: 2 * units.MiB}, {DataSize: 64 * units.MiB, MetadataDevice: device},
		{DataSize: 64 * units.MiB, MetadataDevice: device, MetadataSize: 4 * units.MiB},
	} {
		_, err := thinpool.Create(testContext(t), realHost(t), t.TempDir(), "itsmall", options)
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: got %v, want %v", options, err, fault.Invalid)
		} else {
			t.Log(err)
		}
	}
}

const asOther = "THINCTL_TEST_OTHER_USER"

// TestMain makes the test binary also the program that another user runs.
func TestMain(m *testing.M) {
	if os.Getenv(asOther) == "" {
		os.Exit(m.Run())
	}
	if _, err := dm.Open(dm.Options{}); err != nil {
		os.Stdout.WriteString(err.Error())
		if errors.Is(err, fault.Denied) {
			os.Exit(7)
		}
	}
	os.Exit(1)
}

func TestNotRoot(t *testing.T) {
	realHost(t)
	// The binary is in a directory that only root can read.
	binary := filepath.Join("/dev/shm", "integration.test")
	content, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(binary, content, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(binary)
	child := exec.Command(binary)
	child.Dir, child.Env = "/", []string{asOther + "=1"}
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := child.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || !strings.Contains(string(out), "root") {
		t.Errorf("as another user: got %q, %v", out, err)
	}
}
