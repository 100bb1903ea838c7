// Package poolmap draws a map of a pool's data blocks: which volume owns each block, which
// blocks are shared, and which are free.
//
// A span is a range of data blocks of one kind, as the caller passes it. A run is the
// longest such range. A cell is the unit of the drawing, and stands for one or more
// blocks. The cells are in the order of their addresses, row after row, so that the
// address of a cell is the row's address plus the column's.
//
// The volumes with the most exclusive blocks have a colour or letter of their own. All
// others are drawn as "other volumes". A cell with several owners is marked as mixed, and
// drawn as their shares where that is possible.
//
// A drawing reads the spans twice. It needs memory for one row and for a few words per
// volume, independent of the size of the device. The same map gives the same bytes. Names
// of volumes are untrusted: control characters in them are replaced.
//
//	m := poolmap.Map{BlockSize: 64 * units.KiB, Blocks: 1024, Owners: names, Spans: layout}
//	err := poolmap.Terminal(os.Stdout, m, poolmap.TerminalOptions{Width: 80, Color: poolmap.TrueColor})
package poolmap
