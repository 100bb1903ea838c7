package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

var operations = []string{"create", "snapshot + activate", "deactivate + remove"}

// times are the times of one peer and one operation at one size.
type times []time.Duration

func (t times) median() time.Duration {
	s := slices.Sorted(slices.Values(t))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// least returns the time on an otherwise idle machine.
func (t times) least() time.Duration {
	if len(t) == 0 {
		return 0
	}
	return slices.Min(t)
}

type key struct {
	peer, operation string
	size            int
}

type results map[key]times

// plan holds the sizes and the numbers of rounds.
type plan struct {
	sizes  []int
	rounds int
	burst  int           // the number of turns of fast peers in each round
	budget time.Duration // of one peer at one size; a slow one has fewer rounds
}

// long is the time of an operation from which on a peer has one turn in each round.
const long = 200 * time.Millisecond

// run is a peer while it is measured at one size.
type run struct {
	peer
	size  int
	spent time.Duration
	last  time.Duration // of its newest operation
	fault error
}

// measure runs the rounds at each size. A peer that fails is left out from then on, and the
// table notes it.
func measure(ctx context.Context, peers []peer, p plan, progress io.Writer) (results, []error) {
	found := results{}
	var faults []error
	for _, size := range p.sizes {
		var runs []*run
		for _, one := range peers {
			began := time.Now()
			if err := one.fill(ctx, size); err != nil {
				faults = append(faults, fmt.Errorf("%s: filling to %d volumes: %w", one.name(), size, err))
				continue
			}
			fmt.Fprintf(progress, "%s has %d volumes after %s\n", one.name(), size, time.Since(began).Round(time.Millisecond))
			runs = append(runs, &run{peer: one, size: size})
		}
		warmUp := results{}
		p.turns(ctx, runs, warmUp)
		for _, r := range runs {
			if r.fault == nil {
				r.spent = 0 // even the slowest is measured once
			}
		}
		for range p.rounds {
			for pass := range p.burst {
				var turn []*run
				for _, r := range runs {
					if r.spent < p.budget && (pass == 0 || r.last < long) {
						turn = append(turn, r)
					}
				}
				p.turns(ctx, turn, found)
				slices.Reverse(runs) // the first one finds the coldest caches
			}
		}
		peers = nil
		for _, r := range runs {
			if r.fault == nil {
				peers = append(peers, r.peer)
				continue
			}
			faults = append(faults, fmt.Errorf("%s with %d volumes: %w", r.name(), size, r.fault))
		}
	}
	return found, faults
}

// turns runs each operation once with every peer, then restores the pools.
func (p plan) turns(ctx context.Context, runs []*run, found results) {
	for i, operation := range operations {
		for _, r := range runs {
			do, volume := r.create, "new"
			switch i {
			case 1:
				do, volume = r.snapshot, "snap"
			case 2:
				do, volume = r.remove, "snap"
			}
			r.time(operation, found, func() error { return do(ctx, volume) })
		}
	}
	for _, r := range runs {
		if r.fault == nil {
			r.fault = r.remove(ctx, "new")
		}
	}
}

func (r *run) time(operation string, found results, do func() error) {
	if r.fault != nil {
		return
	}
	began := time.Now()
	if err := do(); err != nil {
		r.fault, r.spent = fmt.Errorf("%s: %w", operation, err), 1<<62
		return
	}
	r.last = time.Since(began)
	r.spent += r.last
	k := key{r.name(), operation, r.size}
	found[k] = append(found[k], r.last)
}
