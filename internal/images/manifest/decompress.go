package manifest

import (
	"errors"
	"io"

	"thinctl/internal/images/compression"
)

// Decompress returns a reader that decompresses r, after detecting the compression. It
// reads r to its end, and its Close closes r. name, which may be nil, adds the object to
// errors.
func Decompress(r io.ReadCloser, o compression.Options, name func(error) error) (io.ReadCloser, error) {
	if name == nil {
		name = func(err error) error { return err }
	}
	plain, err := compression.NewReader(r, o)
	if err != nil {
		return nil, name(explain(err))
	}
	return &decompressor{plain, r, name}, nil
}

type decompressor struct {
	plain  *compression.Reader
	source io.Closer
	name   func(error) error
}

func (d *decompressor) Read(p []byte) (int, error) {
	n, err := d.plain.Read(p)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, compression.ErrTruncated) {
		err = d.name(explain(err))
	}
	return n, err
}

func (d *decompressor) Close() error { return errors.Join(d.plain.Close(), d.source.Close()) }

// explain converts the errors of package compression.
func explain(err error) error {
	switch {
	case errors.Is(err, compression.ErrTruncated):
		return &Error{Kind: ErrTruncated, Err: err}
	case errors.Is(err, compression.ErrWindow):
		return &Error{Kind: ErrTooLarge, Err: err, Remedy: "raise --limit window"}
	case errors.Is(err, compression.ErrUnsupported):
		return &Error{Kind: ErrFormat, Err: err, Remedy: "uncompress it first"}
	case errors.Is(err, compression.ErrDamaged):
		return &Error{Kind: ErrFormat, Err: err}
	}
	return err
}
