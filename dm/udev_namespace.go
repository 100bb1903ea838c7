package dm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// initialIPC is the /proc link of the kernel's first IPC namespace
// (include/linux/proc_ns.h, PROC_IPC_INIT_INO).
const initialIPC = "ipc:[4026531839]"

// udevUnreachable returns the reason why udevd cannot decrement a semaphore of
// this process. It returns "" if udevd can, and if the namespaces are unreadable.
// Semaphores belong to an IPC namespace, and udevd completes the cookies of its
// own namespace only. libdevmapper does not check this and waits forever.
//
// udevUnreachable assumes that udevd runs in the initial namespace. For a process
// in another namespace, such as a container with its own udevd, it searches /proc
// for a udevd in that namespace.
func udevUnreachable(proc string) string {
	own, err := os.Readlink(filepath.Join(proc, "self/ns/ipc"))
	if err != nil || own == initialIPC {
		return ""
	}
	commands, _ := filepath.Glob(filepath.Join(proc, "[0-9]*/comm")) // the pattern is sound
	for _, path := range commands {
		name, err := os.ReadFile(path)
		if err != nil || !isUdevd(strings.TrimSpace(string(name))) {
			continue
		}
		its, err := os.Readlink(filepath.Join(filepath.Dir(path), "ns/ipc"))
		switch {
		case errors.Is(err, fs.ErrNotExist): // this process has just ended
		case err != nil, its == own:
			return ""
		}
	}
	return fmt.Sprintf("no udevd runs in the IPC namespace of this process, %s", own)
}

// isUdevd reports whether a process with this name is systemd's or eudev's udevd.
func isUdevd(name string) bool { return name == "systemd-udevd" || name == "udevd" }
