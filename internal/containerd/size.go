package containerd

import (
	"fmt"
	"strconv"

	"thinctl/fault"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// maxSizeLabel asks for a size of a snapshot's file system, in decimal bytes
// (containerd core/snapshots, LabelSnapshotMaxSize).
const maxSizeLabel = "containerd.io/snapshot/max-size"

// asked reads the size that labels ask for; 0 where they do not.
func asked(op, name string, labels map[string]string) (units.Bytes, error) {
	text, is := labels[maxSizeLabel]
	if !is {
		return 0, nil
	}
	size, err := strconv.ParseInt(text, 10, 64)
	const largest = units.Bytes(8 * units.PiB)
	switch {
	case err != nil || size <= 0:
		return 0, refused(op, name, fault.Invalid, fmt.Sprintf("label %s is %s, which is no number of bytes", maxSizeLabel, quoted(text)))
	case units.Bytes(size) > largest:
		return 0, refused(op, name, fault.Invalid, fmt.Sprintf("label %s asks for %s, at most %s are possible", maxSizeLabel, units.Bytes(size), largest))
	}
	return units.Bytes(size).RoundUp(units.MiB), nil
}

// least is the smallest file system that mkfs makes willingly.
func least(fs filesystem.Type) units.Bytes {
	if fs == filesystem.XFS {
		return 300 * units.MiB
	}
	return 16 * units.MiB
}
