package layertar

import (
	"encoding/json"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/vbatts/tar-split/tar/storage"

	"thinctl/units"
)

// A split consists of gzipped JSON lines in the format of tar-split, which Docker keeps
// in tar-split.json.gz. Extra lines, which tar-split does not have, come before them in
// a gzip member of their own. Each is for the line at Position. tar-split can read a
// split without extra lines.
const (
	placeType storage.Type = 100 + iota // the contents are in the file Name, from Offset on
	keptType                            // Payload is the next piece of contents that the tree no longer has
)

type line struct {
	storage.Entry
	Offset int64 `json:"offset,omitempty"`
}

// segmentSize is the size of a segment, the bytes between contents, at which it is
// written.
const segmentSize = 256 << 10

// recorder writes one member of a split. If it is nil it records nothing.
type recorder struct {
	limit   units.Bytes
	out     *spool
	gz      *gzip.Writer
	json    *json.Encoder
	next    int
	pending []byte
}

func newRecorder(limit units.Bytes, dir string) *recorder {
	r := &recorder{limit: limit, out: &spool{dir: dir}}
	r.gz, _ = gzip.NewWriterLevel(r.out, gzip.BestSpeed) // the level is valid
	r.json = json.NewEncoder(r.gz)
	return r
}

func (r *recorder) add(l line) error {
	if r == nil {
		return nil
	}
	if err := r.json.Encode(l); err != nil {
		return err
	}
	if units.Bytes(r.out.n) > r.limit {
		return overLimit("split", "the data to write the tar again take more than %s", r.limit)
	}
	return nil
}

// segment records bytes of the tar.
func (r *recorder) segment(b []byte) error {
	if r == nil {
		return nil
	}
	r.pending = append(r.pending, b...)
	if len(r.pending) >= segmentSize {
		return r.flush()
	}
	return nil
}

func (r *recorder) flush() error {
	if len(r.pending) == 0 {
		return nil
	}
	l := line{Entry: storage.Entry{Type: storage.SegmentType, Payload: r.pending, Position: r.next}}
	r.next++
	r.pending = r.pending[:0]
	return r.add(l)
}

// file records contents that the tree has, and returns the position of the line.
func (r *recorder) file(name string, size int64, crc []byte) (int, error) {
	if r == nil {
		return 0, nil
	}
	if err := r.flush(); err != nil {
		return 0, err
	}
	l := line{Entry: storage.Entry{Type: storage.FileType, Size: size, Payload: crc, Position: r.next}}
	l.SetName(name)
	r.next++
	return l.Position, r.add(l)
}

func (r *recorder) close() error {
	if r == nil {
		return nil
	}
	if err := r.flush(); err != nil {
		return err
	}
	return r.gz.Close()
}

// extras are the extra lines before the split. Both the scan and the tree add lines.
type extras struct {
	mu    sync.Mutex
	rec   *recorder
	used  bool
	kept  units.Bytes
	limit units.Bytes // of kept
}

// place records the place of the contents of the line at position.
func (o *extras) place(position int, path string, offset int64) error {
	l := line{Entry: storage.Entry{Type: placeType, Position: position}, Offset: offset}
	l.SetName(path)
	return o.add(l)
}

// keep records a piece of contents that is removed from the tree.
func (o *extras) keep(position int, contents []byte) error {
	return o.add(line{Entry: storage.Entry{Type: keptType, Position: position, Payload: contents}})
}

// reserve counts contents before they are kept, and fails if they are over the limit.
func (o *extras) reserve(size int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kept += units.Bytes(size); o.kept > o.limit {
		return overLimit("kept", "the layer replaces or removes more than %s of its own contents", o.limit)
	}
	return nil
}

func (o *extras) add(l line) error {
	if o.rec == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.used = true
	return o.rec.add(l)
}
