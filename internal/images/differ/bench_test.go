package differ

import (
	stdgzip "compress/gzip"
	"io"
	"os"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// counter counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// BenchmarkCompress compresses this program as a layer, and as containerd does.
func BenchmarkCompress(b *testing.B) {
	path, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	for name, open := range map[string]func(io.Writer) (io.WriteCloser, error){
		"thinctl":    func(w io.Writer) (io.WriteCloser, error) { return compressor(w, v1.MediaTypeImageLayerGzip) },
		"containerd": func(w io.Writer) (io.WriteCloser, error) { return stdgzip.NewWriter(w), nil },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(program)))
			for range b.N {
				out := &counter{}
				w, err := open(out)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := w.Write(program); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(out.n)/float64(len(program)), "ratio")
			}
		})
	}
}
