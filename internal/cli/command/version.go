package command

import (
	"runtime/debug"
)

// ProgramVersion is what the Go toolchain knows the program by.
func ProgramVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
