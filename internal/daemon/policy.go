package daemon

import (
	"thinctl/thinpool"
	"thinctl/units"
)

// failWhenFull tells whether writes to the pool should fail at once when it is
// full. A queued write waits for growth: where the host has no room for any it
// would wait in vain, up to the kernel's timeout, with all that wait behind it.
// failing is what the pool does now; it goes back with some room to spare only,
// so that it does not switch to and fro.
func failWhenFull(s thinpool.Status, failing bool) bool {
	if s.Record.ErrorIfFull {
		return true
	}
	if s.Host == nil || !s.Record.Data.Loop {
		return false
	}
	keep := max(hostReserve(s), leastHost)
	if failing {
		keep += s.Host.Total / 100
	}
	return s.Host.Available < keep
}

// leastHost is what the host needs free, whatever reserve the pool has.
const leastHost = 16 * units.MiB
