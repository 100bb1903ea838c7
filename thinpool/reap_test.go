package thinpool_test

import (
	"slices"
	"strings"
	"testing"

	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
)

// Blocks are given back once, also where Reap comes before it is written down that
// they are back.
func TestReapedOnce(t *testing.T) {
	s := newStage(t)
	ctx := t.Context()
	var asked []string
	pool, err := thinpool.Open(ctx, thinpooltest.Steps(s.host, func(step string, do func() error) error {
		asked = append(asked, step)
		return do()
	}), s.Root, "vault")
	check(t, err)
	defer pool.Close(ctx)
	removed, err := pool.RemoveVolumes(ctx, []string{"base"}, thinpool.RemoveOptions{Later: true}, nil)
	check(t, err)
	waiting, err := pool.ReapVolumes(ctx, removed[0].Volume.ID)
	if err != nil || len(waiting) != 0 {
		t.Fatalf("%v wait, %v", waiting, err)
	}
	deleted := func(step string) bool { return strings.HasPrefix(step, "message delete") }
	if !slices.ContainsFunc(asked, deleted) {
		t.Fatalf("the kernel was not asked to delete: %q", asked)
	}
	asked = nil
	reaped, again, err := pool.Reap(ctx)
	if err != nil || len(reaped) != 1 || len(again) != 0 {
		t.Errorf("reaped %v, %v wait, %v", reaped, again, err)
	}
	if slices.ContainsFunc(asked, func(step string) bool { return deleted(step) || strings.HasPrefix(step, "create") }) {
		t.Errorf("the kernel was asked again: %q", asked)
	}
	asked = nil
	if reaped, _, err = pool.Reap(ctx); err != nil || len(reaped) != 0 {
		t.Errorf("written down, and reaped again: %v, %v", reaped, err)
	}
}
