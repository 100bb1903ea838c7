package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"thinctl/loopback"
)

// lvm is LVM's thin pool in a volume group of one loop device.
type lvm struct {
	fixture
	disk   loopback.Device
	config string
	filled int
}

const (
	volumeGroup = "peersvg"
	// lvmFirstID leaves the ids below to the origin and what it has used.
	lvmFirstID = 100
)

func newLVM(ctx context.Context, f fixture) (peer, error) {
	disk, err := f.loop(ctx, "lvm.disk", dataSize+4*metadataSize, false)
	if err != nil {
		return nil, err
	}
	l := &lvm{fixture: f, disk: disk}
	// What LVM would wait for or write besides the change itself is off: udev,
	// which plain guests lack, backups, monitoring; and it looks at one device.
	l.config = fmt.Sprintf(`activation{udev_sync=0 udev_rules=0 monitoring=0} backup{backup=0 archive=0} `+
		`devices{use_devicesfile=0 filter=["a|^%s$|","r|.*|"] scan=["/dev"] obtain_device_list_from_udev=0} global{event_activation=0 use_lvmpolld=0}`, disk.Path)
	for _, args := range [][]string{
		// Room for the text of 10,000 volumes, twice.
		{"vgcreate", "--metadatasize", "128m", volumeGroup, disk.Path},
		{"lvcreate", "-y", "-Zy", "-c", "64k", "-L", fmt.Sprintf("%db", uint64(dataSize)),
			"--poolmetadatasize", fmt.Sprintf("%db", uint64(metadataSize)), "-T", volumeGroup + "/pool"},
		{"lvcreate", "-y", "-V", l.volumeSize(), "-T", volumeGroup + "/pool", "-n", "origin"},
	} {
		if err := l.run(ctx, args...); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *lvm) name() string { return "LVM thin" }

func (l *lvm) volumeSize() string { return fmt.Sprintf("%db", uint64(volumeSize)) }

func (l *lvm) run(ctx context.Context, args ...string) error {
	return command(ctx, "lvm", append([]string{args[0], "--config", l.config}, args[1:]...)...)
}

func (l *lvm) create(ctx context.Context, volume string) error {
	return l.run(ctx, "lvcreate", "-an", "-V", l.volumeSize(), "-T", volumeGroup+"/pool", "-n", volume)
}

// snapshot uses one command: lvcreate activates what has no skip flag.
func (l *lvm) snapshot(ctx context.Context, volume string) error {
	return l.run(ctx, "lvcreate", "-s", "-kn", "-ay", "-n", volume, volumeGroup+"/origin")
}

func (l *lvm) remove(ctx context.Context, volume string) error {
	return l.run(ctx, "lvremove", "-f", volumeGroup+"/"+volume)
}

// fill restores a description of the group that has the volumes in it: made
// one by one they would take hours. The kernel's pool does not hear of them,
// which can only make LVM quicker.
func (l *lvm) fill(ctx context.Context, volumes int) error {
	path := filepath.Join(l.dir, "lvm.text")
	if err := l.run(ctx, "vgcfgbackup", "-f", path, volumeGroup); err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, tail, found := bytes.Cut(text, []byte("logical_volumes {\n"))
	if !found {
		return fmt.Errorf("vgcfgbackup wrote no logical volumes:\n%s", text)
	}
	var records strings.Builder
	for ; l.filled < volumes; l.filled++ {
		id := lvmFirstID + l.filled
		fmt.Fprintf(&records, lvmVolume, fillName(l.filled), id, uint64(volumeSize)>>22, id)
	}
	full := bytes.Join([][]byte{head, []byte("logical_volumes {\n"), []byte(records.String()), tail}, nil)
	if err := os.WriteFile(path, full, 0o600); err != nil {
		return err
	}
	return l.run(ctx, "vgcfgrestore", "-y", "--force", "-f", path, volumeGroup)
}

const lvmVolume = `
%s {
	id = "peers0-0000-0000-0000-0000-0000-%06d"
	status = ["READ", "WRITE", "VISIBLE"]
	flags = []
	creation_time = 1700000000
	creation_host = "peers"
	segment_count = 1
	segment1 {
		start_extent = 0
		extent_count = %d
		type = "thin"
		thin_pool = "pool"
		transaction_id = 0
		device_id = %d
	}
}
`

// has tells whether a peer's program is there.
func has(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
