package layertar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"hash"
	"hash/crc64"
	"io"
	"path"

	"github.com/vbatts/tar-split/tar/storage"

	"thinctl/fault"
	"thinctl/units"
)

const (
	blockSize = 512
	// pieceSize is the size of the smallest hole. Smaller holes are not worth an extent
	// of their own.
	pieceSize = 64 << 10
)

// entry is one entry of the tar that goes to the tree.
type entry struct {
	name   string // as the tar has it
	clean  string
	role   role
	header *tar.Header
	size   int64  // of the file
	parts  []part // the lines of the split for the contents

	// Only for the tree:
	path string // relative to the root
	gone bool   // removed by a later entry
}

// part is a range of a file's contents that has a line in the split. Only sparse
// entries have more than one.
type part struct {
	position     int
	offset, size int64
}

// scan reads the tar. It rejects entries that must not be applied, records the
// split, and hands the other entries and their contents to the tree.
type scan struct {
	limits Limits
	ctx    context.Context
	stream *chunkReader
	split  *recorder
	extras *extras
	queue  *queue
	warn   fault.Warn
	input  capture
	reader *tar.Reader // of input
	crc    hash.Hash64

	last    string // the present entry
	entries int
	plinks  plinks
	size    units.Bytes
	root    *tar.Header // the root's own entry
}

// capture is the input of the tar reader. It holds the bytes between contents.
type capture struct {
	r     io.Reader
	limit int
	held  []byte
	// during contents:
	contents bool
	passed   int64
	seen     func(p []byte) error
}

func (t *capture) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if t.contents {
		t.passed += int64(n)
		if t.seen != nil && n > 0 {
			if serr := t.seen(p[:n]); serr != nil {
				return n, serr
			}
		}
		return n, err
	}
	if len(t.held)+n > t.limit {
		return 0, overLimit("header", "headers of more than %d bytes", t.limit)
	}
	t.held = append(t.held, p[:n]...)
	return n, err
}

func (s *scan) run() error {
	err := s.entriesIn()
	if err == nil {
		err = s.rest()
	}
	if err == nil {
		err = s.split.close()
	}
	if err != nil && s.ctx.Err() == nil {
		err = &EntryError{Entry: s.last, Why: err}
	}
	return err
}

func (s *scan) entriesIn() error {
	s.input = capture{r: s.stream, limit: int(s.limits.Header)}
	s.crc = crc64.New(storage.CRCTable)
	s.reader = tar.NewReader(&s.input)
	pad := 0
	for {
		h, err := s.reader.Next()
		if err == io.EOF { //nolint:errorlint // a wrapped EOF is no end
			s.checkEnd(pad)
			s.queue.end()
			return s.split.segment(s.input.held)
		}
		if err != nil {
			return s.explain(err)
		}
		s.last = h.Name
		if s.entries++; s.entries > s.limits.Entries {
			return overLimit("entries", "more than %d entries", s.limits.Entries)
		}
		raw := bytes.Clone(s.input.held)
		s.input.held = s.input.held[:0]
		if pad, err = s.one(h, raw, pad); err != nil {
			return err
		}
	}
}

// one handles an entry. raw are its headers, after the padding of the entry before. one
// returns the size of the padding after the contents.
func (s *scan) one(h *tar.Header, raw []byte, pad int) (int, error) {
	role, err := s.limits.check(h)
	if err != nil {
		return 0, err
	}
	if err := s.split.segment(raw); err != nil {
		return 0, err
	}
	e := &entry{name: h.Name, clean: path.Clean("/" + h.Name)[1:], role: role, header: plain(h)}
	if hasContents(h) {
		e.size = h.Size
	}
	if role == roleFile {
		brought := units.Bytes(e.size)
		if h.Typeflag == tar.TypeSymlink {
			brought = units.Bytes(len(h.Linkname))
		}
		if s.size += brought; s.size > s.limits.Bytes {
			return 0, overLimit("bytes", "files of more than %s", s.limits.Bytes)
		}
	}
	if role == roleRoot {
		s.root = h
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		// Next has read the records, but not their padding.
		return int(padding(int64(len(raw) - pad))), nil
	}
	if role == roleIgnored {
		s.plinks.warn(s, h)
	}
	if role == roleFile && isPlink(h) {
		return int(padding(0)), s.plinks.use(s, h, e)
	}
	var data []extent
	sparse := false
	if role == roleFile && isSparse(h) {
		if data, sparse, err = sparseData(h, raw[min(pad, len(raw)):]); err != nil {
			return 0, err
		}
	}
	if role == roleFile || role == roleWhiteout {
		if err := s.queue.put(s.ctx, item{entry: e}); err != nil {
			return 0, err
		}
	}
	s.input.contents, s.input.passed = true, 0
	if sparse {
		return s.sparse(e, data)
	}
	err = s.contents(h, e)
	s.input.contents, s.input.seen = false, nil
	return int(padding(s.input.passed)), err
}

// plain returns the header of the file that an entry becomes. Some writers add
// bits of the type to the mode, which may contradict the type.
func plain(h *tar.Header) *tar.Header {
	changed := *h
	changed.Mode &= 0o7777
	if h.Typeflag == tar.TypeGNUSparse || h.Typeflag == tar.TypeCont {
		changed.Typeflag = tar.TypeReg // POSIX: where TypeCont means nothing, a regular file
	}
	return &changed
}

func (s *scan) contents(h *tar.Header, e *entry) error {
	switch {
	case e.size == 0:
		return nil
	case e.role != roleFile:
		// The tree will not have these contents: the split keeps them.
		s.input.seen = s.split.segment
		if e.role == roleIgnored {
			if err := s.plinks.add(s, h, e); err != nil {
				return err
			}
		}
		_, err := io.Copy(io.Discard, s.reader)
		return s.explain(err)
	}
	if s.split != nil {
		s.crc.Reset()
		s.input.seen = func(p []byte) error { _, err := s.crc.Write(p); return err }
	}
	if err := s.pieces(e.size); err != nil {
		return err
	}
	position, err := s.split.file(e.name, e.size, s.crc.Sum(nil))
	e.parts = []part{{position: position, size: e.size}}
	return err
}

// pieces passes contents to the tree, without pieces of zeros, which become holes.
func (s *scan) pieces(size int64) error {
	for offset := int64(0); offset < size; offset += pieceSize {
		it := s.queue.data(offset, min(pieceSize, size-offset))
		if n, err := fill(s.reader, it.data); n < len(it.data) {
			return s.explain(err)
		}
		if len(it.data) == pieceSize && allZero(it.data) {
			s.queue.recycle(it)
			continue
		}
		if err := s.queue.put(s.ctx, it); err != nil {
			return err
		}
	}
	return nil
}

// checkEnd warns of a tar without an end, which some programs write. Docker,
// containerd and GNU tar accept it. pad is the padding of the last contents.
func (s *scan) checkEnd(pad int) {
	switch {
	case s.stream.read == 0:
		s.warn.Add("", "the tar is empty and has no end marker")
	case s.stream.read%blockSize != 0:
		s.warn.Add(s.last, "the tar ends in the padding of this entry")
	case len(s.input.held)-pad < 2*blockSize:
		s.warn.Add(s.last, "the tar ends after this entry, without an end marker")
	}
}

// rest reads the data after the end: the padding of a tape's record, or other data. They
// are part of the diff id and of the split.
func (s *scan) rest() error {
	buf := make([]byte, pieceSize)
	garbage := false
	for {
		n, err := s.stream.Read(buf)
		if !garbage && !allZero(buf[:n]) {
			garbage = true
			s.warn.Add(s.last, "data after the end of the tar are not unpacked")
		}
		if serr := s.split.segment(buf[:n]); serr != nil {
			return serr
		}
		if err == io.EOF { //nolint:errorlint // a wrapped EOF is no end
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// explain distinguishes errors of archive/tar from those of the stream.
func (s *scan) explain(err error) error {
	through := s.stream.err
	switch {
	case err == nil, errors.Is(err, ErrFormat), errors.Is(err, ErrLimit):
		return err
	case through != nil && through != io.EOF && errors.Is(err, through): //nolint:errorlint // a wrapped EOF is no end
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return wrong(ErrFormat, "the tar is cut short")
	default:
		return wrong(ErrFormat, "not a tar entry: %v", err)
	}
}

func padding(size int64) int64 { return -size & (blockSize - 1) }

var zeroPiece [pieceSize]byte

func allZero(b []byte) bool {
	for len(b) > pieceSize {
		if !bytes.Equal(b[:pieceSize], zeroPiece[:]) {
			return false
		}
		b = b[pieceSize:]
	}
	return bytes.Equal(b, zeroPiece[:len(b)])
}
