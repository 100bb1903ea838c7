package imagetest

import (
	"fmt"
	"math"
)

// MB is the unit of Docker's output, in which the sizes of the experiments are given.
const MB = 1000 * 1000

// SeedOptions set the size of the two images. The zero value is the full size.
type SeedOptions struct {
	Scale        int64 // layers are 1/Scale of the text's; 0 is 1
	Compressible bool  // half of the files are text
}

// Sizes of the layers in the experiments, in tenths of MB.
var (
	seedOne = []int64{0, 1989, 2, 0, 0, 378, 0}
	seedTwo = []int64{0, 1009, 2, 0, 710}
)

// Seeds returns the two images of the acceptance experiments. They share the
// base, which is empty; their other layers have nothing in common.
func Seeds(o SeedOptions) (one, two Image) {
	return seedImage("one", 1, seedOne, o), seedImage("two", 2, seedTwo, o)
}

func seedImage(name string, seed uint64, sizes []int64, o SeedOptions) Image {
	b := newBuilder(seed)
	scale := max(o.Scale, 1)
	for n, tenths := range sizes {
		// A layer of size 0 is a layer without entries, as in Docker 1.2.
		if tenths > 0 {
			b.fill(fmt.Sprintf("usr/share/%s-%d", name, n), tenths*MB/10/scale, o.Compressible)
		}
		b.end(fmt.Sprintf("/bin/sh -c #(nop) step %d of image %s", n, name))
	}
	return Image{
		Names:  []string{"thinctl/" + name + ":latest"},
		Author: "thinctl <thinctl@example.org>",
		Config: Config{
			Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Cmd: []string{"/bin/sh"},
		},
		Layers: b.layers,
	}
}

// fill creates files of exactly the given total size below a directory. Most files are
// small, and most bytes are in large files, as in a distribution.
func (b *builder) fill(dir string, bytes int64, compressible bool) {
	for n := 0; bytes > 0; n++ {
		low, high := 100.0, 32.0*1024
		if b.random.IntN(100) < 15 {
			low, high = high, 1024*1024
		}
		size := min(bytes, int64(low*math.Pow(high/low, b.random.Float64())))
		c := Content{Kind: Random, Size: size, Seed: b.random.Uint64()}
		if compressible && n%2 == 1 {
			c.Kind = Text
		}
		b.file(fmt.Sprintf("%s/d%03d/file-%05d", dir, n/50, n), 0o644, c)
		bytes -= size
	}
}

// Plain returns an image with one layer of the given size, with files as in a distribution.
func Plain(name string, bytes int64, seed uint64) Image {
	b := newBuilder(seed)
	b.fill("srv", bytes, true)
	b.end("ADD " + name + " /")
	return Image{Names: []string{name + ":latest"}, Layers: b.layers}
}
