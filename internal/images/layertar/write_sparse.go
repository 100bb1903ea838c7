package layertar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// sparseFrom is the size of holes from which on a file is written as a sparse entry.
// Docker, containerd and GNU tar read such entries. But docker save of an image with
// one fails, as tar-split has no format for it. Smaller holes are written as zeros.
const sparseFrom = 4 << 30

// isHuge reports whether a file is written as a sparse entry. A layer does not change, so
// that the result, and thus the digest, is always the same.
func isHuge(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Size-st.Blocks*512 >= sparseFrom
}

// sparse writes a file as a sparse entry of GNU tar's version 1.0, which
// archive/tar reads but does not write.
func (t *tarWriter) sparse(h *tar.Header, f *os.File) error {
	data, err := dataOf(t.ctx, f, h.Size, t.buf)
	if err != nil {
		return err
	}
	var list bytes.Buffer
	var sum int64
	fmt.Fprintln(&list, len(data))
	for _, d := range data {
		fmt.Fprintf(&list, "%d\n%d\n", d.offset, d.size)
		sum += d.size
	}
	list.Write(make([]byte, padding(int64(list.Len()))))
	header, err := sparseHeader(h, int64(list.Len())+sum)
	if err != nil {
		return err
	}
	if err := t.tar.Flush(); err != nil { // the padding of the entry before
		return err
	}
	if _, err := t.w.Write(append(header, list.Bytes()...)); err != nil {
		return err
	}
	for _, d := range data {
		if err := copyData(t.ctx, t.w, f, d.offset, d.size, t.buf); err != nil {
			return err
		}
	}
	_, err = t.w.Write(make([]byte, padding(sum)))
	return err
}

// sparseHeader returns the header from archive/tar, which drops the records of sparse
// files. They have a placeholder for their name while archive/tar writes them.
func sparseHeader(h *tar.Header, size int64) ([]byte, error) {
	const name, placeholder = "GNU.sparse.", "GNU!sparse."
	plain := *h
	plain.Size, plain.Format = size, tar.FormatPAX
	plain.PAXRecords = maps.Clone(h.PAXRecords)
	if plain.PAXRecords == nil {
		plain.PAXRecords = map[string]string{}
	}
	records := map[string]string{"major": "1", "minor": "0", "name": h.Name, "realsize": fmt.Sprint(h.Size)}
	for key, value := range records {
		plain.PAXRecords[placeholder+key] = value
	}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&plain); err != nil {
		return nil, err
	}
	if bytes.Count(b.Bytes(), []byte(placeholder)) != len(records) {
		return nil, wrong(ErrUnwritable, "the name or an extended attribute has the text %q", placeholder)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte(placeholder), []byte(name)), nil
}

// dataOf returns the 4 KiB pieces of a file that are not zeros. They depend only on the
// contents, as the holes that a file system reports may change. As in GNU tar, the last
// extent is empty, at the end of the file.
func dataOf(ctx context.Context, f *os.File, size int64, buf []byte) ([]extent, error) {
	var data []extent
	for offset := int64(0); offset < size; {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		at, err := f.Seek(offset, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // only a hole is left
			offset = size
			continue
		case err != nil && !errors.Is(err, unix.EINVAL): // EINVAL: the file system does not support it
			return nil, err
		case err == nil:
			offset = at - at%pieceSize
		}
		piece := buf[:min(pieceSize, size-offset)]
		if n, err := f.ReadAt(piece, offset); n < len(piece) {
			if err == io.EOF { // io.ReaderAt's contract
				return nil, wrong(ErrChanged, "the file became shorter during the read")
			}
			return nil, err
		}
		for len(piece) > 0 {
			page := piece[:min(4096, len(piece))]
			if !allZero(page) {
				data = joined(data, extent{offset, int64(len(page))})
			}
			offset, piece = offset+int64(len(page)), piece[len(page):]
		}
	}
	if n := len(data); n == 0 || data[n-1].offset+data[n-1].size < size {
		data = append(data, extent{offset: size})
	}
	return data, nil
}

func joined(data []extent, next extent) []extent {
	if n := len(data); n > 0 && data[n-1].offset+data[n-1].size == next.offset {
		data[n-1].size += next.size
		return data
	}
	return append(data, next)
}
