// Package boot is what the host and the guest of the lab agree on: the file
// that tells the guest what to do and the lines the guest answers with.
package boot

import (
	"fmt"
	"strconv"
	"strings"
)

// Where the host puts what the guest needs, in the first root.
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

// Serials of the disks the lab itself needs, and the 9p share's tag.
const (
	SerialScratch = "scratch"
	SerialRoot    = "root"
	HostTag       = "host"
)

// Spec is one run, as the guest sees it.
type Spec struct {
	Probe   bool     `json:"probe,omitempty"`   // say ProbeLine and power off
	Systemd bool     `json:"systemd,omitempty"` // hand over to systemd on the root disk
	Modules []string `json:"modules"`           // files in ModuleDir, in loading order
	Early   int      `json:"early"`             // how many of Modules the guest needs to find its root
	Tree    string   `json:"tree"`              // the kernel's modules, a path on the host
	Release string   `json:"release"`
	Without []string `json:"without,omitempty"` // files below Tree that the guest must not have
	Shared  []string `json:"shared,omitempty"`  // folders of the host that systemd's root shows too
	Dir     string   `json:"dir"`
	Args    []string `json:"args"`
	Env     []string `json:"env"`
	Stdin   bool     `json:"stdin,omitempty"`
	Screen  *Screen  `json:"screen,omitempty"` // the command gets a terminal of this size
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

// Exit is the command's end: its status, and how many bytes it wrote, so that
// the host can tell that it has received all of them.
type Exit struct {
	Status         int
	Stdout, Stderr int64
}

func (e Exit) String() string {
	return fmt.Sprintf("%s %d %d %d", sayExit, e.Status, e.Stdout, e.Stderr)
}

// ParseExit reads what Exit.String wrote.
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

// Failed says on the control port why the guest cannot go on.
func Failed(err error) string {
	return sayFailed + " " + strings.ReplaceAll(err.Error(), "\n", " ")
}

// ParseFailed reads what Failed wrote.
func ParseFailed(line string) (string, bool) {
	return strings.CutPrefix(line, sayFailed+" ")
}
