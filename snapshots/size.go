package snapshots

import (
	"fmt"
	"strconv"

	"thinctl/fault"
	"thinctl/snapshots/filesystem"
	"thinctl/units"
)

// maxSizeLabel is the label that requests a size of the file system, in decimal bytes
// (containerd core/snapshots, LabelSnapshotMaxSize).
const maxSizeLabel = "containerd.io/snapshot/max-size"

// requestedSize returns the size that labels request, or 0.
func requestedSize(op, name string, labels map[string]string) (units.Bytes, error) {
	text, is := labels[maxSizeLabel]
	if !is {
		return 0, nil
	}
	size, err := strconv.ParseInt(text, 10, 64)
	const largest = units.Bytes(8 * units.PiB)
	switch {
	case err != nil || size <= 0:
		return 0, refused(
			op,
			name,
			fault.Invalid,
			fmt.Sprintf("label %s is %s; want a number of bytes", maxSizeLabel, quoted(text)),
		)
	case units.Bytes(size) > largest:
		return 0, refused(
			op,
			name,
			fault.Invalid,
			fmt.Sprintf("label %s asks for %s, at most %s are possible", maxSizeLabel, units.Bytes(size), largest),
		)
	}
	return units.Bytes(size).RoundUp(units.MiB), nil
}

// minSize returns the size of the smallest file system that mkfs makes without options
// that force it.
func minSize(fs filesystem.Type) units.Bytes {
	if fs == filesystem.XFS {
		return 300 * units.MiB
	}
	return 16 * units.MiB
}
