package metrics

import (
	"cmp"
	"math"
	"slices"
)

const (
	// trendPoints bounds how many points a trend is found of: it compares all
	// pairs.
	trendPoints = 64
	// significance is how many standard deviations the count of rising pairs must
	// be above that of falling ones (Mann-Kendall), and clearly how much more must
	// have come than what is typically beside the line.
	significance = 3
	clearly      = 4
	// A jump is a change that is jump times as far from the usual one as those are
	// from each other, and at least a thousandth of the space.
	jump      = 8
	leastJump = 1000
)

// trend is how fast something grows.
type trend struct {
	perSecond float64
	filling   bool // clearly faster than the base
	falls     int  // jumps down
}

// trendOf finds the trend by the median of the slopes of all pairs of points
// (Theil-Sen), which up to a quarter of odd points leave as it is. Base is a rate
// that is known already, 0 for none.
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
	t.filling = more > 0 && more*(xs[len(xs)-1]-xs[0]) > clearly*residue(xs, ys, cuts, more)
	return t
}

// coordinates are seconds and bytes of at most trendPoints of the points, the
// last among them.
func coordinates(points []point) (xs, ys []float64) {
	stride := (len(points) + trendPoints - 1) / trendPoints
	for i := (len(points) - 1) % max(1, stride); i < len(points); i += stride {
		xs = append(xs, points[i].at.Sub(points[0].at).Seconds())
		ys = append(ys, points[i].used)
	}
	return xs, ys
}

// jumps says before which points to cut, and how many jumps go down. A jump is
// cut where it is the only one in its direction.
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
	least := max(jump*median(far), size/leastJump)
	var up, down []int
	for i, change := range changes {
		switch {
		case change-usual > least:
			up = append(up, i+1)
		case change < 0 && usual-change > least:
			down = append(down, i+1)
		}
	}
	for _, sole := range [][]int{up, down} {
		if len(sole) == 1 {
			cuts = append(cuts, sole[0])
		}
	}
	slices.Sort(cuts)
	return cuts, len(down)
}

// residue is how far from lines of that slope, one for each part, the points
// typically are.
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

// median sorts values. That of an even number is the mean of the two in the
// middle.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}
