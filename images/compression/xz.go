package compression

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"thinctl/units"
)

// beginXz reads stream by stream, to check each one's window first.
func (d *Reader) beginXz() error {
	if err := d.checkDictionary(); err != nil {
		return err
	}
	one, err := xz.ReaderConfig{SingleStream: true}.NewReader(d.source)
	if err != nil {
		return err
	}
	d.out, d.next = &xzStream{one, d}, d.beginXz
	return nil
}

// xzStream is one xz stream, which ends in io.EOF whatever follows.
type xzStream struct {
	r io.Reader
	d *Reader
}

func (s *xzStream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err == nil || !errors.Is(err, errMore()) {
		return n, err
	}
	if err := s.d.source.UnreadByte(); err != nil {
		return n, err
	}
	return n, s.d.skipPadding()
}

// errMore returns the library's error for data after a single stream, which it
// does not export: it is what an empty stream with one more byte gives.
var errMore = sync.OnceValue(func() error {
	const empty = "\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x00\x00\x00\x00\x1c\xdfD!\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ"
	r, err := xz.ReaderConfig{SingleStream: true}.NewReader(strings.NewReader(empty + "\x00"))
	if err == nil {
		_, err = r.Read(make([]byte, 1))
	}
	return err
})

// skipPadding skips the zeros that may stand between streams, in fours (the .xz
// file format 1.0.4, 2.2). It returns io.EOF.
func (d *Reader) skipPadding() error {
	for {
		head, err := d.source.Peek(10)
		if err != nil || string(head[:4]) != "\x00\x00\x00\x00" || Sniff(head[4:]) != Xz && string(head[4:8]) != "\x00\x00\x00\x00" {
			return io.EOF
		}
		if _, err := d.source.Discard(4); err != nil {
			return err
		}
	}
}

// checkDictionary refuses a stream whose first block needs a dictionary beyond
// the window: the library allocates what the block asks for, up to 4 GiB.
func (d *Reader) checkDictionary() error {
	const streamHeader = 12
	head, err := d.source.Peek(streamHeader + 1)
	if err != nil {
		return err
	}
	size := int(head[streamHeader])
	if size == 0 { // no block
		return nil
	}
	if head, err = d.source.Peek(streamHeader + (size+1)*4); err != nil {
		return err
	}
	block := head[streamHeader+1:]
	flags, block := block[0], block[1:]
	for _, present := range []byte{0x40, 0x80} { // compressed and uncompressed size
		if flags&present == 0 {
			continue
		}
		_, n := binary.Uvarint(block)
		if n <= 0 {
			return ErrDamaged
		}
		block = block[n:]
	}
	// The library reads no other filter than LZMA2: id 0x21, one byte.
	if len(block) < 3 || block[0] != 0x21 || block[1] != 1 {
		return fmt.Errorf("%w: xz with another filter than LZMA2", ErrUnsupported)
	}
	dictionary, err := lzma.DecodeDictCap(block[2])
	if err != nil {
		return err
	}
	if units.Bytes(dictionary) > d.o.Window {
		return fmt.Errorf("%w: %s of at most %s", ErrWindow, units.Bytes(dictionary), d.o.Window)
	}
	return nil
}
