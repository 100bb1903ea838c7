package layertar

import "thinctl/units"

// Limits bound what a layer may bring; a zero is the default.
type Limits struct {
	Entries int         // 10 million
	Bytes   units.Bytes // 1 TiB: of the uncompressed tar, and again of the files' sizes
	Header  units.Bytes // 8 MiB: one entry's headers
	Path    int         // 4096 bytes in a name or in a link's target
	Kept    units.Bytes // 64 MiB: contents that a later entry of the layer replaces or removes
	Split   units.Bytes // 512 MiB: the split, compressed
}

func (l Limits) orDefaults() Limits {
	if l.Entries == 0 {
		l.Entries = 10_000_000
	}
	if l.Bytes == 0 {
		l.Bytes = units.TiB
	}
	if l.Header == 0 {
		l.Header = 8 * units.MiB
	}
	if l.Path == 0 {
		l.Path = 4096
	}
	if l.Kept == 0 {
		l.Kept = 64 * units.MiB
	}
	if l.Split == 0 {
		l.Split = 512 * units.MiB
	}
	return l
}
