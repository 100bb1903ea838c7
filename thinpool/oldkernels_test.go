package thinpool_test

import (
	"math"
	"testing"

	"thinctl/dm"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/thinpooltest"
)

// oldKernels returns kernels from newer to older. Each lacks more than the one before it:
// event waits that can be canceled (protocol 4.37), flags in the list of devices (4.45), deferred removal
// (4.27), the metadata reserve (pool 1.21), needs_check in the status (1.15), and errors
// instead of a queue in a full pool (1.10).
func oldKernels() map[string]dmtest.Options {
	of := func(protocol, pool dm.Version) dmtest.Options {
		return dmtest.Options{Protocol: protocol, TargetVersions: map[string]dm.Version{dm.TypeThinPool: pool, dm.TypeThin: pool}}
	}
	return map[string]dmtest.Options{
		"5.14, as of CentOS 9":    of(dm.Version{4, 45, 0}, dm.Version{1, 22, 0}),
		"4.18, as of CentOS 8":    of(dm.Version{4, 39, 0}, dm.Version{1, 20, 0}),
		"3.10, as of CentOS 7":    of(dm.Version{4, 27, 0}, dm.Version{1, 14, 0}),
		"3.10, as first released": of(dm.Version{4, 24, 0}, dm.Version{1, 9, 0}),
	}
}

// TestOldKernels checks that each operation has the same result on an old kernel as on the
// newest, also after a kill and after a power cut.
func TestOldKernels(t *testing.T) {
	for name, kernel := range oldKernels() {
		for _, operation := range thinpooltest.Operations() {
			if operation.Name == "set full policy" && !kernel.TargetVersions[dm.TypeThinPool].AtLeast(1, 10) {
				continue // TestSetFullPolicyUnsupported
			}
			t.Run(name+"/"+operation.Name, func(t *testing.T) {
				t.Parallel()
				stopped(t, kernel, operation, math.MaxInt, thinpooltest.Before, false)
				stopped(t, kernel, operation, math.MaxInt, thinpooltest.Before, true)
			})
		}
	}
}
