package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

type key struct {
	peer, operation string
	depth, clients  int // 0 for peers without depths
}

// figures are the times of one peer and one operation.
type figures struct {
	took []time.Duration
	wall time.Duration // the time until all clients had done it
	done int
}

func (f *figures) add(wall time.Duration, done int, took ...time.Duration) {
	f.took = append(f.took, took...)
	f.wall += wall
	f.done += done
}

func (f *figures) cell() cell {
	sorted := slices.Sorted(slices.Values(f.took))
	n := len(sorted)
	return cell{p50: (sorted[(n-1)/2] + sorted[n/2]) / 2, p99: sorted[(n*99+99)/100-1],
		rate: float64(f.done) / f.wall.Seconds()}
}

type results map[key]*figures

func (r results) at(k key) *figures {
	if r[k] == nil {
		r[k] = &figures{}
	}
	return r[k]
}

func (r results) table() table {
	t := table{}
	for k, f := range r {
		t[k] = f.cell()
	}
	return t
}

// measure measures all operations, with the peers in turn. A peer that fails is left out
// from then on, and the table notes it.
func (p plan) measure(ctx context.Context, r results, peers []peer, depths, clients []int) error {
	var faults []error
	out := map[string]bool{}
	for _, depth := range depths {
		for _, many := range clients {
			for _, one := range peers {
				if out[one.name()] || ctx.Err() != nil {
					continue
				}
				began := time.Now()
				top, err := one.grow(ctx, depth)
				grown := time.Now()
				if err == nil {
					err = p.one(ctx, r, one, top, depth, many)
				}
				if err != nil {
					out[one.name()] = true
					faults = append(faults, fmt.Errorf("%s, depth %d, %d clients: %w", one.name(), depth, many, err))
					fmt.Fprintln(os.Stderr, faults[len(faults)-1])
				}
				fmt.Fprintf(os.Stderr, "%s, depth %d, %d clients, %.1f s, of which %.1f s for the chain: %s\n", one.name(), depth,
					many,
					time.Since(began).Seconds(), grown.Sub(began).Seconds(), r.line(one.name(), depth, many))
			}
		}
	}
	return errors.Join(append(faults, ctx.Err())...)
}

// line prints the result of a turn, in case the run is interrupted.
func (r results) line(peer string, depth, clients int) string {
	var all []string
	for _, operation := range append(operations, collected) {
		if f := r[key{peer, operation, depth, clients}]; f != nil {
			all = append(all, operation+" "+f.cell().String())
		}
	}
	return strings.Join(all, "; ")
}

// one measures a peer. All clients finish an operation before the next begins, so that each
// operation has a throughput of its own.
func (p plan) one(ctx context.Context, r results, of peer, top string, depth, clients int) error {
	if err := round(ctx, results{}, of, top, depth, 1); err != nil { // warms up
		return err
	}
	began := time.Now()
	for n := range max(1, p.rounds/clients) {
		if n > 0 && time.Since(began) > p.turn {
			break
		}
		if err := round(ctx, r, of, top, depth, clients); err != nil {
			return err
		}
	}
	return nil
}

func round(ctx context.Context, r results, of peer, top string, depth, clients int) error {
	removals := time.Duration(0)
	for _, operation := range operations {
		took, wall, err := together(clients, func(client int) error {
			return of.do(ctx, operation, fmt.Sprintf("c%d-%d-%d", depth, clients, client), top)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", operation, err)
		}
		r.at(key{of.name(), operation, depth, clients}).add(wall, clients, took...)
		if operation == remove || operation == removeView {
			removals += wall
		}
	}
	began := time.Now()
	if err := of.collect(ctx); err != nil {
		return fmt.Errorf("collecting what was removed: %w", err)
	}
	removals += time.Since(began)
	r.at(key{of.name(), collected, depth, clients}).add(removals, 2*clients, removals/time.Duration(2*clients))
	return nil
}

// together calls do for all clients concurrently.
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
