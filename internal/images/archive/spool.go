package archive

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"thinctl/internal/images/compression"
	"thinctl/internal/images/manifest"
)

// readStream decompresses r into an unnamed file, and indexes the file.
func readStream(ctx context.Context, r io.Reader, o Options) (tree, error) {
	if deadline, ok := r.(interface{ SetReadDeadline(time.Time) error }); ok {
		// The open of a pipe blocks until another process opens it for writing.
		stop := context.AfterFunc(ctx, func() { _ = deadline.SetReadDeadline(time.Unix(1, 0)) })
		defer stop()
	}
	decompress := compression.Options{Window: o.Window, Warn: o.Warn.In(o.Name, "")}
	plain, err := manifest.Decompress(io.NopCloser(&contextReader{ctx, r}), decompress, nil)
	if err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	defer plain.Close()
	f, err := spool(o.TempDir, plain)
	if err != nil {
		return nil, err
	}
	return indexFile(ctx, f, o.Warn.In(o.Name, ""))
}

// spool writes r to an unnamed file.
func spool(dir string, r io.Reader) (*os.File, error) {
	f, err := os.CreateTemp(dir, "thinctl-*")
	if err != nil {
		return nil, &Error{
			Err: err, Detail: "cannot create a temporary file",
			Remedy: "set TMPDIR to a directory with free space",
		}
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := io.Copy(f, r); err != nil {
		err = errors.Join(err, f.Close())
		var path *fs.PathError
		if errors.As(err, &path) && path.Op != "read" {
			return nil, &Error{
				Err: err, Detail: "cannot write the uncompressed archive",
				Remedy: "set TMPDIR to a directory with free space",
			}
		}
		return nil, err
	}
	return f, nil
}

// contextReader is a reader that fails when its context has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (h *contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(h.ctx); err != nil {
		return 0, err
	}
	n, err := h.r.Read(p)
	if cause := context.Cause(h.ctx); err != nil && cause != nil {
		return n, cause
	}
	return n, err
}
