package exit

import (
	"errors"
	"fmt"

	"thinctl/thinpool"
)

// remedyFor returns a hint for an error whose package has no names of commands, or "".
func remedyFor(err error) string {
	var kept *thinpool.KeptError
	if errors.As(err, &kept) {
		return remedyForKept(kept)
	}
	return ""
}

// remedyForKept names the commands for a volume that is kept for another purpose.
func remedyForKept(kept *thinpool.KeptError) string {
	switch kept.For {
	case "":
		return fmt.Sprintf("use `thinctl volume %s %s %s`", kept.Op, kept.Pool, kept.Volume)
	case "container", "layer":
		return fmt.Sprintf("use the `thinctl %s` commands", kept.For)
	case "containerd":
		return "use `ctr snapshots` or another client of containerd"
	}
	return "remove the images and containers that need it"
}
