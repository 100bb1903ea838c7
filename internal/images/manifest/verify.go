package manifest

import (
	"encoding/hex"
	"errors"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Verify returns a reader of r that verifies the digest and, unless it is -1, the size.
// For a mismatch, the last Read returns an error instead of io.EOF. name, which may be
// nil, adds the object to the error.
func Verify(r io.ReadCloser, digest v1.Hash, size int64, name func(error) error) io.ReadCloser {
	v := &verifier{r: r, digest: digest, size: size, name: name}
	if v.hash, v.failed = v1.Hasher(digest.Algorithm); v.failed != nil {
		v.failed = v.error(ErrDigest, "the algorithm is not known")
	}
	return v
}

type verifier struct {
	r      io.ReadCloser
	hash   hash.Hash
	digest v1.Hash
	size   int64
	read   int64
	name   func(error) error
	failed error
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.failed != nil {
		return 0, v.failed
	}
	n, err := v.r.Read(p)
	v.hash.Write(p[:n])
	v.read += int64(n)
	switch {
	case v.size >= 0 && v.read > v.size:
		v.failed = v.error(ErrSize, "there are more than the %d bytes of the descriptor", v.size)
		return 0, v.failed
	case errors.Is(err, io.EOF):
		v.failed = v.end()
		return n, v.failed
	case err != nil:
		v.failed = v.named(err)
		return n, v.failed
	}
	return n, nil
}

func (v *verifier) end() error {
	if v.size >= 0 && v.read < v.size {
		return v.error(ErrTruncated, "%d of %d bytes", v.read, v.size)
	}
	if have := hex.EncodeToString(v.hash.Sum(nil)); have != v.digest.Hex {
		return v.error(ErrDigest, "its contents are %s:%s", v.digest.Algorithm, have)
	}
	return io.EOF
}

func (v *verifier) error(kind error, detail string, arguments ...any) error {
	return v.named(Errorf(kind, detail, arguments...))
}

func (v *verifier) named(err error) error {
	if v.name != nil {
		err = v.name(err)
	}
	return In("", "", v.digest.String(), err)
}

func (v *verifier) Close() error { return v.r.Close() }
