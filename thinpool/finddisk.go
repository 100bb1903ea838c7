package thinpool

import (
	"fmt"
	"slices"
	"strings"

	"thinctl/blockdev"
	"thinctl/fault"
	"thinctl/internal/disk"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// wanted describes one of the pool's block devices for findDisk.
type wanted struct {
	op      string
	role    string // "data" or "metadata"
	backing store.Backing
	// proven reports whether a device has this pool's contents.
	proven func(Disk) bool
}

// findDisk opens the pool's block device with the recorded identity. The device may have
// a new name. A device without an identity is found by its contents, among devices of its
// kind: a device of another kind is the disk below it, or a copy. The search covers all
// devices of the host, because a second one with the same identity may be newer.
func (p *Pool) findDisk(w wanted) (Disk, error) {
	all, err := p.hostDisks()
	if err != nil {
		return nil, p.unlisted(w, err)
	}
	var found []disk.Device
	for _, device := range all {
		if w.matches(p, device) {
			found = append(found, device)
		}
	}
	found = topmost(found, all)
	switch len(found) {
	case 0:
		return nil, p.missing(w, all)
	case 1:
		return p.openFound(w, found[0])
	}
	var names []string
	for _, device := range found {
		names = append(names, describe(device.Path, device))
	}
	return nil, p.refused(w, Error{Kind: ErrCloned, Remedy: "detach the copy, then retry",
		Detail: fmt.Sprintf("%s is expected, and found as %s", w, strings.Join(names, " and as "))})
}

// hostDisks lists the block devices that may be a pool's disks. It leaves out the volumes
// of pools, because users control their contents.
func (p *Pool) hostDisks() ([]disk.Device, error) {
	all, err := p.host.Disks.Devices()
	return slices.DeleteFunc(all, func(d disk.Device) bool {
		return strings.HasPrefix(d.Identity.MappedUUID, uuidPrefix)
	}), err
}

// matches reports whether a device has the recorded identity, or the pool's contents if
// there is no recorded identity.
func (w wanted) matches(p *Pool, device disk.Device) bool {
	if device.Err != nil {
		return false
	}
	if w.backing.Identity.Known() {
		return w.backing.Identity.Compare(device.Identity) == disk.Same
	}
	kind := w.backing.Identity.Kind
	return (kind == "" || kind == device.Identity.Kind) && p.holds(w, device)
}

// holds opens a device and reports whether it has the pool's contents.
func (p *Pool) holds(w wanted, device disk.Device) bool {
	if device.Suspended {
		return false
	}
	held, err := p.host.Disks.Open(device.Path)
	if err != nil {
		return false
	}
	defer held.Close()
	return held.About().Number == device.Number && w.proven(held)
}

// topmost leaves out each device that is below another one of them: a mirror's legs, the
// paths of a multipath device, the disk below a linear mapping.
func topmost(found, all []disk.Device) []disk.Device {
	below := map[blockdev.Number][]blockdev.Number{}
	for _, device := range all {
		below[device.Number] = device.Below
	}
	under := map[blockdev.Number]bool{}
	var descend func(blockdev.Number)
	descend = func(n blockdev.Number) {
		for _, lower := range below[n] {
			if !under[lower] {
				under[lower] = true
				descend(lower)
			}
		}
	}
	for _, device := range found {
		descend(device.Number)
	}
	return slices.DeleteFunc(slices.Clone(found), func(d disk.Device) bool { return under[d.Number] })
}

// openFound opens a device that was found. It returns an error if the device has changed
// in the meantime.
func (p *Pool) openFound(w wanted, device disk.Device) (Disk, error) {
	path := device.Path
	if device.Suspended {
		return nil, p.refused(w, Error{Kind: fault.Unhealthy, Detail: describe(path, device) + " is suspended",
			Cure: p.cureAt(CureResumeDevice, path)})
	}
	held, err := p.host.Disks.Open(path)
	if err != nil {
		return nil, p.refused(w, Error{Kind: ErrGone, Detail: fmt.Sprintf("%s cannot be opened as %s", w, path),
			Err: err, Remedy: "attach it again, then retry"})
	}
	about := held.About()
	if about.Number != device.Number ||
		w.backing.Identity.Compare(about.Identity) != w.backing.Identity.Compare(device.Identity) {
		held.Close()
		return nil, p.refused(w, Error{Kind: ErrForeign, Remedy: "retry",
			Detail: fmt.Sprintf("%s is expected, %s changed while it was opened", w, describe(path, about))})
	}
	return held, nil
}

// missing returns the error for a device that was not found. The error names the device
// at the recorded path, and the devices that have the pool's contents without its identity.
func (p *Pool) missing(w wanted, all []disk.Device) error {
	e := Error{Kind: ErrGone, Remedy: "attach the expected disk again, then retry",
		Detail: fmt.Sprintf("%s is expected, no device of the host has its identity or contents", w)}
	if held, err := p.host.Disks.Open(w.backing.Path); err == nil {
		e.Kind = ErrForeign
		e.Detail = fmt.Sprintf("%s is expected, %s is found there", w, describe(w.backing.Path, held.About()))
		held.Close()
	}
	for _, device := range all {
		if device.Err != nil {
			e.Detail += fmt.Sprintf("; %s cannot be read: %v", device.Path, device.Err)
		} else if p.holds(w, device) {
			if e.Cure == nil {
				e.Cure = p.cureAt(CureAcceptCopy, device.Path)
			}
			e.Detail += fmt.Sprintf("; %s holds this pool's %s", describe(device.Path, device), w.role)
		}
	}
	return p.refused(w, e)
}

// unlisted returns the error for a host whose block devices cannot be listed.
func (p *Pool) unlisted(w wanted, err error) error {
	return p.refused(w, Error{Kind: fault.Unhealthy, Err: err, Remedy: "mount sysfs on /sys, then retry",
		Detail: fmt.Sprintf("the block devices of the host cannot be read to find %s", w)})
}

// refused completes an error about one of the pool's disks.
func (p *Pool) refused(w wanted, e Error) error {
	e.Op, e.Object = w.op, p.object()
	return &e
}

// String describes the expected device.
func (w wanted) String() string {
	recorded := disk.Device{Size: w.backing.Size, Identity: w.backing.Identity}
	return fmt.Sprintf("the %s disk %s", w.role, describe(w.backing.Path, recorded))
}

// describe returns a device's path, identity and size.
func describe(path string, device disk.Device) string {
	return fmt.Sprintf("%s (%s, %s)", path, device.Identity, device.Size)
}

// unique returns the part of a device's identity that no other device of the host has. A
// serial number that several disks share does not identify any of them.
func unique(about disk.Device, all []disk.Device) disk.Identity {
	identity := about.Identity
	for _, device := range all {
		if device.Number != about.Number {
			identity = identity.Without(device.Identity)
		}
	}
	return identity
}

// backingPath returns the present path of a backing: a file in the pool's directory, or
// the device with the recorded identity. It checks no contents: use findDisk before
// writing.
func (p *Pool) backingPath(b store.Backing) string {
	if b.Loop {
		return p.path(b.Path)
	}
	if !b.Identity.Known() {
		return b.Path
	}
	if identity, err := p.host.Disks.Identity(b.Path); err == nil && b.Identity.Compare(identity) == disk.Same {
		return b.Path
	}
	all, err := p.hostDisks()
	if err != nil {
		return b.Path
	}
	var same []disk.Device
	for _, device := range all {
		if device.Err == nil && b.Identity.Compare(device.Identity) == disk.Same {
			same = append(same, device)
		}
	}
	if same = topmost(same, all); len(same) == 1 {
		return same[0].Path
	}
	return b.Path
}

// dataWanted describes the pool's data disk.
func (p *Pool) dataWanted(op string, record store.Pool) wanted {
	return wanted{
		op:      op,
		role:    "data",
		backing: record.Data,
		proven:  func(held Disk) bool { return p.marked(held, record.Data.Size) },
	}
}

// metadataWanted describes the pool's metadata disk.
func (p *Pool) metadataWanted(op string, record store.Pool) wanted {
	return wanted{op: op, role: "metadata", backing: record.Metadata, proven: func(held Disk) bool {
		super, err := p.readSuperblock(held)
		return err == nil && super.UUID == p.id
	}}
}

// marked reports whether a disk has this pool's mark behind its data.
func (p *Pool) marked(held Disk, size units.Bytes) bool {
	m, found, err := readMark(held, size)
	return err == nil && found && m.Pool == p.id
}
