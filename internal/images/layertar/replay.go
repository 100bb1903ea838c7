package layertar

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"hash/crc64"
	"io"
	"os"
	"path"

	"github.com/klauspost/compress/gzip"
	"github.com/vbatts/tar-split/tar/storage"
)

// Replay writes the uncompressed tar that was applied again, from the tree and the
// split. The caller must compare the digest of the result. For a file that is missing
// or has changed Replay returns an EntryError with ErrChanged. tempDir is the directory
// for contents that the tree no longer has and that are too large for memory, by
// default os.TempDir.
func Replay(ctx context.Context, root string, split io.Reader, w io.Writer, tempDir string) error {
	confined, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer confined.Close()
	unzipped, err := gzip.NewReader(split)
	if err != nil {
		return wrong(ErrFormat, "the split: %v", err)
	}
	out := bufio.NewWriterSize(w, chunkSize)
	p := &replay{
		ctx: ctx, root: confined, out: out,
		places: map[int]line{}, kept: map[int][]extent{}, store: &spool{dir: tempDir}, buf: make([]byte, chunkSize),
	}
	defer p.store.Close()
	lines := json.NewDecoder(unzipped)
	for {
		var l line
		err := lines.Decode(&l)
		if err == io.EOF { // a wrapped EOF is no end
			return out.Flush()
		}
		if err != nil {
			return wrong(ErrFormat, "the split: %v", err)
		}
		if err := p.line(l); err != nil {
			return err
		}
	}
}

type replay struct {
	ctx    context.Context
	root   *os.Root
	out    io.Writer
	places map[int]line
	kept   map[int][]extent // in store
	store  *spool
	buf    []byte
}

func (p *replay) line(l line) error {
	if err := p.ctx.Err(); err != nil {
		return context.Cause(p.ctx)
	}
	switch l.Type {
	case placeType:
		p.places[l.Position] = l
		return nil
	case keptType:
		p.kept[l.Position] = append(p.kept[l.Position], extent{p.store.n, int64(len(l.Payload))})
		_, err := p.store.Write(l.Payload)
		return err
	case storage.SegmentType:
		_, err := p.out.Write(l.Payload)
		return err
	case storage.FileType:
		if l.Size == 0 {
			return nil
		}
		return p.file(l)
	}
	return wrong(ErrFormat, "the split: a line of the unknown type %d", l.Type)
}

func (p *replay) file(l line) error {
	crc := crc64.New(storage.CRCTable)
	w := &hashed{w: p.out, sum: crc}
	if kept, is := p.kept[l.Position]; is {
		delete(p.kept, l.Position)
		for _, piece := range kept {
			if _, err := io.CopyBuffer(w, p.store.section(piece.offset, piece.size), p.buf); err != nil {
				return err
			}
		}
	} else if err := p.fromTree(l, w); err != nil {
		if w.failed != nil {
			return w.failed
		}
		return &EntryError{Entry: l.GetName(), Why: err}
	}
	if !bytes.Equal(crc.Sum(nil), l.Payload) {
		return &EntryError{Entry: l.GetName(), Why: wrong(ErrChanged, "the contents differ")}
	}
	return nil
}

func (p *replay) fromTree(l line, w io.Writer) error {
	name, offset, whole := path.Clean("/" + l.GetName())[1:], int64(0), true
	if place, is := p.places[l.Position]; is {
		delete(p.places, l.Position)
		// A sparse file has a line for each extent of data.
		name, offset, whole = place.GetName(), place.Offset, false
	}
	f, info, err := openPlain(p.root, name)
	if err != nil {
		return errors.Join(wrong(ErrChanged, "the file cannot be read"), err)
	}
	defer f.Close()
	switch {
	case whole && info.Size() != l.Size, info.Size() < offset+l.Size:
		return wrong(ErrChanged, "the file has %d bytes, not %d", info.Size(), l.Size)
	}
	return copyExtent(p.ctx, w, f, info, offset, l.Size, p.buf)
}

// hashed computes a checksum. It keeps the errors of the writer, which are not the
// file's.
type hashed struct {
	w      io.Writer
	sum    io.Writer
	failed error
}

func (h *hashed) Write(b []byte) (int, error) {
	_, _ = h.sum.Write(b) // a hash returns no error
	n, err := h.w.Write(b)
	h.failed = err
	return n, err
}
