package disk

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/units"
)

// Host holds the directories in which block devices are found. The zero value is this
// host's; tests pass fixtures.
type Host struct {
	Sys  string // /sys
	Dev  string // /dev
	Udev string // /run/udev
}

func (h Host) sys(path ...string) string {
	return filepath.Join(append([]string{cmp.Or(h.Sys, "/sys")}, path...)...)
}

// Devices lists the block devices of the host that have a size, with their
// identities. A device that cannot be read has Err set. A device that disappears in the
// meantime is left out.
func (h Host) Devices() ([]Device, error) {
	dir := h.sys("dev", "block")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list block devices: %w", err)
	}
	var devices []Device
	for _, entry := range entries {
		number, err := blockdev.ParseNumber(entry.Name())
		if err != nil {
			continue
		}
		device, err := h.device(number)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			continue
		}
		device.Err = err
		if err != nil || device.Size > 0 {
			devices = append(devices, device)
		}
	}
	return devices, nil
}

// Identity reads the identity of one block device.
func (h Host) Identity(number blockdev.Number) (Identity, error) {
	device, err := h.device(number)
	if err != nil {
		return Identity{}, fmt.Errorf("read the identity of block device %s: %w", number, err)
	}
	return device.Identity, nil
}

// device reads the size, path, identity and lower devices of one block device.
func (h Host) device(number blockdev.Number) (Device, error) {
	device := Device{Number: number}
	dir, err := filepath.EvalSymlinks(h.sys("dev", "block", number.String()))
	if err != nil {
		return device, err
	}
	device.Path = h.node(dir)
	size, err := attribute(dir, "size") // in units of 512 bytes, whatever the sector size
	if err != nil {
		return device, err
	}
	sectors, err := strconv.ParseUint(size, 10, 64)
	if err != nil {
		return device, fmt.Errorf("size of %s: %w", device.Path, err)
	}
	device.Size = units.Sectors(sectors).Bytes()
	if device.Below, err = below(dir); err != nil {
		return device, err
	}
	suspended, err := attribute(dir, "dm/suspended")
	if err != nil {
		return device, err
	}
	device.Suspended = suspended == "1"
	device.Identity, err = h.identity(dir, number)
	return device, err
}

// node returns the path of a device's node: /dev/mapper/NAME for device mapper if udev
// has made it, else the kernel's name, in which ! stands for a slash.
func (h Host) node(dir string) string {
	if name, err := attribute(dir, "dm/name"); err == nil && name != "" {
		path := filepath.Join(cmp.Or(h.Dev, "/dev"), "mapper", name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return filepath.Join(cmp.Or(h.Dev, "/dev"), strings.ReplaceAll(filepath.Base(dir), "!", "/"))
}

// below lists the devices that this one is built on, such as the disk of a partition.
func below(dir string) ([]blockdev.Number, error) {
	var numbers []blockdev.Number
	if exists(filepath.Join(dir, "partition")) {
		if parent, err := attribute(filepath.Dir(dir), "dev"); err == nil {
			if number, err := blockdev.ParseNumber(parent); err == nil {
				numbers = append(numbers, number)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "slaves"))
	if errors.Is(err, fs.ErrNotExist) {
		return numbers, nil
	}
	for _, entry := range entries {
		text, err := attribute(filepath.Join(dir, "slaves", entry.Name()), "dev")
		if err != nil {
			return nil, err
		}
		number, err := blockdev.ParseNumber(text)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, number)
	}
	return numbers, err
}

func (h Host) identity(dir string, number blockdev.Number) (Identity, error) {
	properties, err := h.properties(number)
	if err != nil {
		return Identity{}, err
	}
	switch {
	case exists(filepath.Join(dir, "dm")):
		uuid, err := attribute(dir, "dm/uuid")
		return Identity{Kind: Mapped, MappedUUID: uuid}, err
	case exists(filepath.Join(dir, "md")):
		uuid, err := attribute(dir, "md/uuid") // from 6.10
		return Identity{Kind: RAID, RAIDUUID: hexOnly(cmp.Or(uuid, properties["MD_UUID"]))}, err
	case strings.HasPrefix(filepath.Base(dir), "loop") && !exists(filepath.Join(dir, "partition")):
		return Identity{Kind: Loop}, nil
	}
	i := Identity{
		Kind:       Whole,
		UdevWWN:    cmp.Or(properties["ID_WWN_WITH_EXTENSION"], properties["ID_WWN"]),
		UdevSerial: properties["ID_SERIAL"],
	}
	whole, suffix := dir, ""
	if exists(filepath.Join(dir, "partition")) {
		partition, err := attribute(dir, "partition")
		if err != nil {
			return i, err
		}
		i.Kind, whole, suffix = Partition, filepath.Dir(dir), "-part"+partition
		// The kernel's uevent has PARTUUID since 6.13, udev's database always.
		event, err := os.ReadFile(filepath.Join(dir, "uevent"))
		if err != nil && !absent(err) {
			return i, err
		}
		uuid := cmp.Or(assignments(string(event), "")["PARTUUID"], properties["ID_PART_ENTRY_UUID"])
		i.PartitionUUID = strings.ToLower(uuid)
	}
	// NVMe and virtio have the attributes in the disk's directory, SCSI, MMC and DASD in
	// the device's. device/serial is left out: for NVMe it is the controller's, and the
	// same for all namespaces.
	if i.WWID, err = first(whole, "wwid", "device/wwid", "device/cid", "device/uid"); err != nil {
		return i, err
	}
	if i.Serial, err = first(whole, "serial"); err != nil {
		return i, err
	}
	if i.Serial == "" {
		if i.Serial, err = unitSerial(whole); err != nil {
			return i, err
		}
	}
	for _, value := range []*string{&i.WWID, &i.Serial, &i.UdevWWN, &i.UdevSerial} {
		if *value != "" {
			*value += suffix
		}
	}
	return i, nil
}

// unitSerial reads page 0x80 of a SCSI device's vital product data: a header of
// four bytes, then the serial number (SPC-4, 7.8.15).
func unitSerial(dir string) (string, error) {
	page, err := os.ReadFile(filepath.Join(dir, "device", "vpd_pg80"))
	if absent(err) || err == nil && len(page) < 4 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return clean(string(page[4:])), nil
}

// properties reads a device's entry in udev's database; none if there is no entry.
func (h Host) properties(number blockdev.Number) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(cmp.Or(h.Udev, "/run/udev"), "data", "b"+number.String()))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return nil, err
	}
	return assignments(string(text), "E:"), nil
}

func assignments(text, prefix string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if line, ok := strings.CutPrefix(line, prefix); ok {
			if key, value, ok := strings.Cut(line, "="); ok {
				values[key] = clean(value)
			}
		}
	}
	return values
}

// first returns the first of the attributes that a device has and that is not empty.
func first(dir string, names ...string) (string, error) {
	for _, name := range names {
		value, err := attribute(dir, name)
		if err == nil && value != "" || err != nil && !absent(err) {
			return value, err
		}
	}
	return "", nil
}

// attribute reads one file of sysfs; "" if the device does not have it.
func attribute(dir, name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if absent(err) {
		if _, gone := os.Stat(dir); gone != nil {
			return "", gone
		}
		return "", nil
	}
	return clean(string(text)), err
}

// absent reports whether an error means that the device does not have an attribute. The
// kernel lists some attributes whose read then fails (drivers/scsi/scsi_sysfs.c,
// sdev_show_wwid).
func absent(err error) bool {
	for _, absent := range []error{fs.ErrNotExist, unix.ENXIO, unix.EINVAL, unix.ENODATA, unix.EOPNOTSUPP} {
		if errors.Is(err, absent) {
			return true
		}
	}
	return false
}

// clean removes the padding of a device's text, and joins its words by single spaces.
func clean(text string) string {
	return strings.Join(strings.Fields(string(bytes.ReplaceAll([]byte(text), []byte{0}, []byte{' '}))), " ")
}

// hexOnly removes the separators of an md uuid: sysfs has hyphens, udev has colons.
func hexOnly(uuid string) string {
	return strings.ToLower(strings.NewReplacer("-", "", ":", "").Replace(uuid))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
