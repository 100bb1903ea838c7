package metrics

import (
	"cmp"
	"math"
	"slices"
)

const (
	// trendPoints bounds the points of a trend, whose pairs are all compared.
	trendPoints = 64
	// significance is the smallest surplus of rising over falling pairs that counts, in
	// standard deviations (Mann-Kendall).
	significance = 3
	// minGrowth is the smallest growth that counts, in multiples of the points' typical
	// distance from the line.
	minGrowth = 4
	// A jump differs from the median change by at least jumpFactor times the median
	// deviation, and by at least the space's size divided by jumpDivisor.
	jumpFactor  = 8
	jumpDivisor = 1000
)

// trend is the growth of a space.
type trend struct {
	perSecond float64
	filling   bool // significantly faster than the base
	falls     int  // jumps down
}

// trendOf computes the trend as the median of the slopes of all pairs of points
// (Theil-Sen). Up to a quarter of outliers do not change it. Base is a rate that is known
// already, 0 for none.
func trendOf(points []point, size, base float64) trend {
	xs, ys := coordinates(points)
	cuts, falls := jumps(ys, size)
	t := trend{falls: falls}
	for i := range ys {
		ys[i] -= base * xs[i]
	}
	var slopes []float64
	var rising, variance float64
	begin := 0
	for _, end := range append(cuts, len(xs)) {
		for i := begin; i < end; i++ {
			for j := i + 1; j < end; j++ {
				slopes = append(slopes, (ys[j]-ys[i])/(xs[j]-xs[i]))
				rising += float64(cmp.Compare(ys[j], ys[i]))
			}
		}
		n := float64(end - begin)
		variance += n * (n - 1) * (2*n + 5) / 18
		begin = end
	}
	if len(slopes) == 0 || rising < significance*math.Sqrt(variance) {
		return t
	}
	more := median(slopes)
	t.perSecond = base + more
	t.filling = more > 0 && more*(xs[len(xs)-1]-xs[0]) > minGrowth*residue(xs, ys, cuts, more)
	return t
}

// coordinates returns the seconds and bytes of at most trendPoints of the points, including
// the last one.
func coordinates(points []point) (xs, ys []float64) {
	stride := (len(points) + trendPoints - 1) / trendPoints
	for i := (len(points) - 1) % max(1, stride); i < len(points); i += stride {
		xs = append(xs, points[i].at.Sub(points[0].at).Seconds())
		ys = append(ys, points[i].used)
	}
	return xs, ys
}

// jumps returns the indices of the points after single jumps, and the number of jumps
// down. A jump is single if there is no other in its direction.
func jumps(ys []float64, size float64) (cuts []int, falls int) {
	if len(ys) < 3 {
		return nil, 0
	}
	changes := make([]float64, len(ys)-1)
	for i := range changes {
		changes[i] = ys[i+1] - ys[i]
	}
	usual := median(slices.Clone(changes))
	far := make([]float64, len(changes))
	for i, change := range changes {
		far[i] = math.Abs(change - usual)
	}
	smallest := max(jumpFactor*median(far), size/jumpDivisor)
	var up, down []int
	for i, change := range changes {
		switch {
		case change-usual > smallest:
			up = append(up, i+1)
		case change < 0 && usual-change > smallest:
			down = append(down, i+1)
		}
	}
	for _, direction := range [][]int{up, down} {
		if len(direction) == 1 {
			cuts = append(cuts, direction[0])
		}
	}
	slices.Sort(cuts)
	return cuts, len(down)
}

// residue returns the median distance of the points from lines of a slope, one line for
// each part between cuts.
func residue(xs, ys []float64, cuts []int, slope float64) float64 {
	var all []float64
	begin := 0
	for _, end := range append(cuts, len(xs)) {
		part := make([]float64, end-begin)
		for i := range part {
			part[i] = ys[begin+i] - slope*xs[begin+i]
		}
		middle := median(slices.Clone(part))
		for _, y := range part {
			all = append(all, math.Abs(y-middle))
		}
		begin = end
	}
	return median(all)
}

// median sorts the values, and returns their median.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}
