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

// sparseFrom is how many bytes of holes make a file be written as a sparse entry.
// Docker, containerd and GNU tar read such entries, but Docker does not write one
// again as it was (tar-split has no words for it), so that docker save of an
// image with one fails. Below, holes are written as zeros.
const sparseFrom = 4 << 30

// isHuge reports whether a file has that many holes. Layers do not change, so
// that their digests do not depend on when this is asked.
func isHuge(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Size-st.Blocks*512 >= sparseFrom
}

// sparse writes a file as a sparse entry of GNU tar's version 1.0, which
// archive/tar reads but does not write.
func (l *layerWriter) sparse(h *tar.Header, f *os.File) error {
	data, err := dataOf(l.ctx, f, h.Size, l.buf)
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
	if err := l.tar.Flush(); err != nil { // the padding of the entry before
		return err
	}
	if _, err := l.out.Write(append(header, list.Bytes()...)); err != nil {
		return err
	}
	for _, d := range data {
		if err := copyData(l.ctx, l.out, f, d.offset, d.size, l.buf); err != nil {
			return err
		}
	}
	_, err = l.out.Write(make([]byte, padding(sum)))
	return err
}

// sparseHeader lets archive/tar write the header. It drops records of sparse
// files, so that they go by another name until they are written.
func sparseHeader(h *tar.Header, size int64) ([]byte, error) {
	const name, stand = "GNU.sparse.", "GNU!sparse."
	plain := *h
	plain.Size, plain.Format = size, tar.FormatPAX
	plain.PAXRecords = maps.Clone(h.PAXRecords)
	if plain.PAXRecords == nil {
		plain.PAXRecords = map[string]string{}
	}
	records := map[string]string{"major": "1", "minor": "0", "name": h.Name, "realsize": fmt.Sprint(h.Size)}
	for key, value := range records {
		plain.PAXRecords[stand+key] = value
	}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&plain); err != nil {
		return nil, err
	}
	if bytes.Count(b.Bytes(), []byte(stand)) != len(records) {
		return nil, wrong(ErrUnwritable, "its name or an extended attribute has the text %q", stand)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte(stand), []byte(name)), nil
}

// dataOf finds the 4 KiB pieces of a file that are not zeros. They depend on nothing
// but the contents: which holes a file system reports may change. The last one
// is empty, at the file's end, as GNU tar has it.
func dataOf(ctx context.Context, f *os.File, size int64, buf []byte) ([]stretch, error) {
	var data []stretch
	for offset := int64(0); offset < size; {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		at, err := f.Seek(offset, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // only a hole is left
			offset = size
			continue
		case err != nil && !errors.Is(err, unix.EINVAL): // EINVAL: the file system does not tell
			return nil, err
		case err == nil:
			offset = at - at%pieceSize
		}
		piece := buf[:min(pieceSize, size-offset)]
		if n, err := f.ReadAt(piece, offset); n < len(piece) {
			if err == io.EOF { //nolint:errorlint // io.ReaderAt's contract
				return nil, wrong(ErrChanged, "it became shorter while it was read")
			}
			return nil, err
		}
		for len(piece) > 0 {
			page := piece[:min(4096, len(piece))]
			if !allZero(page) {
				data = joined(data, stretch{offset, int64(len(page))})
			}
			offset, piece = offset+int64(len(page)), piece[len(page):]
		}
	}
	if n := len(data); n == 0 || data[n-1].offset+data[n-1].size < size {
		data = append(data, stretch{offset: size})
	}
	return data, nil
}

func joined(data []stretch, next stretch) []stretch {
	if n := len(data); n > 0 && data[n-1].offset+data[n-1].size == next.offset {
		data[n-1].size += next.size
		return data
	}
	return append(data, next)
}
