// Package compression detects the compression of a stream and uncompresses it. It
// supports the formats that docker load reads: gzip, zstd, xz and bzip2.
//
// # Caveats
//
// Zeros or other bytes after the end of the compressed data are ignored with a
// warning, as in gzip(1). The caller compares the digest of the contents. Truncated
// data are an error.
//
// zstd and xz need as much memory as the window with which the data were compressed.
// A window larger than Options.Window is an error.
//
// # Example
//
//	plain, err := compression.NewReader(blob, compression.Options{})
//	if err != nil {
//		return err
//	}
//	defer plain.Close()
package compression
