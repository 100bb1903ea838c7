package blockdev

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Number is the device number of a block device.
type Number struct{ Major, Minor uint32 }

// String returns the number in the form of sysfs and of device mapper tables: "8:16".
func (n Number) String() string { return fmt.Sprintf("%d:%d", n.Major, n.Minor) }

// IsZero reports whether n is zero, which is not the number of any block device.
func (n Number) IsZero() bool { return n == Number{} }

// NumberOf returns the number in a dev_t, which stat(2) and device mapper return.
func NumberOf(dev uint64) Number { return Number{Major: unix.Major(dev), Minor: unix.Minor(dev)} }

// ParseNumber parses a number in the form that String returns.
func ParseNumber(text string) (Number, error) {
	var n Number
	fields, err := fmt.Sscanf(text, "%d:%d", &n.Major, &n.Minor)
	if err != nil || fields != 2 || n.String() != text {
		return Number{}, fmt.Errorf("device number %q does not have the form major:minor", text)
	}
	return n, nil
}
