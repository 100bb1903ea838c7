package layertar

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// spoolMemory is the size up to which a spool is in memory.
const spoolMemory = 8 << 20

// spool stores data in memory, or in a file without a name if there are more.
type spool struct {
	dir  string
	mem  bytes.Buffer
	file *os.File
	n    int64
}

func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && s.mem.Len()+len(p) <= spoolMemory {
		s.n += int64(len(p))
		return s.mem.Write(p)
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, ".spool-*")
		if err != nil {
			return 0, err
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil {
			return 0, err
		}
		if _, err := f.Write(s.mem.Bytes()); err != nil {
			return 0, err
		}
		s.mem = bytes.Buffer{}
	}
	n, err := s.file.Write(p)
	s.n += int64(n)
	return n, err
}

// section returns a reader of a range.
func (s *spool) section(offset, size int64) io.Reader {
	if s.file == nil {
		return bytes.NewReader(s.mem.Bytes()[offset : offset+size])
	}
	return io.NewSectionReader(s.file, offset, size)
}

func (s *spool) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Split is the split of a layer, for Replay. The caller must close it.
type Split struct{ parts []*spool }

// Reader returns a new reader of the split.
func (s Split) Reader() io.Reader {
	var readers []io.Reader
	for _, part := range s.parts {
		readers = append(readers, part.section(0, part.n))
	}
	return io.MultiReader(readers...)
}

// Close releases the memory and files of the split.
func (s Split) Close() error {
	var err error
	for _, part := range s.parts {
		err = errors.Join(err, part.Close())
	}
	return err
}
