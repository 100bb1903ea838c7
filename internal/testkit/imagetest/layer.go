package imagetest

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"io"
)

// Layer holds the changes of one step.
type Layer struct {
	CreatedBy   string
	HistoryOnly bool // "empty_layer": a line of the history, nothing else
	Entries     []Entry
}

// Size returns the layer's size as Docker computes it: the sum of the files' sizes and of
// the lengths of symlinks' targets (moby/pkg/directory, Size).
func (l Layer) Size() int64 {
	sum := int64(0)
	for _, e := range l.Entries {
		switch e.Type {
		case tar.TypeReg:
			sum += e.Content.size()
		case tar.TypeSymlink:
			sum += int64(len(e.Link))
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

// blob holds the size and digest of a stream.
type blob struct {
	Size   int64
	Digest string // sha256:...
}

// measure returns the size and digest of the data that write writes.
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
