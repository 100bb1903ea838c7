package daemon

import (
	"time"

	"thinctl/internal/config"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

// unlimited stands for a size without a limit.
const unlimited = units.Bytes(1 << 62)

// metadataLimit is the largest size of metadata, as in LVM: old kernels use no more.
const metadataLimit = 16192 * units.MiB

// space holds the sizes of one of a pool's two devices.
type space struct {
	used, total units.Bytes
	unit        units.Bytes // sizes are multiples of it
	available   units.Bytes // by which the backing can grow
	file        bool        // the backing is a file on the host
}

// rule is the configuration for one space.
type rule struct {
	at       config.Threshold
	step     config.Step
	maximum  units.Bytes // 0: none
	coolDown time.Duration
}

// attempt is the last extension of a space, also if it failed or was impossible.
type attempt struct {
	at     time.Time
	result string // of package metrics; "" before the first attempt
	err    error
}

// decision is the result of decide for a space.
type decision struct {
	passed bool        // the threshold is passed
	to     units.Bytes // the size to extend to; 0 for no extension now
	// blocked is the reason against an extension, as a result of package metrics.
	blocked string
}

// decide is the extension policy, a pure function.
func decide(s space, r rule, last attempt, now time.Time) decision {
	if s.total == 0 || !r.at.Passed(s.used, s.total) {
		return decision{}
	}
	limit := unlimited
	if r.maximum != 0 {
		limit = r.maximum - r.maximum%s.unit
	}
	if s.total >= limit {
		return decision{passed: true, blocked: metrics.AtMaximum}
	}
	to := r.at.Enough(s.used, s.total, r.step).RoundUp(s.unit)
	to = min(to, limit, s.total+s.available-s.available%s.unit)
	if to <= s.total {
		if s.file {
			return decision{passed: true, blocked: metrics.NoHostSpace}
		}
		return decision{passed: true, blocked: metrics.Refused}
	}
	if coolingDown(s, r, last, now) {
		return decision{passed: true}
	}
	return decision{passed: true, to: to}
}

// coolingDown reports whether it is too early for another extension. A space that is
// nearly full soon after a successful one does not wait: it fills faster than planned.
func coolingDown(s space, r rule, last attempt, now time.Time) bool {
	tried := last.result == metrics.Done || last.err != nil // otherwise it was found impossible
	if !tried || now.Sub(last.at) >= r.coolDown {
		return false
	}
	return last.result != metrics.Done || !urgent(s, r.at)
}

// urgent reports whether less than half of the threshold's free space is free.
func urgent(s space, at config.Threshold) bool {
	wanted := at.Free
	if at.Percent != 0 {
		wanted = s.total / 100 * units.Bytes(100-at.Percent)
	}
	return s.total-min(s.used, s.total) < wanted/2
}

// dataSpace returns the sizes of a pool's data. device is the size of the data's block
// device, 0 for a file.
func dataSpace(s thinpool.Status, device units.Bytes) space {
	data := space{used: s.Data.Used, total: s.Data.Total, unit: max(s.Record.Block, 1), file: s.Record.Data.Loop}
	device = thinpool.SpaceOnDevice(device, s.Record)
	data.available = available(s, data, device, hostReserve(s))
	return data
}

func metadataSpace(s thinpool.Status, device units.Bytes) space {
	const block = 4 * units.KiB
	metadata := space{used: s.Metadata.Used, total: s.Metadata.Total, unit: block, file: s.Record.Metadata.Loop}
	// Metadata may use the reserve: it is small, and a pool without free metadata is worse
	// than a full host.
	most := metadataLimit - min(metadataLimit, metadata.total)
	metadata.available = min(available(s, metadata, device, min(hostReserve(s), 16*units.MiB)), most)
	return metadata
}

// available returns the size by which the backing of a space can grow. It subtracts the
// holes of the pool's files from the host's free space, since the pool may fill them.
func available(s thinpool.Status, of space, device, keep units.Bytes) units.Bytes {
	if !of.file {
		return device - min(device, of.total)
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

// hostReserve returns the free space that the host's file system is to keep.
func hostReserve(s thinpool.Status) units.Bytes {
	if s.Host == nil {
		return 0
	}
	return s.Host.Total / 100 * units.Bytes(s.Record.Reserve.Host)
}

func rules(e config.Extend) (data, metadata rule) {
	data = rule{e.DataAt, e.DataStep, e.DataMaximum, e.CoolDown}
	metadata = rule{e.MetadataAt, e.MetadataStep, e.MetadataMaximum, e.CoolDown}
	return data, metadata
}
