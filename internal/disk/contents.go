package disk

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"thinctl/units"
)

const edge = int64(units.MiB)

// Contents describes the data in a device or file; "" if its first and last MiB are
// zero.
func Contents(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	head, err := read(file, 0, min(edge, end))
	if err != nil {
		return "", err
	}
	if owner, err := Signature(file, end); err != nil || owner != "" {
		return owner, err
	}
	if at := nonZero(head); at >= 0 {
		return fmt.Sprintf("unknown data at byte %d", at), nil
	}
	tailAt := max(0, end-edge)
	tail, err := read(file, tailAt, end-tailAt)
	if err != nil {
		return "", err
	}
	if bytes.Contains(tail, []byte(DataMark)) {
		return "the data of a thin pool", nil
	}
	if at := nonZero(tail); at >= 0 {
		return fmt.Sprintf("unknown data at byte %d, near its end", tailAt+int64(at)), nil
	}
	return "", nil
}

func read(file *os.File, at, length int64) ([]byte, error) {
	b := make([]byte, length)
	if _, err := file.ReadAt(b, at); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read %s: %w", file.Name(), err)
	}
	return b, nil
}

// nonZero returns the index of the first byte other than zero, -1 if there is none.
func nonZero(b []byte) int {
	if rest := bytes.TrimLeft(b, "\x00"); len(rest) > 0 {
		return len(b) - len(rest)
	}
	return -1
}

// DataMark begins the mark that a thin pool puts on its data disk.
const DataMark = "thinctl pool data mark v1\x00\x00\x00\x00\x00\x00\x00"
