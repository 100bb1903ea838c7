package layertar

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// copyExtent writes size bytes of f from offset on, without reading holes.
func copyExtent(ctx context.Context, w io.Writer, f *os.File, info fs.FileInfo, offset, size int64, buf []byte) error {
	holes := false
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		holes = st.Blocks*512 < st.Size && st.Size >= 2*pieceSize
	}
	if !holes {
		return copyData(ctx, w, f, offset, size, buf)
	}
	end := offset + size
	for offset < end {
		data, err := f.Seek(offset, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // only a hole is left
			data = end
		case errors.Is(err, unix.EINVAL): // the file system does not support it
			return copyData(ctx, w, f, offset, end-offset, buf)
		case err != nil:
			return err
		}
		data = min(data, end)
		if err := writeZeros(ctx, w, data-offset); err != nil {
			return err
		}
		if offset = data; offset == end {
			return nil
		}
		hole, err := f.Seek(data, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		hole = min(hole, end)
		if err := copyData(ctx, w, f, data, hole-data, buf); err != nil {
			return err
		}
		offset = hole
	}
	return nil
}

func copyData(ctx context.Context, w io.Writer, f *os.File, offset, size int64, buf []byte) error {
	for size > 0 {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size)], offset)
		if n == 0 {
			if err == io.EOF { // io.ReaderAt's contract
				return wrong(ErrChanged, "the file became shorter during the read")
			}
			return err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		offset, size = offset+int64(n), size-int64(n)
	}
	return nil
}

func writeZeros(ctx context.Context, w io.Writer, size int64) error {
	for size > 0 {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, err := w.Write(zeroPiece[:min(size, pieceSize)])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}
