package thinpool_test

import (
	"slices"
	"strings"
	"testing"

	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
)

// TestReapedOnce checks that the blocks of a volume are freed once, also if Reap runs before
// the database records that they are free.
func TestReapedOnce(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	var taken []string
	pool, err := thinpool.Open(ctx, thinpooltest.Steps(f.host, func(step string, do func() error) error {
		taken = append(taken, step)
		return do()
	}), f.Root, "vault")
	check(t, err)
	defer pool.Close(ctx)
	removed, err := pool.RemoveVolumes(ctx, []string{"base"}, thinpool.RemoveOptions{Later: true}, nil)
	check(t, err)
	waiting, err := pool.ReapVolumes(ctx, removed[0].Volume.ID)
	if err != nil || len(waiting) != 0 {
		t.Fatalf("got waiting %v, %v; want none", waiting, err)
	}
	deleted := func(step string) bool { return strings.HasPrefix(step, "message delete") }
	if !slices.ContainsFunc(taken, deleted) {
		t.Fatalf("got steps %q, want a delete message", taken)
	}
	taken = nil
	reaped, again, err := pool.Reap(ctx)
	if err != nil || len(reaped) != 1 || len(again) != 0 {
		t.Errorf("got reaped %v, waiting %v, %v; want 1 reaped", reaped, again, err)
	}
	if slices.ContainsFunc(taken, func(step string) bool { return deleted(step) || strings.HasPrefix(step, "create") }) {
		t.Errorf("got steps %q, want no second delete message", taken)
	}
	taken = nil
	if reaped, _, err = pool.Reap(ctx); err != nil || len(reaped) != 0 {
		t.Errorf("third time: got reaped %v, %v; want none", reaped, err)
	}
}
