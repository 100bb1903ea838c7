package disk

import "strings"

// Kind is the type of a block device.
type Kind string

// The kinds of block devices.
const (
	Mapped    Kind = "device-mapper"
	RAID      Kind = "md"
	Loop      Kind = "loop"
	Partition Kind = "partition"
	Whole     Kind = "disk"
)

// Identity holds identifiers from the kernel and udev by which a block device is
// recognised, independent of its name, its place of attachment and its contents. Parts
// that a device does not have are empty.
type Identity struct {
	Kind Kind `json:"kind,omitempty"`
	// From sysfs. The dm uuid contains the uuid of a logical volume. The wwid and
	// serial of a partition are its disk's with the partition's number.
	MappedUUID    string `json:"dm_uuid,omitempty"`
	RAIDUUID      string `json:"md_uuid,omitempty"`
	PartitionUUID string `json:"partition_uuid,omitempty"`
	WWID          string `json:"wwid,omitempty"`
	Serial        string `json:"serial,omitempty"`
	// From udev's database, which has them for the links in /dev/disk/by-id. Another
	// version of udev may spell them differently.
	UdevWWN    string `json:"udev_wwn,omitempty"`
	UdevSerial string `json:"udev_serial,omitempty"`
}

// part is one of the identifiers.
type part struct {
	name  string
	value *string
}

func (i *Identity) kernelParts() []part {
	return []part{
		{"dm uuid", &i.MappedUUID},
		{"md uuid", &i.RAIDUUID},
		{"partition uuid", &i.PartitionUUID},
		{"wwid", &i.WWID},
		{"serial", &i.Serial},
	}
}

func (i *Identity) udevParts() []part {
	return []part{{"udev wwn", &i.UdevWWN}, {"udev serial", &i.UdevSerial}}
}

func (i *Identity) parts() []part { return append(i.kernelParts(), i.udevParts()...) }

// Known reports whether the identity has any identifier.
func (i Identity) Known() bool {
	i.Kind = ""
	return i != Identity{}
}

// Match is the outcome of comparing two identities.
type Match int

// The outcomes.
const (
	Incomparable Match = iota // no part is known of both
	Same
	Different
)

// Compare compares two identities by all parts from the kernel that both have. If there
// are none, it compares the parts from udev.
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

// Without returns the identity without the parts that are equal in another.
func (i Identity) Without(other Identity) Identity {
	mine, others := i.parts(), other.parts()
	for n := range mine {
		if *mine[n].value == *others[n].value {
			*mine[n].value = ""
		}
	}
	return i
}

// Or returns the identity, completed with the parts of another that it does not have.
func (i Identity) Or(other Identity) Identity {
	mine, others := i.parts(), other.parts()
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
	for _, p := range i.parts() {
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
