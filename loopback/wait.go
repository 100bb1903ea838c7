package loopback

import (
	"context"
	"math/rand/v2"
	"os"
	"time"

	"thinctl/internal/contexts"
	"thinctl/internal/errno"

	"golang.org/x/sys/unix"
)

// backoff spaces attempts out, from a millisecond to 50 ms, each jittered so
// that processes that collided once do not collide again.
type backoff struct{ tries int }

func (b *backoff) wait(ctx context.Context) error {
	most := min(time.Millisecond<<min(b.tries, 6), 50*time.Millisecond)
	b.tries++
	return contexts.Sleep(ctx, most/2+rand.N(most/2))
}

// flock takes an exclusive lock on f, polling so that the wait ends with ctx.
// Closing f lets go of it, as the process's end does.
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
			return &Error{Kind: ErrBusy, Err: err, Detail: f.Name() + " is locked by another process"}
		}
	}
}
