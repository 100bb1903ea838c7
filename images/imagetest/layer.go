package imagetest

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"io"
)

// Layer is what one step changes.
type Layer struct {
	CreatedBy   string
	HistoryOnly bool // "empty_layer": a line of the history, nothing else
	Entries     []Entry
}

// Size is the sum of the files' sizes: what Docker calls the layer's size.
func (l Layer) Size() int64 {
	sum := int64(0)
	for _, e := range l.Entries {
		if e.Type == tar.TypeReg {
			sum += e.Content.size()
		}
	}
	return sum
}

// WriteTar writes the layer as an uncompressed tar.
func (l Layer) WriteTar(w io.Writer) error {
	tw := tar.NewWriter(w)
	for _, e := range l.Entries {
		if err := e.write(tw, w); err != nil {
			return err
		}
	}
	return tw.Close()
}

// blob is a stream's size and digest.
type blob struct {
	Size   int64
	Digest string // sha256:...
}

// measure reads what write writes.
func measure(write func(io.Writer) error) (blob, error) {
	sum := sha256.New()
	var n counter
	err := write(io.MultiWriter(sum, &n))
	return blob{int64(n), "sha256:" + hex.EncodeToString(sum.Sum(nil))}, err
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
