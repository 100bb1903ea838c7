package thinpool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"thinctl/internal/disk"
	"thinctl/units"
)

// markArea is the size of the area for the mark on a data disk, directly behind the
// part that the pool's table maps. It has two blocks, which are written in turn: after
// a torn write, the previous mark is still there.
const (
	markArea  = 2 * markBlock
	markBlock = 4 * units.KiB
)

// mark identifies the pool whose data is on a disk, and the moment of that data. Each
// activation raises the generation, first in the mark and then in the database.
type mark struct {
	Pool        uuid
	Generation  uint64
	Transaction uint64      // the pool's transaction id when the mark was written
	Offset      units.Bytes // of the mark on the disk, which is the size of the pool's data
}

// markSize is the size of an encoded mark: magic, the fields, a checksum.
const markSize = len(disk.DataMark) + 16 + 3*8 + 4

func (m mark) encode() []byte {
	b := append(make([]byte, 0, markBlock), disk.DataMark...)
	b = append(b, m.Pool[:]...)
	for _, v := range []uint64{m.Generation, m.Transaction, uint64(m.Offset)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
	return b[:markBlock]
}

func decodeMark(b []byte) (m mark, ok bool) {
	if len(b) < markSize || !bytes.HasPrefix(b, []byte(disk.DataMark)) {
		return m, false
	}
	body, sum := b[:markSize-4], b[markSize-4:markSize]
	if crc32.Checksum(body, castagnoli()) != binary.LittleEndian.Uint32(sum) {
		return m, false
	}
	fields := body[len(disk.DataMark):]
	copy(m.Pool[:], fields)
	m.Generation = binary.LittleEndian.Uint64(fields[16:])
	m.Transaction = binary.LittleEndian.Uint64(fields[24:])
	m.Offset = units.Bytes(binary.LittleEndian.Uint64(fields[32:]))
	return m, true
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// slot returns the place of the mark of a generation.
func (m mark) slot() units.Bytes {
	return m.Offset + units.Bytes(m.Generation%2)*markBlock
}

// readMark returns the newest mark behind offset bytes of data. found is false if there
// is none, or if the disk is too small for one.
func readMark(from io.ReaderAt, offset units.Bytes) (newest mark, found bool, err error) {
	b := make([]byte, markArea)
	n, err := from.ReadAt(b, int64(offset))
	if err != nil && !errors.Is(err, io.EOF) {
		return mark{}, false, fmt.Errorf("read the mark at %d: %w", uint64(offset), err)
	}
	for at := 0; at+int(markBlock) <= n; at += int(markBlock) {
		m, ok := decodeMark(b[at : at+int(markBlock)])
		if ok && m.Offset == offset && (!found || m.Generation > newest.Generation) {
			newest, found = m, true
		}
	}
	return newest, found, nil
}
