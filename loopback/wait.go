package loopback

import (
	"context"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/errno"
)

// backoff waits between attempts, from 1 ms to 50 ms. Each wait has a random part, so
// that processes that collided once do not collide again.
type backoff struct{ tries int }

func (b *backoff) wait(ctx context.Context) error {
	most := min(time.Millisecond<<min(b.tries, 6), 50*time.Millisecond)
	b.tries++
	return contexts.Sleep(ctx, most/2+rand.N(most/2))
}

// flock takes an exclusive lock on f. It polls, so that the end of ctx ends the wait.
// Closing f, or the end of the process, releases the lock.
func flock(ctx context.Context, f *os.File) error {
	var b backoff
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errno.Is(err, unix.EWOULDBLOCK, unix.EINTR):
			return err
		}
		if err := b.wait(ctx); err != nil {
			return &Error{Kind: fault.Busy, Err: err, Detail: "another process has locked " + f.Name()}
		}
	}
}
