package metadata

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// image is a metadata device in memory. It has a superblock and a tree of details, and no space
// maps.
type image struct{ b []byte }

func (m *image) block(n uint64) []byte { return m.b[n*uint64(blockSize):][:blockSize] }

func (m *image) reader() *bytes.Reader { return bytes.NewReader(m.b) }

func (m *image) grow() uint64 {
	m.b = append(m.b, make([]byte, blockSize)...)
	return uint64(len(m.b)/blockSize - 1)
}

// newImage builds the tree with at most fill entries in a node, so that small images have high
// trees.
func newImage(devices []Device, fill int) *image {
	m := &image{}
	m.grow()
	type ref struct{ key, block uint64 }
	var level []ref
	for start := 0; start < len(devices) || start == 0; start += fill {
		part := devices[start:min(start+fill, len(devices))]
		n := m.grow()
		m.node(n, flagLeaf, len(part), 126, detailsSize)
		for i, d := range part {
			m.setKey(n, i, uint64(d.ID))
			encodeDevice(m.block(n)[nodeHeader+8*126+detailsSize*i:], d)
		}
		first := uint64(0)
		if len(part) > 0 {
			first = uint64(part[0].ID)
		}
		level = append(level, ref{first, n})
		setChecksum(m.block(n), nodeSalt)
	}
	for len(level) > 1 {
		var above []ref
		for start := 0; start < len(level); start += fill {
			part := level[start:min(start+fill, len(level))]
			n := m.grow()
			m.node(n, flagInternal, len(part), 252, 8)
			for i, child := range part {
				m.setKey(n, i, child.key)
				m.setChild(n, i, child.block)
			}
			above = append(above, ref{part[0].key, n})
			setChecksum(m.block(n), nodeSalt)
		}
		level = above
	}
	m.superblock(0, level[0].block)
	return m
}

func (m *image) superblock(n, details uint64) {
	le, b := binary.LittleEndian, m.block(n)
	le.PutUint64(b[offBlock:], n)
	le.PutUint64(b[offMagic:], superblockMagic)
	le.PutUint32(b[offVersion:], 2)
	le.PutUint64(b[offDetailsRoot:], details)
	le.PutUint32(b[offDataBlockSize:], 128)
	le.PutUint32(b[offMetadataBlockSize:], 8)
	if n == 0 {
		le.PutUint64(b[offMetadataSpaceMap:], uint64(len(m.b)/blockSize))
	}
	setChecksum(b, superblockSalt)
}

func (m *image) node(n uint64, flags uint32, entries, most, value int) {
	le, b := binary.LittleEndian, m.block(n)
	le.PutUint32(b[4:], flags)
	le.PutUint64(b[8:], n)
	le.PutUint32(b[16:], uint32(entries))
	le.PutUint32(b[20:], uint32(most))
	le.PutUint32(b[24:], uint32(value))
}

func (m *image) setKey(n uint64, i int, key uint64) {
	binary.LittleEndian.PutUint64(m.block(n)[nodeHeader+8*i:], key)
}

func (m *image) setChild(n uint64, i int, child uint64) {
	binary.LittleEndian.PutUint64(m.block(n)[nodeHeader+8*252+8*i:], child)
}

func encodeDevice(b []byte, d Device) {
	le := binary.LittleEndian
	le.PutUint64(b, d.MappedBlocks)
	le.PutUint64(b[8:], d.TransactionID)
	le.PutUint32(b[16:], d.CreationTime)
	le.PutUint32(b[20:], d.SnapshottedTime)
}

func someDevices(n int) []Device {
	var devices []Device
	for i := range n {
		devices = append(devices, Device{
			ID: uint32(3*i + 1), MappedBlocks: uint64(i) << 33, TransactionID: uint64(i) + 5,
			CreationTime: uint32(i), SnapshottedTime: uint32(2 * i),
		})
	}
	return devices
}

func writeFile(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
