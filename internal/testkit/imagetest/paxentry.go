package imagetest

import (
	"bytes"
	"fmt"
	"strings"
)

// RawHeader holds the fields of a tar header that archive/tar does not write.
type RawHeader struct {
	Name, Link string
	Type       byte
	Size       int64
	Mode       int64
	V7         bool // without the magic of POSIX
}

// Member returns a tar member with this header and data, padded to whole blocks.
func (h RawHeader) Member(data []byte) []byte {
	var head [tarBlock]byte
	copy(head[0:100], h.Name)
	octal(head[100:108], h.Mode)
	octal(head[108:116], 0)
	octal(head[116:124], 0)
	octal(head[124:136], h.Size)
	octal(head[136:148], epoch.Unix())
	head[156] = h.Type
	copy(head[157:257], h.Link)
	if !h.V7 {
		copy(head[257:], "ustar\x0000")
	}
	copy(head[148:156], "        ")
	sum := 0
	for _, b := range head {
		sum += int(b)
	}
	copy(head[148:156], fmt.Sprintf("%06o\x00 ", sum))
	out := append(head[:], data...)
	return append(out, make([]byte, (tarBlock-len(data)%tarBlock)%tarBlock)...)
}

// PAXMember returns an extended header with records, alternating key and value, and a
// member after it.
func PAXMember(h RawHeader, data []byte, records ...string) []byte {
	var text bytes.Buffer
	for i := 0; i+1 < len(records); i += 2 {
		text.WriteString(paxRecord(records[i], records[i+1]))
	}
	x := RawHeader{Name: "PaxHeaders/" + h.Name[:min(len(h.Name), 80)], Type: 'x', Size: int64(text.Len()), Mode: 0o644}
	return append(x.Member(text.Bytes()), h.Member(data)...)
}

// paxRecord returns "LENGTH KEY=VALUE\n", where the length includes its own digits.
func paxRecord(key, value string) string {
	for size := len(key) + len(value) + 3; ; size++ {
		if s := fmt.Sprintf("%d %s=%s\n", size, key, value); len(s) == size {
			return s
		}
	}
}

// EndOfTar holds the two blocks of zeros at the end of a tar.
func EndOfTar() []byte { return []byte(strings.Repeat("\x00", 2*tarBlock)) }
