package blockdev

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Number is a block device's number.
type Number struct{ Major, Minor uint32 }

// String returns the number as sysfs and device mapper's tables have it: "8:16".
func (n Number) String() string { return fmt.Sprintf("%d:%d", n.Major, n.Minor) }

// IsZero reports whether n is no device's number.
func (n Number) IsZero() bool { return n == Number{} }

// NumberOf returns the number in a dev_t, as stat(2) and device mapper return it.
func NumberOf(dev uint64) Number { return Number{Major: unix.Major(dev), Minor: unix.Minor(dev)} }

// ParseNumber parses what String returns.
func ParseNumber(text string) (Number, error) {
	var n Number
	fields, err := fmt.Sscanf(text, "%d:%d", &n.Major, &n.Minor)
	if err != nil || fields != 2 || n.String() != text {
		return Number{}, fmt.Errorf("device number %q is not major:minor", text)
	}
	return n, nil
}
