package metadata

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzDevices writes bytes into a sound image and corrects all checksums, so that other
// checks are reached. A patch is block, offset (2 bytes), value.
func FuzzDevices(f *testing.F) {
	f.Add([]byte{}, uint8(20), false)
	f.Add([]byte{1, 16, 0, 255, 1, 17, 0, 255}, uint8(20), false)  // entries
	f.Add([]byte{1, 23, 0, 8, 1, 20, 0, 1}, uint8(3), false)       // max
	f.Add([]byte{8, 24, 0, 24, 11, 4, 0, 2}, uint8(20), false)     // value size, flags
	f.Add([]byte{8, 0, 8, 11, 11, 0, 8, 11}, uint8(20), false)     // children
	f.Add([]byte{1, 39, 0, 255, 0, 72, 1, 255}, uint8(20), true)   // keys, the root
	f.Add([]byte{0, 192, 0, 0, 0, 199, 0, 255}, uint8(200), false) // the space map's size
	f.Fuzz(func(t *testing.T, patches []byte, count uint8, cut bool) {
		m := newImage(someDevices(int(count)), 3)
		blocks := uint64(len(m.b) / blockSize)
		for ; len(patches) >= 4; patches = patches[4:] {
			m.block(uint64(patches[0]) % blocks)[binary.LittleEndian.Uint16(patches[1:])%4096] = patches[3]
		}
		setChecksum(m.block(0), superblockSalt)
		for n := uint64(1); n < blocks; n++ {
			setChecksum(m.block(n), nodeSalt)
		}
		if cut {
			m.b = m.b[:len(m.b)-blockSize/2]
		}
		devices, err := read(m.reader())
		if err != nil {
			return
		}
		if most := 126 * int(blocks); len(devices) > most {
			t.Fatalf("got %d devices from %d blocks", len(devices), blocks)
		}
		for i := 1; i < len(devices); i++ {
			if devices[i].ID <= devices[i-1].ID {
				t.Fatalf("got device %d after device %d", devices[i].ID, devices[i-1].ID)
			}
		}
	})
}

// FuzzSuperblock reads any bytes as a device, as they are and with a correct checksum.
func FuzzSuperblock(f *testing.F) {
	m := newImage(someDevices(7), 3)
	f.Add(m.b)
	f.Add(m.b[:blockSize])
	f.Add(make([]byte, blockSize))
	f.Add([]byte("XFSB"))
	f.Fuzz(func(t *testing.T, b []byte) {
		read(bytes.NewReader(b))
		if len(b) < blockSize {
			return
		}
		b = bytes.Clone(b) // the fuzzer keeps its own
		setChecksum(b[:blockSize], superblockSalt)
		read(bytes.NewReader(b))
		HeldRoot(bytes.NewReader(b), 1)
	})
}
