package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/internal/disk"
)

// fixture writes a sysfs of block devices. Each line is "PATH=CONTENT"; a device
// is a directory below devices, and dev/block has a link to it.
func fixture(t *testing.T, lines ...string) disk.Host {
	t.Helper()
	root := t.TempDir()
	host := disk.Host{Sys: root + "/sys", Dev: root + "/dev", Udev: root + "/udev"}
	for _, line := range lines {
		name, content, _ := strings.Cut(line, "=")
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(content+"\n"), 0o600))
		if filepath.Base(path) == "dev" && !strings.Contains(path, "/slaves/") {
			must(t, os.MkdirAll(host.Sys+"/dev/block", 0o755))
			must(t, os.Symlink(filepath.Dir(path), host.Sys+"/dev/block/"+content))
		}
	}
	return host
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDevices(t *testing.T) {
	const d = "sys/devices/"
	host := fixture(t,
		d+"vda/dev=254:0", d+"vda/size=1048576", d+"vda/serial=disk0",
		d+"vdb/dev=254:16", d+"vdb/size=2048", d+"vdb/serial=",
		d+"sda/dev=8:0", d+"sda/size=4096", d+"sda/device/wwid=t10.ATA     QEMU HARDDISK   QM00001 ", d+"sda/device/vpd_pg80=\x00\x80\x00\x08  QM00001",
		d+"sda/sda2/dev=8:2", d+"sda/sda2/size=2048", d+"sda/sda2/partition=2", d+"sda/sda2/uevent=MAJOR=8\nPARTUUID=9F3A-02",
		d+"nvme0n1/dev=259:0", d+"nvme0n1/size=4096", d+"nvme0n1/wwid=eui.0025385b61b0", d+"nvme0n1/device/serial=of the controller",
		d+"dm-0/dev=253:0", d+"dm-0/size=2048", d+"dm-0/dm/name=vg-lv", d+"dm-0/dm/uuid=LVM-abcdef", d+"dm-0/slaves/sda2/dev=8:2",
		d+"dm-1/dev=253:1", d+"dm-1/size=2048", d+"dm-1/dm/name=plain", d+"dm-1/dm/uuid=", d+"dm-1/dm/suspended=1",
		d+"md0/dev=9:0", d+"md0/size=2048", d+"md0/md/level=raid1", "udev/data/b9:0=E:MD_UUID=1234abcd:5678:90",
		d+"loop0/dev=7:0", d+"loop0/size=2048", d+"loop0/loop/backing_file=/x",
		d+"loop1/dev=7:1", d+"loop1/size=0",
		d+"sdb/dev=8:16", d+"sdb/size=2048", "udev/data/b8:16=S:disk/by-id/x\nE:ID_WWN=0x5000\nE:ID_SERIAL=A_B_1",
		"dev/mapper/vg-lv=",
	)
	got, err := host.Devices()
	must(t, err)
	want := map[string]disk.Identity{
		"vda": {Kind: disk.Whole, Serial: "disk0"},
		"vdb": {Kind: disk.Whole},
		"sda": {Kind: disk.Whole, WWID: "t10.ATA QEMU HARDDISK QM00001", Serial: "QM00001"},
		"sda2": {Kind: disk.Partition, WWID: "t10.ATA QEMU HARDDISK QM00001-part2", Serial: "QM00001-part2",
			PartitionUUID: "9f3a-02"},
		"nvme0n1":      {Kind: disk.Whole, WWID: "eui.0025385b61b0"},
		"mapper/vg-lv": {Kind: disk.Mapped, MappedUUID: "LVM-abcdef"},
		"dm-1":         {Kind: disk.Mapped},
		"md0":          {Kind: disk.RAID, RAIDUUID: "1234abcd567890"},
		"loop0":        {Kind: disk.Loop},
		"sdb":          {Kind: disk.Whole, UdevWWN: "0x5000", UdevSerial: "A_B_1"},
	}
	found := map[string]disk.Identity{}
	for _, device := range got {
		name, _ := strings.CutPrefix(device.Path, host.Dev+"/")
		found[name] = device.Identity
		if device.Err != nil || device.Suspended != (name == "dm-1") {
			t.Errorf("%s: suspended %v, error %v", name, device.Suspended, device.Err)
		}
		switch name {
		case "sda2":
			if !reflect.DeepEqual(device.Below, []blockdev.Number{{Major: 8}}) {
				t.Errorf("sda2 stands on %v, want 8:0", device.Below)
			}
		case "mapper/vg-lv":
			if !reflect.DeepEqual(device.Below, []blockdev.Number{{Major: 8, Minor: 2}}) || device.Size != 1<<20 {
				t.Errorf("vg-lv stands on %v with %s, want 8:2 and 1M", device.Below, device.Size)
			}
		}
	}
	for name, identity := range want {
		if found[name] != identity {
			t.Errorf("%s: got %+v, want %+v", name, found[name], identity)
		}
		delete(found, name)
	}
	if len(found) > 0 {
		t.Errorf("unexpected devices: got %v, want none", found)
	}
}

// An attribute that cannot be read is an error of its device.
func TestUnreadable(t *testing.T) {
	host := fixture(t, "sys/devices/vda/dev=254:0", "sys/devices/vda/size=8", "sys/devices/vdb/dev=254:16", "sys/devices/vdb/size=8")
	must(t, os.Mkdir(host.Sys+"/devices/vda/serial", 0o700)) // a read of it fails with EISDIR
	got, err := host.Devices()
	must(t, err)
	for _, device := range got {
		var want error
		if device.Path == host.Dev+"/vda" {
			want = unix.EISDIR
		}
		if !errors.Is(device.Err, want) {
			t.Errorf("%s: got error %v, want %v", device.Path, device.Err, want)
		}
	}
	if _, err := host.Identity(blockdev.Number{Major: 254}); !errors.Is(err, unix.EISDIR) || !strings.Contains(err.Error(), "254:0") {
		t.Errorf("identity: got %v, want EISDIR of 254:0", err)
	}
	for _, host := range []disk.Host{{Sys: "/nonexistent"}, {Sys: host.Dev}} {
		if _, err := host.Devices(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without sysfs: got %v, want %v", err, fs.ErrNotExist)
		}
	}
}

func TestCompare(t *testing.T) {
	for name, c := range map[string]struct {
		a, b disk.Identity
		want disk.Match
	}{
		"nothing":                         {disk.Identity{}, disk.Identity{}, disk.Incomparable},
		"the kind alone":                  {disk.Identity{Kind: disk.Loop}, disk.Identity{Kind: disk.Loop}, disk.Incomparable},
		"no part in common":               {disk.Identity{WWID: "a"}, disk.Identity{Serial: "a"}, disk.Incomparable},
		"one part":                        {disk.Identity{Serial: "a"}, disk.Identity{Serial: "a", WWID: "w"}, disk.Same},
		"another serial":                  {disk.Identity{Serial: "a"}, disk.Identity{Serial: "b"}, disk.Different},
		"a cloned partition":              {disk.Identity{PartitionUUID: "p", Serial: "a-part1"}, disk.Identity{PartitionUUID: "p", Serial: "b-part1"}, disk.Different},
		"a new udev":                      {disk.Identity{Serial: "a", UdevSerial: "x_a"}, disk.Identity{Serial: "a", UdevSerial: "xa"}, disk.Same},
		"udev's, where there is no other": {disk.Identity{UdevSerial: "x"}, disk.Identity{UdevSerial: "y", WWID: "w"}, disk.Different},
	} {
		if got := c.a.Compare(c.b); got != c.want || c.b.Compare(c.a) != c.want {
			t.Errorf("%s: got %d, want %d both ways", name, got, c.want)
		}
	}
	i := disk.Identity{Kind: disk.Whole, Serial: "same", WWID: "own"}
	if got := i.Without(disk.Identity{Serial: "same", WWID: "other"}); got != (disk.Identity{Kind: disk.Whole, WWID: "own"}) {
		t.Errorf("without an equal serial: got %+v", got)
	}
	if i.Serial != "same" {
		t.Error("Without changed its receiver")
	}
	if got := (disk.Identity{Serial: "old"}).Or(i); got != (disk.Identity{Kind: disk.Whole, Serial: "old", WWID: "own"}) {
		t.Errorf("completed: got %+v", got)
	}
}

// A handle keeps the file that was opened after the path leads to another one.
func TestHandle(t *testing.T) {
	path := image(t, mib)
	handle, err := disk.Host{}.Open(path)
	must(t, err)
	defer handle.Close()
	if about := handle.About(); about.Path != path || about.Size != mib || about.Number != (blockdev.Number{}) {
		t.Errorf("About: got %+v, want path %s and size %d only", about, path, mib)
	}
	must(t, os.Rename(path, path+".moved"))
	must(t, os.WriteFile(path, make([]byte, mib), 0o600))
	must(t, handle.Write([]byte("mark"), 4096))
	b := make([]byte, 4)
	if _, err := handle.ReadAt(b, 4096); err != nil || string(b) != "mark" {
		t.Errorf("ReadAt: got %q, %v, want %q", b, err, "mark")
	}
	for at, want := range map[string]bool{path: false, path + ".moved": true} {
		if got, err := handle.IsAt(at); err != nil || got != want {
			t.Errorf("IsAt(%s): got %v, %v, want %v", at, got, err, want)
		}
	}
	if now, _ := os.ReadFile(path); string(now[4096:4100]) != "\x00\x00\x00\x00" {
		t.Error("Write changed the new file at the old path")
	}
	for _, path := range []string{"/dev/null", "/nonexistent", t.TempDir()} {
		if handle, err := (disk.Host{}).Open(path); err == nil {
			handle.Close()
			t.Errorf("open %s: got nil, want an error", path)
		}
	}
}
