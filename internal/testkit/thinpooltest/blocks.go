package thinpooltest

import (
	"context"
	"errors"
	"time"

	"thinctl/internal/testkit/dmtest"
	"thinctl/thinpool"
)

// Blocks writes and reads stamps of the kernel in memory.
func (f *Fixture) Blocks() Blocks { return stamps{f.Kernel} }

type stamps struct{ kernel *dmtest.Kernel }

func (s stamps) Write(v thinpool.Volume, block, value uint64) error {
	return patiently(func() error { return s.kernel.WriteStamp(v.Dev, block, value) })
}

func (s stamps) Read(v thinpool.Volume, block uint64) (values []uint64, err error) {
	err = patiently(func() error {
		value, err := s.kernel.ReadStamp(v.Dev, block)
		values = []uint64{value}
		return err
	})
	return values, err
}

// patiently repeats IO that a kernel would let wait, until a suspended device was resumed.
func patiently(do func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		err := do()
		if !errors.Is(err, dmtest.ErrWouldBlock) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Microsecond):
		}
	}
}
