package command

import (
	"runtime/debug"
)

// ProgramVersion returns the version that the Go toolchain stamped into the program.
func ProgramVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
