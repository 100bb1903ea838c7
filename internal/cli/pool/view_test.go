package pool

import (
	"math"
	"testing"

	"thinctl/units"
)

func TestPercentOf(t *testing.T) {
	for _, test := range []struct {
		size    units.Bytes
		percent int
		want    units.Bytes
	}{{100, 10, 10}, {units.GiB, 10, 107374182}, {199, 50, 99}, {math.MaxInt64, 90, 8301034833169298226}, {5, 0, 0}} {
		if got := percentOf(test.size, test.percent); got != test.want {
			t.Errorf("%d%% of %d: %d, want %d", test.percent, uint64(test.size), uint64(got), uint64(test.want))
		}
	}
}
