package disk

import (
	"os"
	"path/filepath"
	"strings"

	"thinctl/blockdev"
)

// Above returns the names of the block devices that are built on a device, such as
// "dm-7 (vg-root)"; none if sysfs shows none.
func Above(device blockdev.Number) []string { return above("/sys", device) }

func above(sysfs string, device blockdev.Number) []string {
	dir := filepath.Join(sysfs, "dev/block", device.String(), "holders")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		text := entry.Name()
		if name, err := os.ReadFile(filepath.Join(dir, text, "dm/name")); err == nil {
			text += " (" + strings.TrimSpace(string(name)) + ")"
		}
		names = append(names, text)
	}
	return names
}
