package thinpool

import "context"

// Holding takes the pool's lock, so that changes wait. waiting returns how many do.
func (p *Pool) Holding(ctx context.Context) (waiting func() int, release func() error, err error) {
	lock, err := p.lock(ctx)
	if err != nil {
		return nil, nil, err
	}
	return func() int {
		p.changes.mu.Lock()
		defer p.changes.mu.Unlock()
		return len(p.changes.waiting)
	}, lock.Release, nil
}
