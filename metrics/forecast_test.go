package metrics_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"thinctl/fault"
	"thinctl/loopback"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

// filling feeds a forecaster with samples of a pool whose data fills and whose metadata
// does not change.
type filling struct {
	metrics.Forecaster
	now        time.Time
	used, size float64
}

func newFilling(used, size float64) *filling {
	return &filling{now: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC), used: used, size: size}
}

func (s *filling) sample(noise float64) {
	used := units.Bytes(max(0, min(s.used+noise, s.size)))
	s.Add(metrics.Sample{Pool: "vault", At: s.now, Status: thinpool.Status{
		Active:   true,
		Data:     thinpool.Space{Total: units.Bytes(s.size), Used: used},
		Metadata: thinpool.Space{Total: 16 * units.MiB, Used: units.MiB},
		Host:     &loopback.Space{Total: 100 * units.GiB, Free: 60 * units.GiB, Available: 50 * units.GiB},
	}})
}

// advance moves the time forward in steps, and calls each, or takes a sample, after each.
func (s *filling) advance(total, step time.Duration, perSecond float64, each func()) {
	for end := s.now.Add(total); s.now.Before(end); {
		s.now = s.now.Add(step)
		s.used += perSecond * step.Seconds()
		if each != nil {
			each()
		} else {
			s.sample(0)
		}
	}
}

// left returns the forecast for the data in seconds, +Inf if there is none.
func (s *filling) left() float64 {
	forecast := s.Forecast(s.now)
	if left, ok := forecast[metrics.Data]; ok {
		return left.Seconds()
	}
	return math.Inf(1)
}

// expectForecast checks the forecast with a relative tolerance.
func expectForecast(
	t interface{ Errorf(string, ...any) }, what string, s *filling, want, tolerance float64,
) {
	if got := s.left(); math.Abs(got-want) > tolerance*want {
		t.Errorf("%s: got full in %.0f s, want %.0f s", what, got, want)
	}
}

const gib = float64(units.GiB)

// The forecast for a pool that fills steadily is right for any size, rate and interval,
// also some time after the last sample.
func TestForecastSteady(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := time.Duration(rapid.IntRange(1, 60).Draw(t, "step")) * time.Second
		days := rapid.Float64Range(0.1, 300).Draw(t, "days")
		s := newFilling(0, gib*rapid.Float64Range(1, 10000).Draw(t, "size"))
		s.advance(70*time.Minute, step, s.size/(days*86400), nil)
		left := days*86400 - 70*60
		expectForecast(t, "after the window", s, left, 0.02)
		later := rapid.Float64Range(0, 600).Draw(t, "later")
		s.now = s.now.Add(time.Duration(later * float64(time.Second)))
		expectForecast(t, "later", s, left-later, 0.02)
	})
}

// There is a forecast two minutes after a pool has begun to fill fast.
func TestForecastFast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minutes := rapid.Float64Range(5, 40).Draw(t, "minutes")
		s := newFilling(50*gib, 100*gib)
		s.advance(time.Hour, 15*time.Second, 0, nil)
		if left := s.left(); !math.IsInf(left, 1) {
			t.Errorf("without writes: got full in %v s, want no forecast", left)
		}
		s.advance(2*time.Minute, 15*time.Second, 50*gib/(minutes*60), nil)
		expectForecast(t, "after two minutes", s, (minutes-2)*60, 0.15)
	})
}

// Noise alone leads to no forecast, and hardly changes one.
func TestForecastNoise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		width := rapid.Float64Range(0, 0.002).Draw(t, "noise")
		s := newFilling(40*gib, 100*gib)
		noisy := func() { s.sample(random.NormFloat64() * width * s.size) }
		for range 8 {
			s.advance(15*time.Minute, 15*time.Second, 0, noisy)
			if left := s.left(); !math.IsInf(left, 1) {
				t.Errorf("noise: got full in %v s, want no forecast", left)
			}
		}
		hours := rapid.Float64Range(2, 20).Draw(t, "hours")
		s.advance(time.Hour, 15*time.Second, 60*gib/(hours*3600), noisy)
		s.used = min(s.used, s.size)
		expectForecast(t, "with noise", s, (hours-1)*3600, 0.25)
	})
}

// A trim, a large image or both change the free space, but not the rate.
func TestForecastJumps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newFilling(30*gib, 200*gib)
		rate := gib * rapid.Float64Range(1, 20).Draw(t, "GiB an hour") / 3600
		trim := rapid.IntRange(10, 45).Draw(t, "trim")
		pull := rapid.IntRange(10, 45).Draw(t, "pull")
		minute := 0
		s.advance(55*time.Minute, 15*time.Second, rate, nil)
		s.advance(55*time.Minute, time.Minute, rate, func() {
			minute++
			if minute == trim {
				s.used -= 20 * gib
			}
			if minute == pull {
				s.used += 40 * gib
			}
			s.sample(0)
			if minute < 50 && left(s) < (s.size-s.used)/rate*0.8 {
				t.Errorf("minute %d: got full in %.0f s, want %.0f s", minute, left(s), (s.size-s.used)/rate)
			}
		})
		expectForecast(t, "after the jumps", s, (s.size-s.used)/rate, 0.1)
	})
}

func left(s *filling) float64 { return s.left() }

// An extension moves the end, but does not change the rate.
func TestForecastExtended(t *testing.T) {
	s := newFilling(0, 10*gib)
	rate := 30 * gib / 3600
	s.advance(10*time.Minute, 15*time.Second, rate, nil)
	for range 20 {
		s.advance(5*time.Minute, 15*time.Second, rate, func() {
			if s.used > 0.8*s.size {
				s.size += 5 * gib
			}
			s.sample(0)
			expectForecast(t, "while it is extended", s, (s.size-s.used)/rate, 0.02)
		})
	}
}

// A pool that is trimmed regularly before it is full has no forecast, unless it fills
// faster than before.
func TestForecastSawtooth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newFilling(20*gib, 100*gib)
		period := rapid.IntRange(4, 20).Draw(t, "minutes")
		tooth := gib * rapid.Float64Range(2, 15).Draw(t, "tooth")
		rate := tooth / (float64(period) * 60)
		minute := 0
		s.advance(3*time.Hour, time.Minute, rate, func() {
			if minute++; minute%period == 0 {
				s.used -= tooth
			}
			s.sample(0)
			if minute < 60 || minute%3 != 0 {
				return
			}
			if got := s.left(); !math.IsInf(got, 1) {
				t.Errorf("minute %d, trimmed every %d minutes: got full in %.0f s, want no forecast", minute, period, got)
			}
		})
		s.advance(8*time.Minute, 15*time.Second, 80*gib/600, nil)
		expectForecast(t, "when it fills faster", s, (s.size-s.used)/(80*gib/600), 0.3)
	})
}

// There is no forecast for a pool that does not change or shrinks, from the first samples,
// for an inactive pool, and long after the last sample.
func TestNoForecast(t *testing.T) {
	none := func(what string, s *filling) {
		t.Helper()
		if got := s.left(); !math.IsInf(got, 1) {
			t.Errorf("%s: got full in %v s, want no forecast", what, got)
		}
	}
	s := newFilling(gib, 10*gib)
	none("no sample", s)
	s.advance(45*time.Second, 15*time.Second, 1e6, nil)
	none("three samples", s)
	s.advance(time.Hour, 15*time.Second, 1e5, nil)
	if s.left() == math.Inf(1) {
		t.Error("a pool that fills: got no forecast, want one")
	}
	s.now = s.now.Add(2 * time.Hour)
	none("two hours without a sample", s)

	s = newFilling(9*gib, 10*gib)
	s.advance(2*time.Hour, 15*time.Second, -1e5, nil)
	none("it shrinks", s)

	s = newFilling(9*gib, 10*gib)
	for range 100 {
		s.now = s.now.Add(time.Minute)
		s.Add(metrics.Sample{Pool: "vault", At: s.now, Status: thinpool.Status{Data: thinpool.Space{Total: units.GiB}}})
		s.Add(metrics.Sample{Pool: "vault", At: s.now, Err: fault.NotFound})
	}
	none("it is inactive", s)
}

// The forecast for a full pool is 0. A clock that is set back starts a new window.
func TestForecastFull(t *testing.T) {
	s := newFilling(10*gib, 10*gib)
	s.sample(0)
	if got := s.left(); got != 0 {
		t.Errorf("a full pool: got full in %v s, want 0", got)
	}
	s = newFilling(gib, 10*gib)
	s.advance(time.Hour, 15*time.Second, 1e5, nil)
	s.now = s.now.Add(-24 * time.Hour)
	s.advance(time.Hour, 15*time.Second, 1e5, nil)
	expectForecast(t, "after the clock was set back", s, (s.size-s.used)/1e5, 0.01)
	forecast := s.Forecast(s.now)
	if _, ok := forecast[metrics.Metadata]; ok || forecast == nil {
		t.Errorf("metadata that does not change: got %v, want no forecast", forecast)
	}
}
