// Package compression finds out how a stream is compressed and uncompresses it:
// gzip, zstd, xz and bzip2, as docker load reads them.
//
// # Caveats
//
// Zeros or other bytes after the end of the compressed data are ignored with a
// warning, as gzip(1) does. The caller's digest decides whether the contents are
// right. Data that end too early are an error.
//
// zstd and xz need as much memory as the window that the data were compressed
// with. Larger windows than Options.Window are refused. Of an xz stream with
// several blocks the first block's window counts; xz(1) writes the same in all.
//
// # Example
//
//	plain, err := compression.NewReader(blob, compression.Options{})
//	if err != nil {
//		return err
//	}
//	defer plain.Close()
package compression
