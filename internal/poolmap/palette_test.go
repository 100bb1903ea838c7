package poolmap

import (
	"math"
	"testing"
)

// Simulated at full strength after Machado, Oliveira and Fernandes, "A
// Physiologically-based Model for Simulation of Color Vision Deficiency", 2009.
var eyes = map[string][3][3]float64{
	"all cones": {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
	"protan":    {{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}},
	"deutan":    {{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}},
	"tritan":    {{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}},
}

type vector [3]float64

func linear(c colour) (v vector) {
	for i, b := range []uint8{c.r, c.g, c.b} {
		if s := float64(b) / 255; s <= 0.04045 {
			v[i] = s / 12.92
		} else {
			v[i] = math.Pow((s+0.055)/1.055, 2.4)
		}
	}
	return v
}

func times(m [3][3]float64, v vector) (w vector) {
	for i, row := range m {
		w[i] = row[0]*v[0] + row[1]*v[1] + row[2]*v[2]
	}
	return w
}

// perceived returns a colour as an eye perceives it, in Oklab.
func perceived(c colour, eye [3][3]float64) vector {
	v := times(eye, linear(c))
	for i := range v {
		v[i] = min(max(v[i], 0), 1)
	}
	v = times([3][3]float64{
		{0.4122214708, 0.5363325363, 0.0514459929},
		{0.2119034982, 0.6806995451, 0.1073969566},
		{0.0883024619, 0.2817188376, 0.6299787005},
	}, v)
	for i := range v {
		v[i] = math.Cbrt(v[i])
	}
	return times([3][3]float64{
		{0.2104542553, 0.7936177850, -0.0040720468},
		{1.9779984951, -2.4285922050, 0.4505937099},
		{0.0259040371, 0.7827717662, -0.8086757660},
	}, v)
}

func contrast(a, b colour) float64 {
	luminance := func(c colour) float64 { v := linear(c); return 0.2126*v[0] + 0.7152*v[1] + 0.0722*v[2] }
	la, lb := luminance(a), luminance(b)
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

func TestColoursAreDistinct(t *testing.T) {
	all := append(append([]colour{sharedColour}, volumeColours[:]...), otherGreys[:]...)
	xterm := make([]colour, len(all))
	for i, c := range all {
		xterm[i] = xtermColour(c.xterm)
	}
	greys := len(all) - len(otherGreys)
	for palette, colours := range map[string][]colour{"truecolor": all, "256": xterm} {
		for eye, matrix := range eyes {
			for i, a := range colours {
				for j, b := range colours[:i] {
					want := 0.06 // about three just noticeable differences
					if j >= greys {
						want = 0.03
					}
					va, vb := perceived(a, matrix), perceived(b, matrix)
					if got := math.Hypot(math.Hypot(va[0]-vb[0], va[1]-vb[1]), va[2]-vb[2]); got < want {
						t.Errorf("%s, %s: distance of %s and %s: got %.3f, want at least %.3f",
							palette, eye, a.hex(), b.hex(), got, want)
					}
				}
			}
		}
	}
	for _, c := range all[1:] { // shared blocks are hatched
		if l, d := contrast(c, freeLight), contrast(c, freeDark); l < 1.6 || d < 1.6 {
			t.Errorf("contrast of %s with free space: got %.1f light, %.1f dark, want at least 1.6", c.hex(), l, d)
		}
	}
}

func xtermColour(n uint8) colour {
	if n >= 232 {
		v := 8 + 10*(n-232)
		return colour{v, v, v, n}
	}
	level := func(i uint8) uint8 {
		if i == 0 {
			return 0
		}
		return 55 + 40*i
	}
	n -= 16
	return colour{level(n / 36), level(n / 6 % 6), level(n % 6), n}
}
