package changes

import "sync"

// queue holds the directories that are still to be read. It returns the newest first,
// so that it holds the subdirectories along one path per worker at most.
type queue struct {
	mu   sync.Mutex
	wake *sync.Cond
	dirs []*dir
	over bool
	err  error
}

func newQueue() *queue {
	q := &queue{}
	q.wake = sync.NewCond(&q.mu)
	return q
}

func (q *queue) push(dirs ...*dir) {
	if len(dirs) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dirs = append(q.dirs, dirs...)
	if len(dirs) == 1 {
		q.wake.Signal()
	} else {
		q.wake.Broadcast()
	}
}

// pop waits for a directory. It returns nil at the end of the walk.
func (q *queue) pop() *dir {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.dirs) == 0 && !q.over {
		q.wake.Wait()
	}
	if q.over {
		return nil
	}
	last := len(q.dirs) - 1
	d := q.dirs[last]
	q.dirs[last] = nil
	q.dirs = q.dirs[:last]
	return d
}

func (q *queue) finish() { q.fail(nil) }

// fail ends the walk. The first error is kept.
func (q *queue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.over {
		q.over, q.err = true, err
	}
	q.wake.Broadcast()
}
