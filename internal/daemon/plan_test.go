package daemon

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"thinctl/internal/config"
	"thinctl/loopback"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
	"thinctl/units"
)

const (
	mi = units.MiB
	gi = units.GiB
)

func TestDecide(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	percent := func(at, step int, maximum units.Bytes) rule {
		return rule{config.Threshold{Percent: at}, config.Step{Percent: step}, maximum, time.Minute}
	}
	ago := func(d time.Duration, result string) attempt {
		a := attempt{at: now.Add(-d), result: result}
		if result != metrics.Done {
			a.err = errors.New("no")
		}
		return a
	}
	file := func(used, total, room units.Bytes) space { return space{used, total, mi, room, true} }
	device := func(used, total, room units.Bytes) space { return space{used, total, mi, room, false} }
	for _, test := range []struct {
		name string
		s    space
		r    rule
		last attempt
		want verdict
	}{
		{"unknown size", file(0, 0, gi), percent(80, 20, 0), attempt{}, verdict{}},
		{"below", file(799*mi, 1000*mi, gi), percent(80, 20, 0), attempt{}, verdict{}},
		{"at it", file(800*mi, 1000*mi, gi), percent(80, 20, 0), attempt{}, verdict{true, 1200 * mi, ""}},
		{"several steps", file(1000*mi, 1000*mi, gi), percent(50, 50, 0), attempt{}, verdict{true, 2024 * mi, ""}},
		{"bytes free", file(900*mi, 1000*mi, gi), rule{config.Threshold{Free: 100 * mi}, config.Step{Size: 64 * mi}, 0, 0}, attempt{}, verdict{true, 1064 * mi, ""}},
		{"whole units", file(81*mi, 101*mi, gi), percent(80, 20, 0), attempt{}, verdict{true, 122 * mi, ""}},
		{"up to the maximum", file(900*mi, 1000*mi, gi), percent(80, 20, 1100*mi+5), attempt{}, verdict{true, 1100 * mi, ""}},
		{"at the maximum", file(900*mi, 1000*mi, gi), percent(80, 20, 1000*mi), attempt{}, verdict{true, 0, metrics.AtMaximum}},
		{"less than a unit below the maximum", file(900*mi, 1000*mi, gi), percent(80, 20, 1001*mi-1), attempt{}, verdict{true, 0, metrics.AtMaximum}},
		{"beyond the maximum", file(900*mi, 1000*mi, gi), percent(80, 20, 10*mi), attempt{}, verdict{true, 0, metrics.AtMaximum}},
		{"at the maximum and roomy", file(100*mi, 1000*mi, gi), percent(80, 20, 1000*mi), attempt{}, verdict{}},
		{"little room", file(900*mi, 1000*mi, 50*mi+1), percent(80, 20, 0), attempt{}, verdict{true, 1050 * mi, ""}},
		{"no room", file(900*mi, 1000*mi, mi-1), percent(80, 20, 0), attempt{}, verdict{true, 0, metrics.NoHostSpace}},
		{"a device's end", device(900*mi, 1000*mi, 0), percent(80, 20, 0), attempt{}, verdict{true, 0, metrics.Refused}},
		{"a larger device", device(900*mi, 1000*mi, 30*mi), percent(80, 20, 0), attempt{}, verdict{true, 1030 * mi, ""}},
		{"just extended", file(850*mi, 1000*mi, gi), percent(80, 20, 0), ago(time.Second, metrics.Done), verdict{passed: true}},
		{"a minute ago", file(850*mi, 1000*mi, gi), percent(80, 20, 0), ago(time.Minute, metrics.Done), verdict{true, 1200 * mi, ""}},
		{"just extended, nearly full", file(901*mi, 1000*mi, gi), percent(80, 20, 0), ago(time.Second, metrics.Done), verdict{true, 1200 * mi, ""}},
		{"just failed, nearly full", file(990*mi, 1000*mi, gi), percent(80, 20, 0), ago(time.Second, metrics.Failed), verdict{passed: true}},
		{"failed a minute ago", file(990*mi, 1000*mi, gi), percent(80, 20, 0), ago(time.Minute, metrics.Failed), verdict{true, 1440 * mi, ""}},
		{"was at the maximum a moment ago", file(850*mi, 1000*mi, gi), percent(80, 20, 0), attempt{at: now, result: metrics.AtMaximum}, verdict{true, 1200 * mi, ""}},
	} {
		if got := decide(test.s, test.r, test.last, now); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

// Whatever a space is like: it grows in whole units, up to the maximum and the
// room, and below the threshold where those let it.
func TestDecideHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytes := func(name string, least, most units.Bytes) units.Bytes {
			return units.Bytes(rapid.Uint64Range(uint64(least), uint64(most)).Draw(t, name))
		}
		unit := units.Bytes(1) << rapid.IntRange(12, 20).Draw(t, "unit")
		s := space{total: bytes("total", 1, 1<<20) * unit, unit: unit, room: bytes("room", 0, 1<<45), file: rapid.Bool().Draw(t, "file")}
		s.used = bytes("used", 0, s.total)
		r := rule{config.Threshold{Percent: rapid.IntRange(1, 99).Draw(t, "at")}, config.Step{Percent: rapid.IntRange(1, 1000).Draw(t, "step")},
			bytes("maximum", 0, 1<<45), time.Minute}
		v := decide(s, r, attempt{}, time.Unix(1, 0))
		switch {
		case v.passed != r.at.Passed(s.used, s.total):
			t.Fatal("passed is not what the threshold says")
		case !v.passed && v != verdict{}:
			t.Fatalf("%+v, and nothing is low", v)
		case v.passed && (v.to == 0) == (v.blocked == ""):
			t.Fatalf("%+v: neither extended nor blocked, or both", v)
		case v.to == 0:
			return
		case v.to <= s.total || v.to%unit != 0:
			t.Fatalf("%d to %d, in units of %d", s.total, v.to, unit)
		case r.maximum != 0 && v.to > r.maximum, v.to-s.total > s.room:
			t.Fatalf("%d to %d: beyond the maximum %d or the room %d", s.total, v.to, r.maximum, s.room)
		case r.at.Passed(s.used, v.to) && (r.maximum == 0 || v.to+unit <= r.maximum) && v.to-s.total+unit <= s.room:
			t.Fatalf("%d to %d is not enough, and more was possible", s.total, v.to)
		}
	})
}

func TestRoom(t *testing.T) {
	status := func(available, apparent, allocated units.Bytes) thinpool.Status {
		return thinpool.Status{
			Record:   store.Pool{Block: 64 * units.KiB, Reserve: store.Reserve{Host: 5}, Data: store.Backing{Loop: true}, Metadata: store.Backing{Loop: true}},
			Data:     thinpool.Space{Total: apparent, File: &loopback.FileUsage{Apparent: apparent, Allocated: allocated}},
			Metadata: thinpool.Space{Total: gi, File: &loopback.FileUsage{Apparent: gi, Allocated: gi}},
			Host:     &loopback.Space{Total: 100 * gi, Available: available},
		}
	}
	for _, test := range []struct {
		name           string
		s              thinpool.Status
		data, metadata units.Bytes
	}{
		{"nothing promised", status(50*gi, 10*gi, 10*gi), 45 * gi, metadataMost - gi},
		{"holes are promised", status(50*gi, 30*gi, 10*gi), 25 * gi, metadataMost - gi},
		{"more is promised than there is", status(50*gi, 100*gi, 10*gi), 0, 0},
		{"metadata may take of the reserve", status(3*gi, 10*gi, 10*gi), 0, 3*gi - 16*mi},
		{"a full host", status(0, 10*gi, 10*gi), 0, 0},
	} {
		data, metadata := dataSpace(test.s, 0), metadataSpace(test.s, 0)
		if data.room != test.data || metadata.room != test.metadata {
			t.Errorf("%s: room for %s of data and %s of metadata, want %s and %s", test.name, data.room, metadata.room, test.data, test.metadata)
		}
	}
	onDisks := thinpool.Status{Record: store.Pool{Block: mi}, Data: thinpool.Space{Total: 10 * gi}, Metadata: thinpool.Space{Total: gi}}
	if got := dataSpace(onDisks, 12*gi).room; got != 2*gi {
		t.Errorf("a device with 2G more: %s", got)
	}
	if got := dataSpace(onDisks, 0).room; got != 0 {
		t.Errorf("a device that is not there: %s", got)
	}
}

func TestFailWhenFull(t *testing.T) {
	status := func(available units.Bytes, loop, asked bool) thinpool.Status {
		s := thinpool.Status{Record: store.Pool{ErrorIfFull: asked, Reserve: store.Reserve{Host: 5}, Data: store.Backing{Loop: loop}}}
		if loop {
			s.Host = &loopback.Space{Total: 100 * gi, Available: available}
		}
		return s
	}
	for _, test := range []struct {
		name          string
		s             thinpool.Status
		failing, want bool
	}{
		{"room", status(50*gi, true, false), false, false},
		{"made so", status(50*gi, true, true), true, true},
		{"made so, and changed by hand", status(50*gi, true, true), false, true},
		{"the reserve is touched", status(5*gi-1, true, false), false, true},
		{"a little more than the reserve", status(5*gi+1, true, false), false, false},
		{"a little more than the reserve again", status(5*gi+1, true, false), true, true},
		{"room again", status(6*gi, true, false), true, false},
		{"a pool on disks", status(0, false, false), false, false},
		{"a pool on disks that fails", status(0, false, false), true, false},
	} {
		if got := failWhenFull(test.s, test.failing); got != test.want {
			t.Errorf("%s: %t", test.name, got)
		}
	}
}
