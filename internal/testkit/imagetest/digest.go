package imagetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
)

// digester hashes a file's content. It only counts the blocks of zeros.
type digester struct {
	hash  hash.Hash
	part  []byte // of a block that is not complete yet
	empty uint64 // zero blocks since the last block with data
	size  int64
}

var zeroBlock [holeBlock]byte

func newDigester() *digester {
	return &digester{hash: sha256.New(), part: make([]byte, 0, holeBlock)}
}

func (d *digester) Write(p []byte) (int, error) {
	written := len(p)
	d.size += int64(written)
	for len(p) > 0 {
		if len(d.part) == 0 && len(p) >= holeBlock {
			d.block(p[:holeBlock])
			p = p[holeBlock:]
			continue
		}
		n := min(holeBlock-len(d.part), len(p))
		d.part = append(d.part, p[:n]...)
		p = p[n:]
		if len(d.part) == holeBlock {
			d.block(d.part)
			d.part = d.part[:0]
		}
	}
	return written, nil
}

// copy writes generated content, whose readers return no error.
func (d *digester) copy(r io.Reader) {
	if _, err := io.Copy(d, r); err != nil {
		panic(err)
	}
}

// skip does the same as a Write of zeros.
func (d *digester) skip(n int64) {
	if len(d.part) > 0 {
		fill := min(n, int64(holeBlock-len(d.part)))
		_, _ = d.Write(zeroBlock[:fill])
		n -= fill
	}
	d.empty += uint64(n / holeBlock)
	d.size += n / holeBlock * holeBlock
	_, _ = d.Write(zeroBlock[:n%holeBlock])
}

func (d *digester) block(p []byte) {
	if bytes.Equal(p, zeroBlock[:len(p)]) {
		d.empty++
		return
	}
	d.endRun()
	d.hash.Write(p)
}

// endRun hashes the length of the run of zero blocks before a block. It does so for a
// length of 0 too, so that different contents have different digests.
func (d *digester) endRun() {
	var count [8]byte
	binary.LittleEndian.PutUint64(count[:], d.empty)
	d.hash.Write(count[:])
	d.empty = 0
}

func (d *digester) sum() string {
	if len(d.part) > 0 {
		d.block(d.part)
		d.part = d.part[:0]
	}
	d.endRun()
	var size [8]byte
	binary.LittleEndian.PutUint64(size[:], uint64(d.size))
	d.hash.Write(size[:])
	return hex.EncodeToString(d.hash.Sum(nil))
}
