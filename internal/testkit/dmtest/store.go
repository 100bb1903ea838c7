package dmtest

import (
	"crypto/rand"
	"sync"
)

// Store keeps the committed metadata of pools, also after [Kernel.PowerOff]. The
// superblock on a metadata disk contains a token that identifies the state in the
// Store. So a copy of the disk stands for the pool at the time of the copy, and a second
// Kernel with the same Store can open it.
//
// The Store keeps every commit with a change, for all copies that tests may have made.
// The states share everything that did not change: a message takes a few KiB.
type Store struct {
	ids sequence

	mu     sync.Mutex
	states map[token]state
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{states: make(map[token]state)} }

func (s *Store) put(committed state) token {
	var t token
	_, _ = rand.Read(t[:]) // never fails
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[t] = committed
	return t
}

func (s *Store) get(t token) (state, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.states[t]
	return found, ok
}
