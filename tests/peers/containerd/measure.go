package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"
)

type key struct {
	peer, operation string
	depth, clients  int
}

// figures are one peer's of one operation.
type figures struct {
	took []time.Duration
	wall time.Duration // while all clients did it
}

func (f *figures) median() time.Duration { return f.quantile(0.5) }

func (f *figures) quantile(q float64) time.Duration {
	if f == nil || len(f.took) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(f.took))[int(q*float64(len(f.took)-1))]
}

// rate is how many were done in a second.
func (f *figures) rate() float64 {
	if f == nil || f.wall == 0 {
		return 0
	}
	return float64(len(f.took)) / f.wall.Seconds()
}

type results map[key]*figures

// measure goes through all, the peers by turns. One that fails is left out from
// there on, and said to be.
func measure(ctx context.Context, peers []peer, depths, clients []int, rounds int) (results, error) {
	found := results{}
	var faults []error
	out := map[string]bool{}
	for _, depth := range depths {
		for _, many := range clients {
			for _, one := range peers {
				if out[one.name()] {
					continue
				}
				began := time.Now()
				if err := found.turn(ctx, one, depth, many, rounds); err != nil {
					out[one.name()] = true
					faults = append(faults, fmt.Errorf("%s, depth %d, %d clients: %w", one.name(), depth, many, err))
				}
				fmt.Fprintf(os.Stderr, "%s, depth %d, %d clients: %.1f s\n", one.name(), depth, many, time.Since(began).Seconds())
			}
		}
	}
	return found, errors.Join(faults...)
}

// turn measures a peer: each operation is done by all clients, and then the
// next, so that each has a throughput of its own.
func (r results) turn(ctx context.Context, p peer, depth, clients, rounds int) error {
	top, err := p.grow(ctx, depth)
	if err != nil {
		return err
	}
	each := max(1, rounds/clients)
	for round := range each + 1 { // the first warms up
		for _, operation := range operations {
			took, wall, err := together(clients, func(client int) error {
				return p.do(ctx, operation, fmt.Sprintf("c%d-%d-%d", depth, clients, client), top)
			})
			if err != nil {
				return fmt.Errorf("%s: %w", operation, err)
			}
			if round == 0 {
				continue
			}
			at := key{p.name(), operation, depth, clients}
			if r[at] == nil {
				r[at] = &figures{}
			}
			r[at].took = append(r[at].took, took...)
			r[at].wall += wall
		}
	}
	return nil
}

func together(clients int, do func(client int) error) (took []time.Duration, wall time.Duration, err error) {
	took, faults := make([]time.Duration, clients), make([]error, clients)
	var all sync.WaitGroup
	began := time.Now()
	for client := range clients {
		all.Go(func() {
			mine := time.Now()
			faults[client] = do(client)
			took[client] = time.Since(mine)
		})
	}
	all.Wait()
	return took, time.Since(began), errors.Join(faults...)
}

// write prints the results as Markdown.
func (r results) write(w io.Writer, peers []peer, depths, clients []int) {
	for _, operation := range operations {
		fmt.Fprintf(w, "\n### %s\n\n| depth | clients | by | p50 | p99 | per second | to the floor | thinctl is faster | and does more by |\n|---:|---:|---|---:|---:|---:|---:|---:|---:|\n", operation)
		for _, depth := range depths {
			for _, many := range clients {
				ours := r[key{"thinctl", operation, depth, many}]
				base := r[key{floorName, operation, depth, many}]
				for _, p := range peers {
					f := r[key{p.name(), operation, depth, many}]
					if f == nil {
						fmt.Fprintf(w, "| %d | %d | %s | not measured | | | | | |\n", depth, many, p.name())
						continue
					}
					fmt.Fprintf(w, "| %d | %d | %s | %s | %s | %.0f | %s | %s | %s |\n", depth, many, p.name(), short(f.median()), short(f.quantile(0.99)),
						f.rate(), ratio(f.median().Seconds(), base.median().Seconds()), ratio(f.median().Seconds(), ours.median().Seconds()), ratio(ours.rate(), f.rate()))
				}
			}
		}
	}
}

func short(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000) }

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f x", a/b)
}
