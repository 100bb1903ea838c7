package output

import (
	"fmt"
	"strings"

	"thinctl/snapshots/filesystem"
)

// Holder is the JSON of the users of a device in one mount namespace.
type Holder struct {
	Namespace uint64        `json:"mount_namespace"`
	Own       bool          `json:"own_namespace"`
	Mounts    []string      `json:"mounts"`
	Processes []processView `json:"processes"`
}

type processView struct {
	PID     int      `json:"pid"`
	Command string   `json:"command"`
	Device  bool     `json:"device_open"`
	Files   []string `json:"files"`
}

// NewHolder returns the JSON of a holder.
func NewHolder(h filesystem.Holder) Holder {
	view := Holder{Namespace: h.Namespace, Own: h.Own, Mounts: append([]string{}, h.MountPoints...),
		Processes: []processView{}}
	for _, p := range h.Processes {
		view.Processes = append(view.Processes, processView{p.PID, p.Command, p.Device, append([]string{}, p.Files...)})
	}
	return view
}

// String formats the holder on one line.
func (v Holder) String() string {
	where := fmt.Sprintf("mount namespace %d", v.Namespace)
	if v.Own {
		where = "this mount namespace"
	}
	parts := []string{where}
	if len(v.Mounts) > 0 {
		parts = append(parts, "mounted at "+strings.Join(v.Mounts, " and "))
	}
	for _, p := range v.Processes {
		parts = append(parts, fmt.Sprintf("%s (pid %d)", p.Command, p.PID))
	}
	return strings.Join(parts, ", ")
}
