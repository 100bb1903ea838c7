package poolmap

import "fmt"

// colour is a 24-bit colour, with the nearest of the 240 fixed colours of a 256-colour
// terminal.
type colour struct {
	r, g, b uint8
	xterm   uint8
}

func (c colour) hex() string { return fmt.Sprintf("#%02x%02x%02x", c.r, c.g, c.b) }

// The colours are distinct also for protan, deutan and tritan eyes, and differ from white
// and from near-black. palette_test.go verifies this.
var (
	volumeColours = [named]colour{
		{0x00, 0x72, 0xb2, 25}, {0xe6, 0x9f, 0x00, 214}, {0xaa, 0x33, 0x77, 125}, {0x99, 0xbb, 0x88, 150},
		{0x5d, 0x3a, 0x9b, 55}, {0x56, 0xb4, 0xe9, 74}, {0xd5, 0x5e, 0x00, 166}, {0x7a, 0x3b, 0x00, 94},
	}
	// otherGreys alternate, so that adjacent volumes among the others are distinct.
	otherGreys   = [3]colour{{0x7d, 0x7d, 0x7d, 244}, {0x9c, 0x9c, 0x9c, 247}, {0x8c, 0x8c, 0x8c, 245}}
	sharedColour = colour{0xf0, 0xe4, 0x42, 227}
	sharedHatch  = colour{0x9a, 0x8c, 0x00, 100}
	freeLight    = colour{0xec, 0xef, 0xf2, 255}
	freeDark     = colour{0x23, 0x29, 0x31, 235}
	darkPage     = colour{0x12, 0x16, 0x1c, 233}
)
