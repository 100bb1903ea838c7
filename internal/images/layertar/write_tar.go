package layertar

import (
	"archive/tar"
	"context"
	"io"
	"os"
	"strings"

	"thinctl/units"
)

// outEntry is an entry to be written.
type outEntry struct {
	header *tar.Header
	path   string // in the tree; "" for a whiteout
}

// tarWriter writes the entries that a [layerWriter] produces.
type tarWriter struct {
	ctx     context.Context
	root    *os.Root
	tar     *tar.Writer
	w       io.Writer // that tar writes to
	buf     []byte
	written Written
}

func (t *tarWriter) run(entries <-chan outEntry) error {
	for e := range entries {
		if err := t.entry(e); err != nil {
			return named("/"+strings.TrimSuffix(e.header.Name, "/"), err)
		}
	}
	return nil
}

func (t *tarWriter) entry(e outEntry) error {
	t.written.Entries++
	switch {
	case e.header.Typeflag == tar.TypeReg && e.path != "":
		return t.contents(e.path[1:], e.header)
	case e.header.Typeflag == tar.TypeSymlink:
		t.written.Size += units.Bytes(len(e.header.Linkname))
	}
	return t.tar.WriteHeader(e.header)
}

// contents writes a regular file.
func (t *tarWriter) contents(name string, h *tar.Header) error {
	f, info, err := openPlain(t.root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	h.Size = info.Size()
	t.written.Size += units.Bytes(h.Size)
	if isHuge(info) {
		return t.sparse(h, f)
	}
	if err := t.tar.WriteHeader(h); err != nil {
		return err
	}
	return copyExtent(t.ctx, t.tar, f, info, 0, h.Size, t.buf)
}

// counter counts the bytes that pass.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
