// Package boot holds what the host and the guest of the lab share: the file with the
// guest's orders and the lines that the guest answers with.
package boot

import (
	"fmt"
	"strconv"
	"strings"
)

// Paths in the first root at which the host puts files for the guest.
const (
	SpecPath  = "/lab.json"
	ModuleDir = "/modules"
	ProbeLine = "lab: probe ok"
)

// Virtio-serial ports, one for each stream, so that nothing of the kernel's
// console mixes with what the command prints.
const (
	PortControl = "lab.control"
	PortStdin   = "lab.stdin"
	PortStdout  = "lab.stdout"
	PortStderr  = "lab.stderr"
)

// Serials of the disks that the lab itself needs, and the tag of the 9p share.
const (
	SerialScratch = "scratch"
	SerialRoot    = "root"
	HostTag       = "host"
)

// Spec holds the orders of one run.
type Spec struct {
	Probe   bool     `json:"probe,omitempty"`   // print ProbeLine and power off
	Systemd bool     `json:"systemd,omitempty"` // hand over to systemd on the root disk
	Modules []string `json:"modules"`           // files in ModuleDir, in loading order
	Early   int      `json:"early"`             // how many of Modules the guest needs to reach its root
	Tree    string   `json:"tree"`              // the kernel's modules, a path on the host
	Release string   `json:"release"`
	Without []string `json:"without,omitempty"` // files below Tree that are hidden from the guest
	Shared  []string `json:"shared,omitempty"`  // directories of the host that systemd's root shows too
	Dir     string   `json:"dir"`
	Args    []string `json:"args"`
	Env     []string `json:"env"`
	Stdin   bool     `json:"stdin,omitempty"`
	Screen  *Screen  `json:"screen,omitempty"` // give the command a terminal of this size
	Sync    bool     `json:"sync,omitempty"`   // the disks outlive the run
}

// Screen is the size of the caller's terminal.
type Screen struct {
	Rows, Cols uint16
}

// Words of the control port.
const (
	SayBooted  = "booted"
	SayStarted = "started"
	sayExit    = "exit"
	sayFailed  = "failed"
)

// Exit is the end of the command: its status and how many bytes it wrote. With the counts
// the host checks that it has received all of them.
type Exit struct {
	Status         int
	Stdout, Stderr int64
}

func (e Exit) String() string {
	return fmt.Sprintf("%s %d %d %d", sayExit, e.Status, e.Stdout, e.Stderr)
}

// ParseExit parses what Exit.String has written.
func ParseExit(line string) (Exit, bool) {
	f := strings.Fields(line)
	if len(f) != 4 || f[0] != sayExit {
		return Exit{}, false
	}
	status, err1 := strconv.Atoi(f[1])
	out, err2 := strconv.ParseInt(f[2], 10, 64)
	errs, err3 := strconv.ParseInt(f[3], 10, 64)
	return Exit{status, out, errs}, err1 == nil && err2 == nil && err3 == nil
}

// Failed reports on the control port why the guest cannot go on.
func Failed(err error) string {
	return sayFailed + " " + strings.ReplaceAll(err.Error(), "\n", " ")
}

// ParseFailed parses what Failed has written.
func ParseFailed(line string) (string, bool) {
	return strings.CutPrefix(line, sayFailed+" ")
}
