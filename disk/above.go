package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Above returns the names of the block devices that are built on a device, such as
// "dm-7 (vg-root)"; none where sysfs does not show any.
func Above(major, minor uint32) []string { return above("/sys", major, minor) }

func above(sysfs string, major, minor uint32) []string {
	dir := filepath.Join(sysfs, "dev/block", fmt.Sprintf("%d:%d", major, minor), "holders")
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
