package metrics

import (
	"slices"
	"time"

	"thinctl/units"
)

// Forecaster tells from the samples of one pool how long each space will last.
// Its zero value works. It is not safe for concurrent use.
//
// It looks at three stretches that end now: all of its window, a sixth of it and
// a thirtieth. A shorter one counts where it clearly goes faster: it sees at once
// that a pool has begun to fill, but may not predict far, no further than 24
// times its own length. So a minute's burst is told where it would fill the pool
// within the hour, and else not.
//
// The rate is that of what is used, so that extensions, which change the size,
// only move the end. A single jump, as of a trim or of a large image, is an event
// and is left out; jumps that come again belong to how the pool is used, and
// what counts is what they come to.
type Forecaster struct {
	// Window is how far back it looks; an hour where zero.
	Window time.Duration

	tracks map[Space]*track
}

const (
	defaultWindow = time.Hour
	// reach is how far a stretch predicts, in its own lengths, and farthest how
	// far the whole window does.
	reach    = 24
	farthest = 2 * 365 * 24 * time.Hour
	// leastPoints is what a short stretch has, though it reach back further.
	leastPoints = 8
	// most is how many points of a window are kept.
	most = 512
)

// track is what was used of a space over time.
type track struct {
	points []point
	size   float64 // at the last
}

type point struct {
	at   time.Time
	used float64
}

// Add takes a sample in. What it does not know is left out.
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
	case n > 0 && at.Equal(t.points[n-1].at), n > 1 && at.Sub(t.points[n-2].at) < f.window()/most:
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

// Forecast says for each space that is filling how long it takes from now on
// until it is full. A space that is not filling, or of which too little is known,
// is absent. The map is never nil.
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

// left is the time from the last point on until the space is full.
func (t *track) left(last point, window time.Duration) (left time.Duration, filling bool) {
	free := t.size - last.used
	if free <= 0 {
		return 0, true
	}
	whole := trendOf(t.points, t.size, 0)
	rate := 0.0
	for _, length := range []time.Duration{window, window / 6, window / 30} {
		points := t.stretch(last.at.Add(-length))
		span := last.at.Sub(points[0].at)
		horizon := min(reach*span, farthest)
		growth := whole
		switch {
		case len(points) < len(t.points):
			growth = trendOf(points, t.size, rate)
			if whole.falls > 1 {
				// Before that is over, the next fall is due.
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

// stretch returns the points from then on, or the last few if they are too few.
func (t *track) stretch(from time.Time) []point {
	begin, _ := slices.BinarySearchFunc(t.points, from, func(p point, from time.Time) int { return p.at.Compare(from) })
	return t.points[max(0, min(begin, len(t.points)-leastPoints)):]
}
