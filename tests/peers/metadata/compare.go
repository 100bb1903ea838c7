package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// comparison is an operation that thinctl and a peer both have.
type comparison struct {
	op   string // a key of operations
	peer []string
	note string
}

var comparisons = []comparison{
	{op: "raw", note: "a sequential read of as many blocks as are in use, without any checks"},
	{op: "usage", peer: []string{"thin_ls", "--no-headers", "-o", "DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS"}},
	{op: "check", peer: []string{"thin_check", "-q"},
		note: "thin_check does not check the reference counts of data blocks"},
	{op: "dump", peer: []string{"thin_dump"}},
	{op: "owners", peer: []string{"thin_rmap", "--region", "0..1000"},
		note: "thin_rmap prints only one owner of a shared leaf"},
}

var delta = comparison{op: "delta", peer: []string{"thin_delta", "--snap1", "0", "--snap2", "1"}}

type timing struct {
	took       []time.Duration
	processors time.Duration // processor time, the sum of all runs
	memory     int64         // largest resident set in KiB
	slow       bool          // one run is enough
}

// slowOperation is the duration above which an operation is measured only once.
const slowOperation = 20 * time.Second

func (t timing) median() time.Duration {
	slices.Sort(t.took)
	return t.took[len(t.took)/2]
}

func compare(ctx context.Context, dir string, names []string, rounds int) error {
	fmt.Println("| stored mappings | metadata | operation | by | median | min | max | times | processors | memory " +
		"| median / thinctl | median / raw |")
	fmt.Println("|---|---:|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, name := range append(names, "delta") {
		path, err := poolFile(ctx, self, dir, name)
		if err != nil {
			return err
		}
		ask := comparisons
		if name == "delta" {
			ask = []comparison{comparisons[0], delta}
		}
		if err := measure(ctx, self, name, path, ask, rounds); err != nil {
			return err
		}
	}
	return nil
}

func measure(ctx context.Context, self, name, path string, ask []comparison, rounds int) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	ours, theirs := make([]timing, len(ask)), make([]timing, len(ask))
	for round := range rounds + 1 { // the first round warms up the caches
		for i, c := range ask {
			if err := ours[i].run(ctx, round == 0, self, "-op", c.op, path); err != nil {
				return err
			}
			if c.peer != nil {
				if err := theirs[i].run(ctx, round == 0, c.peer[0], append(slices.Clone(c.peer[1:]), path)...); err != nil {
					return err
				}
			}
		}
	}
	floor := ours[0].median()
	row := func(op, by string, t, us timing) {
		m := t.median()
		fmt.Printf("| %s | %d MiB | %s | %s | %s | %s | %s | %d | %s | %d MiB | %.1f x | %.2f x |\n",
			name, info.Size()>>20, op, by,
			seconds(m), seconds(slices.Min(t.took)), seconds(slices.Max(t.took)), len(t.took),
			seconds(t.processors/time.Duration(len(t.took))), t.memory>>10,
			float64(m)/float64(us.median()), float64(m)/float64(floor))
	}
	for i, c := range ask {
		row(c.op, "thinctl", ours[i], ours[i])
		if c.peer != nil {
			row(c.op, c.peer[0], theirs[i], ours[i])
		}
		if c.note != "" && name == "10M" {
			defer fmt.Printf("\n%s: %s.\n", c.op, c.note)
		}
	}
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

// run measures a program and drops its output. A warm-up counts only if it was slow.
func (t *timing) run(ctx context.Context, warmUp bool, program string, args ...string) error {
	if t.slow {
		return nil
	}
	command := exec.CommandContext(ctx, program, args...)
	var stderr strings.Builder
	command.Stderr = &stderr
	began := time.Now()
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, stderr.String())
	}
	took := time.Since(began)
	if t.slow = took > slowOperation; warmUp && !t.slow {
		return nil
	}
	t.took = append(t.took, took)
	t.processors += command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	if usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage); ok {
		t.memory = max(t.memory, usage.Maxrss)
	}
	return nil
}
