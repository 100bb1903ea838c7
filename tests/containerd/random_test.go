//go:build systemd

package containerd

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
)

// rounds are the rounds of the random test, with their shares in a hundred. Few run a
// program: in an emulated guest that takes seconds, most of them in runc. All go through
// containerd.
var rounds = []struct {
	what  string
	often int
	do    func(f *fixture, c *client, name string, dice *rand.Rand) error
}{
	{"a container runs to its end", 5, func(f *fixture, c *client, name string, dice *rand.Rand) error {
		err := c.begin(name, "/busybox", "dd", "if=/dev/zero", "of=/f", "bs=64k", "count="+strconv.Itoa(dice.IntN(64)))
		if err != nil {
			return err
		}
		status, err := c.wait(name)
		if status != 0 {
			err = fmt.Errorf("exit status of the program: got %d", status)
		}
		return errors.Join(err, c.unmount(name), c.drop(name))
	}},
	{"a container is killed", 5, func(f *fixture, c *client, name string, _ *rand.Rand) error {
		err := c.begin(name, "/busybox", "sh", "-c", "while echo line; do :; done > /f")
		return errors.Join(err, c.end(name))
	}},
	{"a container is made and never started", 3, func(f *fixture, c *client, name string, _ *rand.Rand) error {
		return first(func() error { return c.create(name, "/busybox", "true") }, c.do(c.mount, name), c.do(c.unmount, name),
			c.do(c.drop, name))
	}},
	{"ctr run --rm", 1, func(f *fixture, _ *client, name string, _ *rand.Rand) error {
		_, err := f.start("--rm", f.image, name, "/busybox", "touch", "/f")
		return err
	}},
	{"a snapshot is removed unused", 40, func(f *fixture, c *client, name string, _ *rand.Rand) error {
		_, err := c.prepare(name)
		return errors.Join(err, c.remove(name))
	}},
	{"a layer is written, committed, viewed", 46, layer},
}

// layer does what unpacking does, and removes the snapshot again.
func layer(f *fixture, c *client, name string, dice *rand.Rand) (err error) {
	mounts, err := c.prepare(name)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "layer-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	m := mounts.Mounts[0]
	if err := mountAs(m.Source, dir, m.Type, m.Options); err != nil {
		return err
	}
	// A ctr of another round, forked while the file is open, has it open until its exec.
	syscall.ForkLock.RLock()
	err = os.WriteFile(dir+"/file", make([]byte, dice.IntN(4<<20)), 0o600)
	syscall.ForkLock.RUnlock()
	if err := errors.Join(err, syscall.Unmount(dir, 0)); err != nil {
		return err
	}
	done, look := name+"-done", name+"-look"
	if _, err := c.snapshots.Commit(c.ctx,
		&snapshots.CommitSnapshotRequest{Snapshotter: snapshotter, Key: name, Name: done, Labels: kept}); err != nil {
		return err
	}
	_, err = c.snapshots.View(c.ctx,
		&snapshots.ViewSnapshotRequest{Snapshotter: snapshotter, Key: look, Parent: done, Labels: kept})
	if err != nil {
		return err
	}
	if _, err := c.snapshots.Usage(c.ctx, &snapshots.UsageRequest{Snapshotter: snapshotter, Key: done}); err != nil {
		return err
	}
	return errors.Join(c.remove(look), c.remove(done))
}

// random makes and ends containers and snapshots, some concurrently, and kills the
// snapshotter while a container runs. Everything is as before at the end.
func (f *fixture) random(t *testing.T) {
	const atOnce, between = 3, 100
	count := number("THINCTL_ROUNDS", 10)
	c := f.client(t)
	var lots []int
	for i, round := range rounds {
		for range round.often {
			lots = append(lots, i)
		}
	}
	before, began := f.left(t), time.Now()
	var mu sync.Mutex
	done, spent := map[string]int{}, map[string]time.Duration{}
	for from := 0; from < count; from += between {
		var all sync.WaitGroup
		for worker := range atOnce {
			all.Go(func() {
				for n := from + worker; n < min(from+between, count) && !t.Failed(); n += atOnce {
					dice := rand.New(rand.NewPCG(6, uint64(n)))
					round, at := rounds[lots[dice.IntN(len(lots))]], time.Now()
					if n < len(rounds) {
						round = rounds[n] // each at least once
					}
					if err := round.do(f, c, fmt.Sprint("r", n), dice); err != nil {
						t.Errorf("round %d, %s: %v", n, round.what, err)
					}
					mu.Lock()
					done[round.what]++
					spent[round.what] += time.Since(at)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
		name := fmt.Sprint("over", from)
		f.shell(t, name, "exec /busybox sleep 100000")
		check(t, f.s.Kill())
		f.serve(t)
		f.kill(t, name)
		t.Logf("%d rounds, %.0f s", min(from+between, count), time.Since(began).Seconds())
	}
	for _, round := range rounds {
		if n := done[round.what]; n > 0 {
			t.Logf("%s: %d times, %.2f s each with %d at once", round.what, n, spent[round.what].Seconds()/float64(n), atOnce)
		}
	}
	f.asBefore(t, before, "metadata")
}
