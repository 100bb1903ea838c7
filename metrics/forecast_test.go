package metrics_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"thinctl/loopback"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

// story feeds a forecaster with a pool whose data are what used and size say,
// and whose metadata are still.
type story struct {
	metrics.Forecaster
	now        time.Time
	used, size float64
}

func newStory(used, size float64) *story {
	return &story{now: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC), used: used, size: size}
}

func (s *story) look(noise float64) {
	seen := units.Bytes(max(0, min(s.used+noise, s.size)))
	s.Add(metrics.Sample{Pool: "vault", At: s.now, Status: thinpool.Status{
		Active:   true,
		Data:     thinpool.Space{Total: units.Bytes(s.size), Used: seen},
		Metadata: thinpool.Space{Total: 16 * units.MiB, Used: units.MiB},
		Host:     &loopback.Space{Total: 100 * units.GiB, Free: 60 * units.GiB, Available: 50 * units.GiB},
	}})
}

// pass lets time go by in steps, after each of which a sample is taken.
func (s *story) pass(total, step time.Duration, perSecond float64, each func()) {
	for end := s.now.Add(total); s.now.Before(end); {
		s.now = s.now.Add(step)
		s.used += perSecond * step.Seconds()
		if each != nil {
			each()
		} else {
			s.look(0)
		}
	}
}

// left is the forecast for the data, +Inf where there is none.
func (s *story) left() float64 {
	forecast := s.Forecast(s.now)
	if left, ok := forecast[metrics.Data]; ok {
		return left.Seconds()
	}
	return math.Inf(1)
}

// within complains where what is forecast is not what comes, give or take.
func within(t interface{ Errorf(string, ...any) }, what string, s *story, want, part float64) {
	if got := s.left(); math.Abs(got-want) > part*want {
		t.Errorf("%s: full in %.0f s is forecast, in truth %.0f s", what, got, want)
	}
}

const gib = float64(units.GiB)

// TestForecastSteady: a pool that fills steadily is full when it is said to be,
// whatever its size, its rate and how often it is looked at, and however late
// one asks.
func TestForecastSteady(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := time.Duration(rapid.IntRange(1, 60).Draw(t, "step")) * time.Second
		days := rapid.Float64Range(0.1, 300).Draw(t, "days")
		s := newStory(0, gib*rapid.Float64Range(1, 10000).Draw(t, "size"))
		s.pass(70*time.Minute, step, s.size/(days*86400), nil)
		left := days*86400 - 70*60
		within(t, "after the window", s, left, 0.02)
		later := rapid.Float64Range(0, 600).Draw(t, "later")
		s.now = s.now.Add(time.Duration(later * float64(time.Second)))
		within(t, "later", s, left-later, 0.02)
	})
}

// TestForecastFast: a pool that begins to fill fast after an hour of rest is told
// within two minutes.
func TestForecastFast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minutes := rapid.Float64Range(5, 40).Draw(t, "minutes")
		s := newStory(50*gib, 100*gib)
		s.pass(time.Hour, 15*time.Second, 0, nil)
		if left := s.left(); !math.IsInf(left, 1) {
			t.Errorf("full in %v s although nothing is written", left)
		}
		s.pass(2*time.Minute, 15*time.Second, 50*gib/(minutes*60), nil)
		within(t, "after two minutes", s, (minutes-2)*60, 0.15)
	})
}

// TestForecastNoise: noise alone never fills a pool, and does not hide what does.
func TestForecastNoise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		width := rapid.Float64Range(0, 0.002).Draw(t, "noise")
		s := newStory(40*gib, 100*gib)
		noisy := func() { s.look(random.NormFloat64() * width * s.size) }
		for range 8 {
			s.pass(15*time.Minute, 15*time.Second, 0, noisy)
			if left := s.left(); !math.IsInf(left, 1) {
				t.Errorf("full in %v s is forecast of noise", left)
			}
		}
		hours := rapid.Float64Range(2, 20).Draw(t, "hours")
		s.pass(time.Hour, 15*time.Second, 60*gib/(hours*3600), noisy)
		s.used = min(s.used, s.size)
		within(t, "with noise", s, (hours-1)*3600, 0.25)
	})
}

// TestForecastJumps: a trim, a large image or both change what is free, not how
// fast it goes.
func TestForecastJumps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStory(30*gib, 200*gib)
		rate := gib * rapid.Float64Range(1, 20).Draw(t, "GiB an hour") / 3600
		trim := rapid.IntRange(10, 45).Draw(t, "trim")
		pull := rapid.IntRange(10, 45).Draw(t, "pull")
		minute := 0
		s.pass(55*time.Minute, 15*time.Second, rate, nil)
		s.pass(55*time.Minute, time.Minute, rate, func() {
			minute++
			if minute == trim {
				s.used -= 20 * gib
			}
			if minute == pull {
				s.used += 40 * gib
			}
			s.look(0)
			if minute < 50 && left(s) < (s.size-s.used)/rate*0.8 {
				t.Errorf("minute %d: full in %.0f s is forecast, in truth %.0f s", minute, left(s), (s.size-s.used)/rate)
			}
		})
		within(t, "after the jumps", s, (s.size-s.used)/rate, 0.1)
	})
}

func left(s *story) float64 { return s.left() }

// TestForecastExtended: extensions move the end, and nothing else.
func TestForecastExtended(t *testing.T) {
	s := newStory(0, 10*gib)
	rate := 30 * gib / 3600
	s.pass(10*time.Minute, 15*time.Second, rate, nil)
	for range 20 {
		s.pass(5*time.Minute, 15*time.Second, rate, func() {
			if s.used > 0.8*s.size {
				s.size += 5 * gib
			}
			s.look(0)
			within(t, "while it is extended", s, (s.size-s.used)/rate, 0.02)
		})
	}
}

// TestForecastSawtooth: a pool that is trimmed again and again before it is full
// does not fill, unless it goes faster than before.
func TestForecastSawtooth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStory(20*gib, 100*gib)
		period := rapid.IntRange(4, 20).Draw(t, "minutes")
		tooth := gib * rapid.Float64Range(2, 15).Draw(t, "tooth")
		rate := tooth / (float64(period) * 60)
		minute := 0
		s.pass(3*time.Hour, time.Minute, rate, func() {
			if minute++; minute%period == 0 {
				s.used -= tooth
			}
			s.look(0)
			if minute < 60 || minute%3 != 0 {
				return
			}
			if got := s.left(); !math.IsInf(got, 1) {
				t.Errorf("minute %d: full in %.0f s is forecast of a pool that is trimmed every %d minutes", minute, got, period)
			}
		})
		s.pass(8*time.Minute, 15*time.Second, 80*gib/600, nil)
		within(t, "when it goes wild", s, (s.size-s.used)/(80*gib/600), 0.3)
	})
}

// TestForecastKnowsNothing: there is no forecast of a pool that rests or shrinks,
// of the first samples, of an inactive pool, and none that is old.
func TestForecastKnowsNothing(t *testing.T) {
	none := func(what string, s *story) {
		t.Helper()
		if got := s.left(); !math.IsInf(got, 1) {
			t.Errorf("%s: full in %v s", what, got)
		}
	}
	s := newStory(gib, 10*gib)
	none("no sample", s)
	s.pass(45*time.Second, 15*time.Second, 1e6, nil)
	none("three samples", s)
	s.pass(time.Hour, 15*time.Second, 1e5, nil)
	if s.left() == math.Inf(1) {
		t.Error("nothing is forecast of a pool that fills")
	}
	s.now = s.now.Add(2 * time.Hour)
	none("two hours without a sample", s)

	s = newStory(9*gib, 10*gib)
	s.pass(2*time.Hour, 15*time.Second, -1e5, nil)
	none("it shrinks", s)

	s = newStory(9*gib, 10*gib)
	for range 100 {
		s.now = s.now.Add(time.Minute)
		s.Add(metrics.Sample{Pool: "vault", At: s.now, Status: thinpool.Status{Data: thinpool.Space{Total: units.GiB}}})
		s.Add(metrics.Sample{Pool: "vault", At: s.now, Err: thinpool.ErrNotFound})
	}
	none("it is inactive", s)
}

// TestForecastFull: a full pool is full now, and a clock that is set back begins
// anew.
func TestForecastFull(t *testing.T) {
	s := newStory(10*gib, 10*gib)
	s.look(0)
	if got := s.left(); got != 0 {
		t.Errorf("a full pool is full in %v s", got)
	}
	s = newStory(gib, 10*gib)
	s.pass(time.Hour, 15*time.Second, 1e5, nil)
	s.now = s.now.Add(-24 * time.Hour)
	s.pass(time.Hour, 15*time.Second, 1e5, nil)
	within(t, "after the clock was set back", s, (s.size-s.used)/1e5, 0.01)
	forecast := s.Forecast(s.now)
	if _, ok := forecast[metrics.Metadata]; ok || forecast == nil {
		t.Errorf("metadata that stand still are forecast: %v", forecast)
	}
}
