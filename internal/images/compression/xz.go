package compression

import (
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/ulikunitz/xz"
)

// beginXz reads one stream at a time: the library returns an error for data after it.
func (d *Reader) beginXz() error {
	one, err := xz.ReaderConfig{SingleStream: true}.NewReader(&xzBlocks{r: d.source, window: d.o.Window})
	if err != nil {
		return err
	}
	d.out, d.next = &xzStream{one, d}, d.beginXz
	return nil
}

// xzStream is one xz stream. It ends in io.EOF also if other data follow.
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

// errMore returns the library's error for data after a single stream. The library does
// not export it, so that it is taken from an empty stream with one byte after it.
var errMore = sync.OnceValue(func() error {
	const empty = "\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x00\x00\x00\x00" +
		"\x1c\xdfD!\x1f\xb6\xf3}\x01\x00\x00\x00\x00\x04YZ"
	r, err := xz.ReaderConfig{SingleStream: true}.NewReader(strings.NewReader(empty + "\x00"))
	if err == nil {
		_, err = r.Read(make([]byte, 1))
	}
	return err
})

// skipPadding skips the padding between streams: zeros, a multiple of four (the .xz file
// format 1.0.4, 2.2). It returns io.EOF.
func (d *Reader) skipPadding() error {
	for {
		head, err := d.source.Peek(10)
		const zeros = "\x00\x00\x00\x00"
		if err != nil || string(head[:4]) != zeros || Sniff(head[4:]) != Xz && string(head[4:8]) != zeros {
			return io.EOF
		}
		if _, err := d.source.Discard(4); err != nil {
			return err
		}
	}
}
