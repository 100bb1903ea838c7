// Package need states what a test needs of the machine: root, loop devices, a
// program, a package from the network.
//
// A test that lacks one of these is skipped, with the need as the reason, so
// that `go test ./...` passes for any user. It fails instead if [Variable] is set:
// tests/run sets it, because a test that did not run has not passed.
//
//	func TestAttach(t *testing.T) {
//		need.Loops(t)
//		...
package need

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Variable is the environment variable under which an unmet need fails the
// test. Any value but the empty one counts.
const Variable = "THINCTL_REQUIRE_ALL"

// packages holds the Debian package of each program that is not part of every
// installation.
var packages = map[string]string{
	"bzip2":        "bzip2",
	"cc":           "gcc",
	"mkfs.ext2":    "e2fsprogs",
	"mkfs.ext4":    "e2fsprogs",
	"mkfs.xfs":     "xfsprogs",
	"sfdisk":       "fdisk",
	"thin_check":   "thin-provisioning-tools",
	"thin_delta":   "thin-provisioning-tools",
	"thin_dump":    "thin-provisioning-tools",
	"thin_ls":      "thin-provisioning-tools",
	"thin_restore": "thin-provisioning-tools",
	"thin_rmap":    "thin-provisioning-tools",
	"xz":           "xz-utils",
	"zstd":         "zstd",
}

// Root requires that the test runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Unmet(t, "root")
	}
}

// Loops requires root and the kernel's loop devices.
func Loops(t testing.TB) {
	t.Helper()
	Root(t)
	const control = "/dev/loop-control"
	if err := unix.Access(control, unix.R_OK|unix.W_OK); err != nil {
		Unmet(t, "loop devices (modprobe loop): %s: %v", control, err)
	}
}

// Program returns the path of a program. It also searches the directories of
// the administrator's programs, which are not on every user's PATH.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	if pkg := packages[name]; pkg != "" {
		name += " (apt-get install " + pkg + ")"
	}
	Unmet(t, "%s: %v", name, err)
	return ""
}

// Ready requires that err is nil, which is the result of preparing object, for
// example of fetching a package.
func Ready(t testing.TB, object string, err error) {
	t.Helper()
	if err != nil {
		Unmet(t, "%s: %v", object, err)
	}
}

// Unmet ends the test: it is skipped, or failed where [Variable] is set.
func Unmet(t testing.TB, format string, args ...any) {
	t.Helper()
	text := "needs " + fmt.Sprintf(format, args...)
	if os.Getenv(Variable) == "" {
		t.Skip(text)
	} else {
		t.Fatalf("%s, and %s is set", text, Variable)
	}
}
