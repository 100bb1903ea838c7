package daemon

import (
	"time"

	"thinctl/internal/config"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

// unlimited is room without end.
const unlimited = units.Bytes(1 << 62)

// metadataMost is how large metadata grows: LVM's cap, which old kernels keep.
const metadataMost = 16192 * units.MiB

// space is one of a pool's two devices as a plan sees it.
type space struct {
	used, total units.Bytes
	unit        units.Bytes // sizes are multiples of it
	room        units.Bytes // what the backing can still give
	file        bool        // the backing is a file on the host
}

// rule is what config says of one space.
type rule struct {
	at       config.Threshold
	step     config.Step
	maximum  units.Bytes // 0: none
	coolDown time.Duration
}

// attempt is the last extension of a space that was tried, or found impossible.
type attempt struct {
	at     time.Time
	result string // of package metrics; "" where there was none yet
	err    error
}

// verdict says what is to become of a space.
type verdict struct {
	passed bool        // its threshold
	to     units.Bytes // the size to extend to; 0 where it is not to be extended now
	// blocked is why it cannot be extended, as a result of package metrics.
	blocked string
}

// decide is the extension policy. It knows nothing but its arguments.
func decide(s space, r rule, last attempt, now time.Time) verdict {
	if s.total == 0 || !r.at.Passed(s.used, s.total) {
		return verdict{}
	}
	limit := unlimited
	if r.maximum != 0 {
		limit = r.maximum - r.maximum%s.unit
	}
	if s.total >= limit {
		return verdict{passed: true, blocked: metrics.AtMaximum}
	}
	to := r.at.Enough(s.used, s.total, r.step).RoundUp(s.unit)
	to = min(to, limit, s.total+s.room-s.room%s.unit)
	if to <= s.total {
		if s.file {
			return verdict{passed: true, blocked: metrics.NoHostSpace}
		}
		return verdict{passed: true, blocked: metrics.Refused}
	}
	if cooling(s, r, last, now) {
		return verdict{passed: true}
	}
	return verdict{passed: true, to: to}
}

// cooling tells whether it is too early for another extension. After one that
// has worked a space that is nearly full does not wait: it fills faster than it
// was thought to.
func cooling(s space, r rule, last attempt, now time.Time) bool {
	tried := last.result == metrics.Done || last.err != nil // else it was only found impossible
	if !tried || now.Sub(last.at) >= r.coolDown {
		return false
	}
	return last.result != metrics.Done || !urgent(s, r.at)
}

// urgent: less than half is free of what the threshold wants free.
func urgent(s space, at config.Threshold) bool {
	wanted := at.Free
	if at.Percent != 0 {
		wanted = s.total / 100 * units.Bytes(100-at.Percent)
	}
	return s.total-min(s.used, s.total) < wanted/2
}

// dataSpace and metadataSpace read a pool's status. device is the size of the
// block device under it, 0 where that is a file.
func dataSpace(s thinpool.Status, device units.Bytes) space {
	one := space{used: s.Data.Used, total: s.Data.Total, unit: max(s.Record.Block, 1), file: s.Record.Data.Loop}
	device = thinpool.RoomOnDevice(device, s.Record)
	one.room = room(s, one, device, hostReserve(s))
	return one
}

func metadataSpace(s thinpool.Status, device units.Bytes) space {
	const block = 4 * units.KiB
	one := space{used: s.Metadata.Used, total: s.Metadata.Total, unit: block, file: s.Record.Metadata.Loop}
	// Metadata is little, and a pool without it is worse off than a full host: it
	// may take of the reserve.
	one.room = min(room(s, one, device, min(hostReserve(s), 16*units.MiB)), metadataMost-min(metadataMost, one.total))
	return one
}

// room is what a space's backing can still give. Of the host's file system what
// files of the pool were promised and do not have yet is gone already: it is what
// the pool itself may still fill.
func room(s thinpool.Status, one space, device, keep units.Bytes) units.Bytes {
	if !one.file {
		return device - min(device, one.total)
	}
	if s.Host == nil {
		return unlimited
	}
	taken := keep + holes(s.Data) + holes(s.Metadata)
	return s.Host.Available - min(taken, s.Host.Available)
}

func holes(s thinpool.Space) units.Bytes {
	if s.File == nil {
		return 0
	}
	return s.File.Apparent - min(s.File.Allocated, s.File.Apparent)
}

// hostReserve is what is to stay free on the host's file system.
func hostReserve(s thinpool.Status) units.Bytes {
	if s.Host == nil {
		return 0
	}
	return s.Host.Total / 100 * units.Bytes(s.Record.Reserve.Host)
}

func rules(e config.Extend) (data, metadata rule) {
	return rule{e.DataAt, e.DataStep, e.DataMaximum, e.CoolDown}, rule{e.MetadataAt, e.MetadataStep, e.MetadataMaximum, e.CoolDown}
}
