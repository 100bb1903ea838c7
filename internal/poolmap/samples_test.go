package poolmap

import (
	"fmt"
	"math/rand/v2"

	"thinctl/units"
)

// sampleMaps returns typical pools, the same in each run.
func sampleMaps() map[string]Map {
	small := Map{BlockSize: 64 * units.KiB, Blocks: 1024, Owners: []string{"web", "db", "cache"}}
	small.Spans = spansOf(
		Span{0, 200, Shared, 0}, Span{200, 96, Exclusive, 0}, Span{296, 180, Exclusive, 1}, Span{476, 4, Free, 0},
		Span{480, 31, Exclusive, 0}, Span{511, 1, Exclusive, 2}, Span{512, 70, Exclusive, 1}, Span{582, 18, Shared, 0},
		Span{600, 2, Exclusive, 2}, Span{602, 2, Exclusive, 1}, Span{604, 2, Exclusive, 2}, Span{606, 34, Exclusive, 1},
		Span{640, 60, Free, 0}, Span{700, 5, Exclusive, 2}, Span{705, 319, Free, 0})
	empty := Map{BlockSize: 64 * units.KiB, Blocks: 163840}
	empty.Spans = spansOf(Span{0, 163840, Free, 0})
	return map[string]Map{
		"empty": empty,
		"64M":   small,
		"100G":  aged(100*units.GiB, 64*units.KiB, 40, 0.72, 180),
		"16T":   aged(16*units.TiB, 512*units.KiB, 1000, 0.81, 900),
	}
}

func spansOf(spans ...Span) func(func(Span) error) error {
	return func(visit func(Span) error) error {
		for _, s := range spans {
			if err := visit(s); err != nil {
				return err
			}
		}
		return nil
	}
}

// aged returns a pool after some time of use: base layers that many volumes share, volumes
// that were written concurrently, holes of removed volumes, and an unused end.
func aged(size, block units.Bytes, volumes int, used float64, burst int) Map {
	m := Map{BlockSize: block, Blocks: uint64(size / block)}
	for i := range volumes {
		m.Owners = append(m.Owners, fmt.Sprintf("%s-%03d", []string{"web", "db", "ci", "build", "mail"}[i%5], i))
	}
	m.Spans = func(visit func(Span) error) error {
		r := rand.New(rand.NewPCG(7, uint64(volumes)))
		zipf := rand.NewZipf(r, 1.2, 30, uint64(volumes-1))
		end := uint64(float64(m.Blocks) * used)
		active := make([]int, 3)
		for at, turn := uint64(0), 0; at < m.Blocks; turn++ {
			s := Span{Begin: at, Blocks: m.Blocks - at}
			if at < end {
				if turn%60 == 0 {
					for i := range active {
						active[i] = int(zipf.Uint64())
					}
				}
				s.Blocks = min(1+uint64(r.ExpFloat64()*float64(burst)), s.Blocks)
				switch p := r.Float64(); {
				case p < 0.12 && turn%60 > 30:
				case p < 0.3 || turn%400 < 40:
					s.Kind = Shared
				default:
					s.Kind, s.Owner = Exclusive, active[r.IntN(len(active))]
				}
			}
			if err := visit(s); err != nil {
				return err
			}
			at += s.Blocks
		}
		return nil
	}
	return m
}
