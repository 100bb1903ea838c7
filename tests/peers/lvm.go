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

// lvm is LVM's thin pool in a volume group on one loop device.
type lvm struct {
	fixture
	disk   loopback.Device
	config string
	filled int
}

const (
	volumeGroup = "peersvg"
	// lvmFirstID leaves lower ids to the origin and to ids that LVM has used.
	lvmFirstID = 100
)

func newLVM(ctx context.Context, f fixture) (peer, error) {
	disk, err := f.loop(ctx, "lvm.disk", dataSize+4*metadataSize, false)
	if err != nil {
		return nil, err
	}
	l := &lvm{fixture: f, disk: disk}
	// Waits and writes besides the change itself are off: udev, which plain guests lack,
	// backups and monitoring. LVM scans one device only.
	l.config = fmt.Sprintf(`activation{udev_sync=0 udev_rules=0 monitoring=0} backup{backup=0 archive=0} `+
		`devices{use_devicesfile=0 filter=["a|^%s$|","r|.*|"] scan=["/dev"] obtain_device_list_from_udev=0} `+
		`global{event_activation=0 use_lvmpolld=0}`, disk.Path)
	for _, args := range [][]string{
		// This is enough for the text of 10,000 volumes, twice.
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

// snapshot uses one command: lvcreate activates volumes without a skip flag.
func (l *lvm) snapshot(ctx context.Context, volume string) error {
	return l.run(ctx, "lvcreate", "-s", "-kn", "-ay", "-n", volume, volumeGroup+"/origin")
}

func (l *lvm) remove(ctx context.Context, volume string) error {
	return l.run(ctx, "lvremove", "-f", volumeGroup+"/"+volume)
}

// fill restores a description of the group that has the volumes in it: making them one by
// one would take hours. The kernel's pool does not have them, which can only make LVM
// faster.
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

// has reports whether a peer's program is installed.
func has(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
