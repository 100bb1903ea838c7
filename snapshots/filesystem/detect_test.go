package filesystem

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"thinctl/fault"
)

func TestDetectBytes(t *testing.T) {
	ext4 := func(change func([]byte)) []byte {
		b := make([]byte, 8192)
		binary.LittleEndian.PutUint16(b[1024+56:], 0xef53)
		binary.LittleEndian.PutUint32(b[1024+24:], 2)
		b[1024+104] = 0xaa
		change(b)
		return b
	}
	xfs := func(change func([]byte)) []byte {
		b := make([]byte, 8192)
		copy(b, "XFSB\x00\x00\x10\x00")
		b[32] = 0xaa
		change(b)
		return b
	}
	same := func([]byte) {}
	for name, c := range map[string]struct {
		b    []byte
		want Type
		err  error
	}{
		"nothing":             {nil, "", nil},
		"a short device":      {make([]byte, 512), "", nil},
		"zeros":               {make([]byte, 8192), "", nil},
		"ext4":                {ext4(same), Ext4, nil},
		"ext4, cut off":       {ext4(same)[:1024+57], "", nil},
		"ext4, absurd blocks": {ext4(func(b []byte) { b[1024+24] = 7 }), "", fault.Damaged},
		"an external journal": {ext4(func(b []byte) { b[1024+96] = 8 }), "", nil},
		"xfs":                 {xfs(same), XFS, nil},
		"xfs, blocks of zero": {xfs(func(b []byte) { b[6] = 0 }), "", fault.Damaged},
		"xfs, blocks of 4097": {xfs(func(b []byte) { b[7] = 1 }), "", fault.Damaged},
		"the magics of both":  {xfs(func(b []byte) { b[1024+56], b[1024+57] = 0x53, 0xef }), "", fault.Damaged},
	} {
		t.Run(name, func(t *testing.T) {
			got, id, err := detect(bytes.NewReader(c.b))
			if got != c.want || !errors.Is(err, c.err) || (c.err == nil && err != nil) || (id[0] == 0xaa) != (got != "") {
				t.Errorf("got %q, %v, %v", got, id, err)
			}
		})
	}
}
