package disk

import "strings"

// Kind is what the kernel makes a block device of.
type Kind string

// The kinds of block devices.
const (
	Mapped    Kind = "device-mapper"
	RAID      Kind = "md"
	Loop      Kind = "loop"
	Partition Kind = "partition"
	Whole     Kind = "disk"
)

// Identity is what the kernel and udev offer to recognise a block device by,
// wherever it is attached and whatever its name is. Parts that a device does not
// have are empty. It does not depend on what the device holds.
type Identity struct {
	Kind Kind `json:"kind,omitempty"`
	// From sysfs. The dm uuid contains the uuid of a logical volume. The wwid and
	// serial of a partition are its disk's with the partition's number.
	MappedUUID    string `json:"dm_uuid,omitempty"`
	RAIDUUID      string `json:"md_uuid,omitempty"`
	PartitionUUID string `json:"partition_uuid,omitempty"`
	WWID          string `json:"wwid,omitempty"`
	Serial        string `json:"serial,omitempty"`
	// From udev's database; the links of /dev/disk/by-id are made of them. A new
	// version of udev may spell them differently.
	UdevWWN    string `json:"udev_wwn,omitempty"`
	UdevSerial string `json:"udev_serial,omitempty"`
}

// part is one way to recognise a device.
type part struct {
	name  string
	value *string
}

func (i *Identity) kernelParts() []part {
	return []part{{"dm uuid", &i.MappedUUID}, {"md uuid", &i.RAIDUUID}, {"partition uuid", &i.PartitionUUID}, {"wwid", &i.WWID}, {"serial", &i.Serial}}
}

func (i *Identity) udevParts() []part {
	return []part{{"udev wwn", &i.UdevWWN}, {"udev serial", &i.UdevSerial}}
}

// Known reports whether a device of this identity can be recognised.
func (i Identity) Known() bool {
	i.Kind = ""
	return i != Identity{}
}

// Match is how two identities compare.
type Match int

// The outcomes of a comparison.
const (
	Incomparable Match = iota // they have no part in common
	Same
	Different
)

// Compare compares two identities by all parts that the kernel offers for both,
// which must be equal. The parts of udev count where there is no such part.
func (i Identity) Compare(other Identity) Match {
	if m := compare(i.kernelParts(), other.kernelParts()); m != Incomparable {
		return m
	}
	return compare(i.udevParts(), other.udevParts())
}

func compare(a, b []part) Match {
	match := Incomparable
	for n := range a {
		switch x, y := *a[n].value, *b[n].value; {
		case x == "" || y == "":
		case x != y:
			return Different
		default:
			match = Same
		}
	}
	return match
}

// Without returns the identity without the parts that it shares with another.
func (i Identity) Without(other Identity) Identity {
	mine, others := append(i.kernelParts(), i.udevParts()...), append(other.kernelParts(), other.udevParts()...)
	for n := range mine {
		if *mine[n].value == *others[n].value {
			*mine[n].value = ""
		}
	}
	return i
}

// Or returns the identity with the parts of another where it has none.
func (i Identity) Or(other Identity) Identity {
	mine, others := append(i.kernelParts(), i.udevParts()...), append(other.kernelParts(), other.udevParts()...)
	for n := range mine {
		if *mine[n].value == "" {
			*mine[n].value = *others[n].value
		}
	}
	if i.Kind == "" {
		i.Kind = other.Kind
	}
	return i
}

// String lists the parts, as in "wwid naa.5000c500a1b2c3d4, serial Z1".
func (i Identity) String() string {
	var parts []string
	for _, p := range append(i.kernelParts(), i.udevParts()...) {
		if *p.value != "" {
			parts = append(parts, p.name+" "+*p.value)
		}
	}
	if len(parts) > 0 {
		return strings.Join(parts, ", ")
	}
	if i.Kind == "" {
		return "no identity"
	}
	return "no identity, kind " + string(i.Kind)
}
