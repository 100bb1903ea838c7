package dmtest

import (
	"crypto/rand"
	"sync"
)

// Store keeps what pools have committed, beyond the end of a [Kernel]. A
// metadata disk's superblock carries a token that finds the state here, so a
// copy of the disk carries the pool as it was when copied, and a second Kernel
// over the same Store opens it.
//
// Each commit that changes something is kept for the Store's life. States share
// all that did not change between them: about 2 KiB for a message.
type Store struct {
	ids sequence

	mu     sync.Mutex
	states map[token]state
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{states: make(map[token]state)} }

func (s *Store) put(committed state) token {
	var t token
	_, _ = rand.Read(t[:]) // documented never to fail
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
