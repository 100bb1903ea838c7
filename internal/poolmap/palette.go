package poolmap

import "fmt"

// colour is one as 24 bits and as one near it of the 240 that 256-colour
// terminals agree on.
type colour struct {
	r, g, b uint8
	xterm   uint8
}

func (c colour) hex() string { return fmt.Sprintf("#%02x%02x%02x", c.r, c.g, c.b) }

// The colours stay apart for protan, deutan and tritan eyes as well, and from
// white and near-black; palette_test.go holds them to it.
var (
	volumeColours = [named]colour{
		{0x00, 0x72, 0xb2, 25}, {0xe6, 0x9f, 0x00, 214}, {0xaa, 0x33, 0x77, 125}, {0x99, 0xbb, 0x88, 150},
		{0x5d, 0x3a, 0x9b, 55}, {0x56, 0xb4, 0xe9, 74}, {0xd5, 0x5e, 0x00, 166}, {0x7a, 0x3b, 0x00, 94},
	}
	// otherGreys go by turn, so that neighbours among the other volumes show.
	otherGreys   = [3]colour{{0x7d, 0x7d, 0x7d, 244}, {0x9c, 0x9c, 0x9c, 247}, {0x8c, 0x8c, 0x8c, 245}}
	sharedColour = colour{0xf0, 0xe4, 0x42, 227}
	sharedHatch  = colour{0x9a, 0x8c, 0x00, 100}
	freeLight    = colour{0xec, 0xef, 0xf2, 255}
	freeDark     = colour{0x23, 0x29, 0x31, 235}
	darkPage     = colour{0x12, 0x16, 0x1c, 233}
)
