package dm

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/units"
)

// The kernel's answers are decoded by offset (include/uapi/linux/dm-ioctl.h).
// Their structs end in strings of any length, which a Go struct cannot describe.

const targetSpecSize = 40

func align8(n int) int { return (n + 7) &^ 7 }

// cstring returns the text before the first NUL; ok is false if there is none.
func cstring(b []byte) (text string, ok bool) {
	before, _, ok := bytes.Cut(b, []byte{0})
	return string(before), ok
}

func text(b []byte) string {
	s, _ := cstring(b)
	return s
}

// encodeTable lays out target specs for DM_TABLE_LOAD. The field next of a spec
// counts from the start of the same spec.
func encodeTable(lines []Line) []byte {
	var out []byte
	for _, line := range lines {
		size := align8(targetSpecSize + len(line.Params) + 1)
		spec := make([]byte, size)
		binary.NativeEndian.PutUint64(spec[0:], uint64(line.Start))
		binary.NativeEndian.PutUint64(spec[8:], uint64(line.Length))
		binary.NativeEndian.PutUint32(spec[20:], uint32(size))
		copy(spec[24:targetSpecSize-1], line.Type)
		copy(spec[targetSpecSize:], line.Params)
		out = append(out, spec...)
	}
	return out
}

// decodeTable reads count target specs as DM_TABLE_STATUS lays them out. The
// field next of a spec counts from the start of the first spec.
func decodeTable(b []byte, count int) ([]Line, error) {
	var lines []Line
	at := 0
	for range count {
		if at < 0 || at+targetSpecSize > len(b) {
			return nil, truncated("table", at)
		}
		spec := b[at:]
		params, ok := cstring(spec[targetSpecSize:])
		if !ok {
			return nil, truncated("table", at)
		}
		lines = append(lines, Line{
			Start:  units.Sectors(binary.NativeEndian.Uint64(spec[0:])),
			Length: units.Sectors(binary.NativeEndian.Uint64(spec[8:])),
			Type:   text(spec[24:targetSpecSize]),
			Params: string(bytes.TrimRight([]byte(params), " ")),
		})
		next := int(binary.NativeEndian.Uint32(spec[20:]))
		if next <= at && len(lines) < count {
			return nil, truncated("table", at)
		}
		at = next
	}
	return lines, nil
}

// decodeList reads dm_name_list entries. Protocol 4.37 added the event number
// after the name, protocol 4.45 the flags and the uuid.
func decodeList(b []byte, version Version) ([]Entry, error) {
	const nameAt = 12
	var entries []Entry
	if len(b) == 0 {
		return nil, nil // no devices
	}
	for at := 0; ; {
		if at < 0 || at+nameAt > len(b) {
			return nil, truncated("device list", at)
		}
		entry := b[at:]
		number := binary.NativeEndian.Uint64(entry)
		if number == 0 {
			return entries, nil // number 0 marks an empty list
		}
		name, ok := cstring(entry[nameAt:])
		if !ok {
			return nil, truncated("device list", at)
		}
		e := Entry{Name: Name(unmangle(name)), Dev: blockdev.NumberOf(number)}
		tail := align8(nameAt + len(name) + 1)
		if version.AtLeast(4, 37) && tail+4 <= len(entry) {
			e.EventNr = binary.NativeEndian.Uint32(entry[tail:])
		}
		if version.AtLeast(4, 45) && tail+8 <= len(entry) {
			flags := binary.NativeEndian.Uint32(entry[tail+4:])
			if flags&unix.DM_NAME_LIST_FLAG_HAS_UUID != 0 {
				e.UUID = UUID(unmangle(text(entry[tail+8:])))
			}
		}
		entries = append(entries, e)
		next := int(binary.NativeEndian.Uint32(entry[8:]))
		if next == 0 {
			return entries, nil
		}
		if next < nameAt {
			return nil, truncated("device list", at)
		}
		at += next
	}
}

// decodeVersions reads dm_target_versions entries. It returns at least one, or an error.
func decodeVersions(b []byte) ([]TargetVersion, error) {
	const nameAt = 16
	var versions []TargetVersion
	for at := 0; ; {
		if at < 0 || at+nameAt > len(b) {
			return nil, truncated("target list", at)
		}
		entry := b[at:]
		name, ok := cstring(entry[nameAt:])
		if !ok {
			return nil, truncated("target list", at)
		}
		v := TargetVersion{Name: name}
		for i := range v.Version {
			v.Version[i] = binary.NativeEndian.Uint32(entry[4+4*i:])
		}
		versions = append(versions, v)
		next := int(binary.NativeEndian.Uint32(entry))
		if next == 0 {
			return versions, nil
		}
		if next < nameAt {
			return nil, truncated("target list", at)
		}
		at += next
	}
}

// decodeDeps reads a dm_target_deps struct.
func decodeDeps(b []byte) ([]blockdev.Number, error) {
	if len(b) < 8 {
		return nil, truncated("dependencies", 0)
	}
	count := int(binary.NativeEndian.Uint32(b))
	if count > (len(b)-8)/8 {
		return nil, truncated("dependencies", 8)
	}
	devs := make([]blockdev.Number, count)
	for i := range devs {
		devs[i] = blockdev.NumberOf(binary.NativeEndian.Uint64(b[8+8*i:]))
	}
	return devs, nil
}

func truncated(what string, at int) error {
	return fmt.Errorf("device mapper: decode the kernel's %s: it is cut off or repeats itself at byte %d", what, at)
}

func (r *request) info() Info {
	h := r.header()
	return Info{
		Name:           Name(unmangle(unix.ByteSliceToString(h.Name[:]))),
		UUID:           UUID(unmangle(unix.ByteSliceToString(h.Uuid[:]))),
		Dev:            blockdev.NumberOf(h.Dev),
		OpenCount:      int(h.Open_count),
		EventNr:        h.Event_nr,
		TargetCount:    int(h.Target_count),
		Suspended:      h.Flags&unix.DM_SUSPEND_FLAG != 0,
		ReadOnly:       h.Flags&unix.DM_READONLY_FLAG != 0,
		ActiveTable:    h.Flags&unix.DM_ACTIVE_PRESENT_FLAG != 0,
		InactiveTable:  h.Flags&unix.DM_INACTIVE_PRESENT_FLAG != 0,
		DeferredRemove: h.Flags&unix.DM_DEFERRED_REMOVE != 0,
	}
}
