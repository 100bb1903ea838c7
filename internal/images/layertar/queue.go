package layertar

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	queued = 32 // pieces on their way to the tree
	// truncateEvery is how many zeros may lie in the page cache.
	truncateEvery = 1 << 20
	// lastBlock is written at the end even where it is zeros: it gives the file
	// its size without touching its times afterwards.
	lastBlock = 4 << 10
)

// queue carries the tar from the scan to containerd, which reads it as a
// stream. Because containerd reads no further than it writes, the queue's
// reader knows how far the present file has got: it takes zeros back out of the
// file before they reach the disk. It does so by cutting the file off where the
// zeros begin; the next write, at its own offset, leaves a hole. Punching a hole
// would do worse: ext4 and xfs first write out what is to be dropped
// (fs/ext4/inode.c, ext4_punch_hole; fs/xfs/xfs_bmap_util.c, xfs_flush_unmap_range).
type queue struct {
	items chan item
	pool  sync.Pool

	// The reader's side alone:
	ctx  context.Context
	now  item
	used int // of now.data
	at   *entry
	root *os.Root

	offset int64 // in the present file
	hole   int64 // where the present zeros begin, -1: no zeros
	cut    int64 // where the file was cut off last
	file   *os.File
}

func newQueue(ctx context.Context, root *os.Root) *queue {
	return &queue{
		items: make(chan item, queued),
		pool:  sync.Pool{New: func() any { return new([pieceSize]byte) }},
		ctx:   ctx, root: root, hole: -1,
	}
}

func (q *queue) put(ctx context.Context, it item) error {
	select {
	case q.items <- it:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end says that no item follows.
func (q *queue) end() { close(q.items) }

// piece returns an item to be filled with size bytes of contents.
func (q *queue) piece(size int64) item {
	if size < pieceSize/2 {
		return item{data: make([]byte, size), inner: true}
	}
	buf := q.pool.Get().(*[pieceSize]byte)
	return item{data: buf[:size], buf: buf, inner: true}
}

func (q *queue) recycle(it item) {
	if it.buf != nil {
		q.pool.Put(it.buf)
	}
}

func (q *queue) Read(p []byte) (int, error) {
	for q.used == len(q.now.data) && q.now.zeros == 0 {
		q.recycle(q.now)
		q.used = 0
		select {
		case it, more := <-q.items:
			if q.now = it; !more {
				return 0, io.EOF
			}
		case <-q.ctx.Done():
			return 0, context.Cause(q.ctx)
		}
		if q.now.sparse {
			// containerd has made the file, and asks for the next entry.
			if err := q.fill(); err != nil {
				return 0, err
			}
			q.recycle(q.now)
			q.now = item{}
			continue
		}
		if q.now.entry != nil {
			q.leave()
			q.at = q.now.entry
		}
	}
	if !q.now.inner {
		return q.take(p), nil
	}
	if err := q.sparsely(&p); err != nil {
		return 0, err
	}
	n := q.take(p)
	q.offset += int64(n)
	return n, nil
}

// fill writes data of a sparse file, or at their end what a write has taken from
// the file: capabilities (security/commoncap.c, cap_inode_killpriv) and times.
func (q *queue) fill() error {
	if err := q.open(); err != nil {
		return err
	}
	if !q.now.ends {
		if len(q.now.data) == pieceSize && allZero(q.now.data) {
			return nil
		}
		_, err := q.file.WriteAt(q.now.data, q.now.offset)
		return err
	}
	if err := q.file.Truncate(q.at.size); err != nil {
		return err
	}
	if value, has := q.at.header.PAXRecords[xattrRecord+capability]; has {
		err := unix.Fsetxattr(int(q.file.Fd()), capability, []byte(value), 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			return attributeError(capability, value, q.at.path, err)
		}
	}
	return setTime(filepath.Join(q.root.Name(), q.at.path), q.at.mtime)
}

// open opens the present file.
func (q *queue) open() error {
	if q.file != nil {
		return nil
	}
	f, err := q.root.OpenFile(q.at.path, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	q.file = f
	return err
}

func (q *queue) take(p []byte) int {
	if q.now.zeros > 0 {
		n := int(min(int64(len(p)), q.now.zeros))
		clear(p[:n])
		q.now.zeros -= int64(n)
		return n
	}
	n := copy(p, q.now.data[q.used:])
	q.used += n
	return n
}

// sparsely cuts off zeros that were written, where data follow them, where they
// have become many, or where the file is about to end. For the last it shortens
// p, so that only the end of the zeros is left to be written.
func (q *queue) sparsely(p *[]byte) error {
	if q.now.zeros == 0 {
		if q.hole < 0 {
			return nil
		}
		err := q.truncate()
		q.hole = -1
		return err
	}
	if q.hole < 0 {
		q.hole, q.cut = q.offset, q.offset
	}
	if q.offset+q.now.zeros == q.at.size {
		if q.now.zeros <= lastBlock {
			return q.truncate()
		}
		*p = (*p)[:min(int64(len(*p)), q.now.zeros-lastBlock)]
	}
	if q.offset-q.cut < truncateEvery {
		return nil
	}
	return q.truncate()
}

func (q *queue) truncate() error {
	if q.offset == q.hole {
		return nil
	}
	if err := q.open(); err != nil {
		return err
	}
	q.cut = q.offset
	return q.file.Truncate(q.hole)
}

// leave ends the present file.
func (q *queue) leave() {
	if q.file != nil {
		q.file.Close()
		q.file = nil
	}
	q.offset, q.hole = 0, -1
}
