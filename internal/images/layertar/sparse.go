package layertar

import (
	"archive/tar"
	"bytes"
	"io"
	"strconv"
	"strings"
)

// extent is a range of a file with data.
type extent struct{ offset, size int64 }

// sparse handles the contents of a sparse entry. The tar has only the data, so that the
// size of the holes does not matter. archive/tar would return the holes as zeros.
// sparse therefore reads the data from its input, and starts a new reader after them.
//
// tar-split has no format for files of which the tar has only a part: each extent has a
// line of its own, and an extra line with its place.
func (s *scan) sparse(e *entry, data []extent) (int, error) {
	var passed int64
	for _, d := range data {
		s.crc.Reset()
		if err := s.extent(d); err != nil {
			return 0, err
		}
		passed += d.size
		position, err := s.split.file(e.name, d.size, s.crc.Sum(nil))
		if err != nil {
			return 0, err
		}
		if err := s.extras.place(position, e.clean, d.offset); err != nil {
			return 0, err
		}
		e.parts = append(e.parts, part{position: position, offset: d.offset, size: d.size})
	}
	pad := int(padding(passed))
	s.input.contents = false
	_, err := io.CopyN(io.Discard, &s.input, int64(pad))
	if err != nil && err != io.EOF { //nolint:errorlint // a wrapped EOF is no end
		return 0, s.explain(err)
	}
	s.reader = tar.NewReader(&s.input)
	return pad, nil
}

// extent passes one extent of data to the tree.
func (s *scan) extent(d extent) error {
	for offset, end := d.offset, d.offset+d.size; offset < end; {
		it := s.queue.data(offset, min(pieceSize, end-offset))
		if n, err := fill(&s.input, it.data); n < len(it.data) {
			return s.explain(err)
		}
		s.crc.Write(it.data)
		offset += int64(len(it.data))
		if err := s.queue.put(s.ctx, it); err != nil {
			return err
		}
	}
	return nil
}

// sparseData returns the extents of a sparse entry, of all formats that archive/tar
// supports. raw are the headers of the entry. The extents are sorted, inside of the
// file, and do not overlap.
func sparseData(h *tar.Header, raw []byte) (data []extent, sparse bool, err error) {
	version := h.PAXRecords["GNU.sparse.major"] + "." + h.PAXRecords["GNU.sparse.minor"]
	size, at := headerAt(raw)
	if at < 0 {
		return nil, false, nil // not possible, as archive/tar has read the header
	}
	after := raw[at+blockSize:]
	var numbers []int64
	switch {
	case h.Typeflag == tar.TypeGNUSparse:
		numbers = oldSparseMap(raw[at:])
	case version == "1.0":
		numbers, size = newSparseMap(after), size-int64(len(after))
	case version == "0.0", version == "0.1", version == "." && h.PAXRecords["GNU.sparse.map"] != "":
		numbers = decimals(h.PAXRecords["GNU.sparse.map"], ",")
	default:
		return nil, false, nil
	}
	if record, has := h.PAXRecords["size"]; has {
		if size, err = strconv.ParseInt(record, 10, 64); err != nil {
			return nil, true, wrong(ErrFormat, "the size of a sparse file: %v", err)
		}
		if version == "1.0" {
			size -= int64(len(after))
		}
	}
	var sum, end int64
	for i := 0; i+1 < len(numbers); i += 2 {
		d := extent{numbers[i], numbers[i+1]}
		if d.offset < end || d.size < 0 || d.offset > h.Size-d.size {
			return nil, true, wrong(ErrFormat, "the map of a sparse file is not sorted")
		}
		end = d.offset + d.size
		if sum += d.size; d.size > 0 {
			data = append(data, d)
		}
	}
	if sum != size {
		return nil, true, wrong(ErrFormat, "the map of a sparse file has %d bytes of data, and the tar has %d", sum, size)
	}
	return data, true, nil
}

// headerAt returns the offset of an entry's own header, after its extended headers, and
// the size field.
func headerAt(raw []byte) (size int64, at int) {
	for at+blockSize <= len(raw) {
		size = numeric(raw[at+124 : at+136])
		if !strings.ContainsRune("xgLK", rune(raw[at+156])) {
			return size, at
		}
		if size < 0 || size > int64(len(raw)) {
			break
		}
		at += blockSize + int(size+padding(size))
	}
	return 0, -1
}

// numeric parses a number of a header: octal, or base 256 (GNU tar).
func numeric(b []byte) int64 {
	if b[0]&0x80 != 0 {
		n := int64(b[0] & 0x3f)
		for _, c := range b[1:] {
			n = n<<8 | int64(c)
		}
		return n
	}
	n, _ := strconv.ParseInt(strings.Trim(string(b), " \x00"), 8, 64)
	return n
}

// oldSparseMap parses the map of GNU tar's old format: four entries in the header, then
// blocks of 21. A flag in each marks that another block follows.
func oldSparseMap(header []byte) (numbers []int64) {
	at, entries, flag := 386, 4, 482
	for {
		for range entries {
			if header[at] == 0 {
				return numbers
			}
			numbers = append(numbers, numeric(header[at:at+12]), numeric(header[at+12:at+24]))
			at += 24
		}
		if header[flag] == 0 || len(header) < 2*blockSize {
			return numbers
		}
		header = header[blockSize:]
		at, entries, flag = 0, 21, 504
	}
}

// newSparseMap parses the map of version 1.0: a count, then lines of numbers.
func newSparseMap(b []byte) []int64 {
	numbers := decimals(string(bytes.TrimRight(b, "\x00")), "\n")
	if len(numbers) == 0 {
		return nil
	}
	return numbers[1:min(len(numbers), 1+2*int(min(max(numbers[0], 0), int64(len(b)))))]
}

func decimals(text, separator string) (numbers []int64) {
	for word := range strings.SplitSeq(text, separator) {
		if n, err := strconv.ParseInt(word, 10, 64); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers
}
