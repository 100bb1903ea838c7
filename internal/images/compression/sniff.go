package compression

import "bytes"

// Kind is the compression of a stream.
type Kind string

// The kinds that Sniff finds. Lzip and LZ4 cannot be uncompressed.
const (
	Plain Kind = ""
	Gzip  Kind = "gzip"
	Zstd  Kind = "zstd"
	Xz    Kind = "xz"
	Bzip2 Kind = "bzip2"
	Lzip  Kind = "lzip"
	LZ4   Kind = "lz4"
)

// SniffLength is the number of bytes that Sniff needs: the length of a tar header.
const SniffLength = 512

var magics = []struct {
	kind  Kind
	magic string
}{
	{Gzip, "\x1f\x8b\x08"},
	{Zstd, "\x28\xb5\x2f\xfd"},
	{Xz, "\xfd7zXZ\x00"},
	{Bzip2, "BZh"},
	{Lzip, "LZIP"},
	{LZ4, "\x04\x22\x4d\x18"},
}

// Sniff returns the compression of a stream that begins with head.
func Sniff(head []byte) Kind {
	// The name of a tar's first entry may begin with a magic number.
	if len(head) >= 262 && string(head[257:262]) == "ustar" {
		return Plain
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.kind
		}
	}
	// zstd's seekable format begins with a skippable frame (RFC 8878, 3.1.2).
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18}) {
		return Zstd
	}
	return Plain
}
