package dm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// initialIPC is the link of the IPC namespace that the kernel booted with
// (include/linux/proc_ns.h, PROC_IPC_INIT_INO).
const initialIPC = "ipc:[4026531839]"

// udevUnreachable returns why udevd cannot count down a semaphore of this process,
// "" where it can or where nothing is known. Semaphores belong to an IPC
// namespace, and udevd completes cookies in its own; libdevmapper does not look
// and waits forever there.
//
// A process of the initial namespace is taken to share it with udevd. In another
// namespace a udevd must be seen in /proc that has the same: that of a container
// which runs its own. The host's is not even in the /proc of most containers.
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
		case errors.Is(err, fs.ErrNotExist): // it has just ended
		case err != nil, its == own: // with an error nothing is known of it
			return ""
		}
	}
	return fmt.Sprintf("this process is in an IPC namespace of its own, %s, where udevd cannot complete cookies", own)
}

// isUdevd recognises systemd's and eudev's by the name that the kernel has of them.
func isUdevd(name string) bool { return name == "systemd-udevd" || name == "udevd" }
