// Package poolmap draws a pool's data device as a map of its blocks: whose each
// is, which are shared, which are free.
//
// Words: a span is a stretch of data blocks of one kind, as the caller found
// it; a run is the longest such stretch; a cell is the unit of the drawing and
// stands for one or more blocks. Cells lie row after row in the order of their
// addresses, so that any address can be found: row address plus column.
//
// The volumes with the most exclusive blocks have a colour or a letter of their
// own, the rest are drawn as "other volumes". A cell of several owners is drawn
// as their shares where the medium can, and is always marked as mixed.
//
// A drawing reads the spans twice and holds one row and a few words per
// volume, whatever the size of the device; the same map gives the same bytes.
// Names are taken for text that anyone may have written: what a terminal or an
// SVG reader would obey is replaced.
//
//	m := poolmap.Map{BlockSize: 64 * units.KiB, Blocks: 1024, Owners: names, Spans: layout}
//	err := poolmap.Terminal(os.Stdout, m, poolmap.TerminalOptions{Width: 80, Color: poolmap.TrueColor})
package poolmap
