package config

import (
	"testing"

	"pgregory.net/rapid"

	"thinctl/units"
)

func TestPassed(t *testing.T) {
	for _, test := range []struct {
		at          Threshold
		used, total units.Bytes
		want        bool
	}{
		{Threshold{Percent: 80}, 79, 100, false},
		{Threshold{Percent: 80}, 80, 100, true},
		{Threshold{Percent: 80}, 200, 100, true},
		{Threshold{Percent: 80}, 0, 0, false},
		{Threshold{Percent: 99}, 1<<63 - 1, 1 << 63, true},
		{Threshold{Percent: 51}, 1 << 62, 1 << 63, false},
		{Threshold{Free: 10}, 89, 100, false},
		{Threshold{Free: 10}, 90, 100, true},
		{Threshold{Free: 10}, 200, 100, true},
	} {
		if got := test.at.Passed(test.used, test.total); got != test.want {
			t.Errorf("%s of %d/%d: got %t, want %t", test.at, test.used, test.total, got, test.want)
		}
	}
}

// Enough returns a size that is not low, and one step less is low.
func TestEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := Threshold{Percent: rapid.IntRange(1, 99).Draw(t, "at")}
		step := Step{Percent: rapid.IntRange(1, 1000).Draw(t, "step")}
		if rapid.Bool().Draw(t, "bytes") {
			at = Threshold{Free: units.Bytes(rapid.Uint64Range(1, 1<<40).Draw(t, "free"))}
			step = Step{Size: units.Bytes(rapid.Uint64Range(1<<30, 1<<40).Draw(t, "size"))}
		}
		total := units.Bytes(rapid.Uint64Range(1<<30, 1<<50).Draw(t, "total"))
		used := units.Bytes(rapid.Uint64Range(0, uint64(total)).Draw(t, "used"))
		enough := at.Enough(used, total, step)
		if at.Passed(used, enough) || enough < total {
			t.Fatalf("%s: got %d for %d in use, want a size that is not low", at, enough, used)
		}
		if before := total; at.Passed(used, total) {
			for before+step.Of(before) < enough {
				before += step.Of(before)
			}
			if before+step.Of(before) != enough || !at.Passed(used, before) {
				t.Fatalf("%s with steps of %s, %d in use: got %d, want the smallest sum", at, step, used, enough)
			}
		}
	})
}
