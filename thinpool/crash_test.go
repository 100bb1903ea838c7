package thinpool_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
)

// TestStoppedAtEveryStep stops a process at each step of each operation. The operation must
// be done or undone, after a restart and after a power cut. No acknowledged change may be
// lost and nothing may leak. tests/crash does the same on a real kernel.
func TestStoppedAtEveryStep(t *testing.T) {
	for _, operation := range thinpooltest.Operations() {
		for _, phase := range []thinpooltest.Phase{thinpooltest.Before, thinpooltest.After} {
			for _, power := range []bool{false, true} {
				phaseName := [...]string{"before", "after"}[phase]
				name := fmt.Sprintf("%s/%s/%s", operation.Name, phaseName, map[bool]string{false: "killed", true: "power cut"}[power])
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					for n := 1; stopped(t, dmtest.Options{}, operation, n, phase, power); n++ {
					}
				})
			}
		}
	}
}

// stopped stops the operation at its n-th step in a new fixture. It reports whether the
// operation has that many steps.
func stopped(t *testing.T, kernel dmtest.Options, operation thinpooltest.Operation, n int, phase thinpooltest.Phase, power bool) bool {
	t.Helper()
	f := thinpooltest.NewOn(t, kernel)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	check(t, thinpooltest.Prepare(ctx, f.Host(), f.Root, f.Blocks(), true))
	before, err := thinpooltest.Inspect(ctx, f.Host(), f.Root)
	check(t, err)
	f.StopAt(n, phase)
	result := operation.Run(ctx, f.Host(), f.Root)
	step, stopped := f.Restart()
	if power {
		f.PowerOff(t)
	}
	fault := func(format string, args ...any) {
		t.Helper()
		t.Errorf("stopped %s step %d (%s), the operation returned %v: %s",
			[...]string{"before", "after"}[phase], n, step, result, fmt.Sprintf(format, args...))
	}
	if err := thinpooltest.Reopen(ctx, f.Host(), f.Root); err != nil {
		fault("%v", err)
	}
	s, err := thinpooltest.Inspect(ctx, f.Host(), f.Root)
	if err != nil {
		fault("%v", err)
	}
	done, undone := operation.Done(before, s), operation.Undone(before, s)
	switch {
	case power && operation.Volatile:
	case done == undone:
		fault("done %v, undone %v: %+v", done, undone, s)
	case result == nil && !done:
		fault("acknowledged, but not done: %+v", s)
	}
	if err := thinpooltest.ReadBack(ctx, f.Host(), f.Root, f.Blocks(), &s); err != nil {
		fault("%v", err)
	}
	tearDown(ctx, t, f, fault)
	if t.Failed() {
		return false
	}
	if !stopped {
		check(t, result)
		t.Logf("%d steps", n-1)
	}
	return stopped
}

// tearDown destroys all pools, and checks that nothing is left.
func tearDown(ctx context.Context, t *testing.T, f *thinpooltest.Fixture, fault func(string, ...any)) {
	t.Helper()
	names, err := thinpool.List(f.Root)
	check(t, err)
	for _, name := range names {
		err := thinpooltest.WithPool(ctx, f.Host(), f.Root, name, func(p *thinpool.Pool) error { return p.Destroy(ctx) })
		if err != nil {
			fault("%v", err)
		}
	}
	entries, err := f.Kernel.List(ctx)
	check(t, err)
	if len(entries) != 0 || len(f.Loops.Attached()) != 0 {
		fault("left behind: devices %v, loops %v", entries, f.Loops.Attached())
	}
	files, err := os.ReadDir(f.Root)
	check(t, err)
	for _, file := range files {
		if file.Name() != ".lock" {
			fault("left behind: %s", file.Name())
		}
	}
	if violations := f.Kernel.Violations(); len(violations) != 0 {
		fault("%v", violations)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
