package crash

import (
	"encoding/binary"
	"errors"
)

const sectorSize = 512

// errForeign means that a sector holds no mark of this place.
var errForeign = errors.New("the sector is no mark of this place")

// putSector fills a sector with a value: every word depends on the value and on the
// sector's place. The value 0 is a sector of zeros.
func putSector(b []byte, value, block, index uint64) {
	for i := range uint64(sectorSize / 8) {
		word := value
		if i > 0 && value != 0 {
			word = mix(value ^ mix(block<<16|index<<8|i))
		}
		binary.LittleEndian.PutUint64(b[i*8:], word)
	}
}

// sector returns the value that putSector has written.
func sector(b []byte, block, index uint64) (uint64, error) {
	value := binary.LittleEndian.Uint64(b)
	var want [sectorSize]byte
	putSector(want[:], value, block, index)
	if string(want[:]) != string(b) {
		return 0, errForeign
	}
	return value, nil
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
