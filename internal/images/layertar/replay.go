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

// Replay writes the very tar that was applied, uncompressed, from the tree and
// the split. What it wrote is right only if its digest is; that is the caller's
// to compare. A file that is missing or has changed is an EntryError with
// ErrChanged. tempDir is where much of what the tree has no more is kept for a
// while, default os.TempDir.
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
		places: map[int]line{}, kept: map[int][]stretch{}, store: &spool{dir: tempDir}, buf: make([]byte, chunkSize),
	}
	defer p.store.Close()
	lines := json.NewDecoder(unzipped)
	for {
		var l line
		err := lines.Decode(&l)
		if err == io.EOF { //nolint:errorlint // a wrapped EOF is no end
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
	kept   map[int][]stretch // in store
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
		p.kept[l.Position] = append(p.kept[l.Position], stretch{p.store.n, int64(len(l.Payload))})
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
	return wrong(ErrFormat, "the split: unknown line of type %d", l.Type)
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
		return &EntryError{Entry: l.GetName(), Why: wrong(ErrChanged, "its contents differ")}
	}
	return nil
}

func (p *replay) fromTree(l line, w io.Writer) error {
	name, offset, whole := path.Clean("/" + l.GetName())[1:], int64(0), true
	if place, is := p.places[l.Position]; is {
		delete(p.places, l.Position)
		// Sparse files have a line for each stretch of data.
		name, offset, whole = place.GetName(), place.Offset, false
	}
	f, info, err := openPlain(p.root, name)
	if err != nil {
		return errors.Join(wrong(ErrChanged, "it cannot be read"), err)
	}
	defer f.Close()
	switch {
	case whole && info.Size() != l.Size, info.Size() < offset+l.Size:
		return wrong(ErrChanged, "it has %d bytes, not %d", info.Size(), l.Size)
	}
	return copyStretch(p.ctx, w, f, info, offset, l.Size, p.buf)
}

// hashed remembers the writer's own failure, which is not the file's.
type hashed struct {
	w      io.Writer
	sum    io.Writer
	failed error
}

func (h *hashed) Write(b []byte) (int, error) {
	h.sum.Write(b)
	n, err := h.w.Write(b)
	h.failed = err
	return n, err
}
