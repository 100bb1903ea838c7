package layertar

import (
	"encoding/json"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/vbatts/tar-split/tar/storage"

	"thinctl/units"
)

// A split is gzip of JSON lines as tar-split writes them, which is what Docker
// keeps in tar-split.json.gz; tar-split can read that of a layer without
// oddities. Before them, in a gzip member of their own, come the lines that
// tar-split has no words for, each for the line at Position.
const (
	placeType storage.Type = 100 + iota // the contents are at Name, from Offset on
	keptType                            // the next piece of the contents is Payload, for the tree has them no more
)

type line struct {
	storage.Entry
	Offset int64 `json:"offset,omitempty"`
}

// segmentSize is when bytes that belong to no file are written out.
const segmentSize = 256 << 10

// recorder writes one member of a split.
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
	if err := r.json.Encode(l); err != nil {
		return err
	}
	if units.Bytes(r.out.n) > r.limit {
		return over("split", "what is kept to write the tar again takes more than %s", r.limit)
	}
	return nil
}

// segment records bytes of the tar as they are.
func (r *recorder) segment(b []byte) error {
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

// file records contents that are to be read from the tree, and returns the
// line's position.
func (r *recorder) file(name string, size int64, crc []byte) (int, error) {
	if err := r.flush(); err != nil {
		return 0, err
	}
	l := line{Entry: storage.Entry{Type: storage.FileType, Size: size, Payload: crc, Position: r.next}}
	l.SetName(name)
	r.next++
	return l.Position, r.add(l)
}

func (r *recorder) close() error {
	if err := r.flush(); err != nil {
		return err
	}
	return r.gz.Close()
}

// oddities are the lines before the split proper. The scan and the tree both
// add to them.
type oddities struct {
	mu   sync.Mutex
	rec  *recorder
	some bool
	kept units.Bytes
	room units.Bytes
}

// place says where the contents of the line at position are.
func (o *oddities) place(position int, path string, offset int64) error {
	l := line{Entry: storage.Entry{Type: placeType, Position: position}, Offset: offset}
	l.SetName(path)
	return o.add(l)
}

// keep takes over a piece of contents that leave the tree.
func (o *oddities) keep(position int, contents []byte) error {
	return o.add(line{Entry: storage.Entry{Type: keptType, Position: position, Payload: contents}})
}

// reserve is asked before contents are read to be kept.
func (o *oddities) reserve(size int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kept += units.Bytes(size); o.kept > o.room {
		return over("kept", "the layer replaces or removes more than %s of its own contents", o.room)
	}
	return nil
}

func (o *oddities) add(l line) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.some = true
	return o.rec.add(l)
}
