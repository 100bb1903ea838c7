package thinpool_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/units"
)

// TestActivateWhileThePoolIsExtended checks that the activation of a volume waits while an
// extension has the pool suspended.
func TestActivateWhileThePoolIsExtended(t *testing.T) {
	f := thinpooltest.New(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	pool, err := thinpool.Create(ctx, f.Host(), f.Root, "p", thinpooltest.SmallPool())
	check(t, err)
	_, err = pool.CreateVolume(ctx, "v", thinpool.VolumeOptions{})
	check(t, err)

	// The extension suspends the pool, and resumes it when the activation has
	// tried to load the volume's table.
	suspended, tried := make(chan struct{}), make(chan struct{})
	var once sync.Once
	extender, err := thinpool.Open(ctx, thinpooltest.Steps(f.Host(), func(step string, do func() error) error {
		if strings.HasPrefix(step, "resume") && strings.HasSuffix(step, "-pool") {
			close(suspended)
			<-tried
		}
		return do()
	}), f.Root, "p")
	check(t, err)
	activator, err := thinpool.Open(ctx, thinpooltest.Steps(f.Host(), func(step string, do func() error) error {
		err := do()
		if strings.HasPrefix(step, "load") {
			once.Do(func() { close(tried) })
		}
		return err
	}), f.Root, "p")
	check(t, err)

	extended := make(chan error)
	go func() {
		_, err := extender.Extend(ctx, thinpool.ExtendOptions{Data: 128 * units.MiB, Metadata: 8 * units.MiB})
		extended <- err
	}()
	<-suspended
	volume, err := activator.ActivateVolume(ctx, "v")
	check(t, err)
	check(t, <-extended)
	check(t, f.Blocks().Write(volume, 3, 7))
}
