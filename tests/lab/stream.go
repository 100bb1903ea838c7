package lab

import (
	"bytes"
	"io"
	"sync"
)

// stream carries one output of the command to the caller and counts its bytes.
type stream struct {
	mu      sync.Mutex
	changed sync.Cond
	count   int64
	ended   bool
	failed  error // of the caller's writer
}

func newStream() *stream {
	s := &stream{}
	s.changed.L = &s.mu
	return s
}

func (s *stream) carry(to io.Writer, from io.Reader) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && s.failed == nil {
			_, s.failed = to.Write(buffer[:n])
		}
		s.mu.Lock()
		s.count += int64(n)
		s.ended = err != nil
		s.changed.Broadcast()
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await returns when n bytes have been carried or no more can come.
func (s *stream) await(n int64) (arrived bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.count < n && !s.ended {
		s.changed.Wait()
	}
	return s.count >= n
}

// watcher calls seen once, when text has been written and before it is passed on.
type watcher struct {
	to   io.Writer
	text []byte
	tail []byte
	seen func()
}

func (w *watcher) Write(p []byte) (int, error) {
	if w.seen != nil {
		w.tail = append(w.tail, p...)
		if bytes.Contains(w.tail, w.text) {
			w.seen()
			w.seen = nil
		}
		w.tail = bytes.Clone(w.tail[max(0, len(w.tail)-len(w.text)+1):])
	}
	return w.to.Write(p)
}

// end wakes the callers of await: nothing more comes.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.changed.Broadcast()
}
