package metrics

import (
	"slices"
	"time"

	"thinctl/units"
)

// Forecaster estimates from the samples of one pool when each space will be full. Its zero
// value is ready to use. It is not safe for concurrent use.
//
// It uses three periods that end now: its whole window, a sixth of it, and a thirtieth. A
// shorter period counts if the growth in it is clearly faster. It shows at once that a
// pool has begun to fill, but a forecast from it reaches no further than 24 times its own
// length. Thus a burst of a minute counts only if it would fill the pool within the hour.
//
// The rate is the growth of the used space. An extension changes the size, and so only
// moves the end. A single jump, such as a trim or a large image, is left out. Repeated
// jumps are part of the pool's use, and count.
type Forecaster struct {
	// Window is the length of the longest period; an hour if zero.
	Window time.Duration

	tracks map[Space]*track
}

const (
	defaultWindow = time.Hour
	// reach is the range of a period's forecast, in multiples of its length. farthest is
	// the range of the whole window's.
	reach    = 24
	farthest = 2 * 365 * 24 * time.Hour
	// minPoints is the number of points in a short period, even if it has to begin earlier.
	minPoints = 8
	// maxPoints bounds the points in a window.
	maxPoints = 512
)

// track holds the used size of a space over time.
type track struct {
	points []point
	size   float64 // of the space, at the last point
}

type point struct {
	at   time.Time
	used float64
}

// Add adds a sample. It ignores the spaces whose sizes the sample does not contain.
func (f *Forecaster) Add(s Sample) {
	if !s.HasStatus() {
		return
	}
	if s.HasKernelStatus() {
		f.add(Data, s.At, s.Status.Data.Used, s.Status.Data.Total)
		f.add(Metadata, s.At, s.Status.Metadata.Used, s.Status.Metadata.Total)
	}
	if host := s.Status.Host; host != nil {
		f.add(Host, s.At, host.Total-min(host.Available, host.Total), host.Total)
	}
}

func (f *Forecaster) window() time.Duration {
	if f.Window > 0 {
		return f.Window
	}
	return defaultWindow
}

func (f *Forecaster) add(space Space, at time.Time, used, size units.Bytes) {
	if f.tracks == nil {
		f.tracks = map[Space]*track{}
	}
	t := f.tracks[space]
	if t == nil {
		t = &track{}
		f.tracks[space] = t
	}
	t.size = float64(size)
	p := point{at: at, used: float64(used)}
	n := len(t.points)
	switch {
	case n > 0 && at.Before(t.points[n-1].at): // the clock was set back
		t.points = append(t.points[:0], p)
		return
	case n > 0 && at.Equal(t.points[n-1].at), n > 1 && at.Sub(t.points[n-2].at) < f.window()/maxPoints:
		t.points[n-1] = p
	default:
		t.points = append(t.points, p)
	}
	old := 0
	for at.Sub(t.points[old].at) > f.window() {
		old++
	}
	t.points = slices.Delete(t.points, 0, old)
}

// Forecast returns the time from now until each space is full. A space is absent if it is
// not filling or if there are too few samples. The map is never nil.
func (f *Forecaster) Forecast(now time.Time) map[Space]time.Duration {
	forecast := map[Space]time.Duration{}
	for space, t := range f.tracks {
		last := t.points[len(t.points)-1]
		since := now.Sub(last.at)
		if since > f.window() {
			continue
		}
		if left, filling := t.left(last, f.window()); filling {
			forecast[space] = max(0, left-max(0, since))
		}
	}
	return forecast
}

// left returns the time from the last point until the space is full.
func (t *track) left(last point, window time.Duration) (left time.Duration, filling bool) {
	free := t.size - last.used
	if free <= 0 {
		return 0, true
	}
	whole := trendOf(t.points, t.size, 0)
	rate := 0.0
	for _, length := range []time.Duration{window, window / 6, window / 30} {
		points := t.period(last.at.Add(-length))
		span := last.at.Sub(points[0].at)
		horizon := min(reach*span, farthest)
		growth := whole
		switch {
		case len(points) < len(t.points):
			growth = trendOf(points, t.size, rate)
			if whole.falls > 1 {
				// The next fall is due before the end of the period.
				horizon = min(horizon, last.at.Sub(t.points[0].at)/time.Duration(whole.falls))
			}
		case span >= window-window/10:
			horizon = farthest
		}
		if growth.filling && free/growth.perSecond <= horizon.Seconds() {
			rate = growth.perSecond
		}
	}
	if rate == 0 {
		return 0, false
	}
	return time.Duration(free / rate * float64(time.Second)), true
}

// period returns the points since a time, but at least the last minPoints.
func (t *track) period(from time.Time) []point {
	compare := func(p point, from time.Time) int { return p.at.Compare(from) }
	begin, _ := slices.BinarySearchFunc(t.points, from, compare)
	return t.points[max(0, min(begin, len(t.points)-minPoints)):]
}
