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

// contest is one question that both can answer.
type contest struct {
	op   string // ours
	peer []string
	note string
}

var contests = []contest{
	{op: "raw", note: "reading as many blocks as are in use, from the start, and looking at nothing"},
	{op: "usage", peer: []string{"thin_ls", "--no-headers", "-o", "DEV,MAPPED_BLOCKS,EXCLUSIVE_BLOCKS,SHARED_BLOCKS"}},
	{op: "check", peer: []string{"thin_check", "-q"}, note: "thin_check does not look at data counts"},
	{op: "dump", peer: []string{"thin_dump"}},
	{op: "owners", peer: []string{"thin_rmap", "--region", "0..1000"}, note: "thin_rmap names one owner of a shared leaf"},
}

var delta = contest{op: "delta", peer: []string{"thin_delta", "--snap1", "0", "--snap2", "1"}}

type timing struct {
	took   []time.Duration
	worked time.Duration // by all processors, together
	memory int64         // kB, the most
	slow   bool          // once is enough
}

// long is what is done only once.
const long = 20 * time.Second

func (t timing) median() time.Duration {
	slices.Sort(t.took)
	return t.took[len(t.took)/2]
}

func compare(ctx context.Context, dir string, names []string, rounds int) error {
	fmt.Println("| stored mappings | metadata | operation | by | median | min | max | times | processors | memory | thinctl is faster | to raw |")
	fmt.Println("|---|---:|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, name := range append(names, "delta") {
		path, err := file(ctx, self, dir, name)
		if err != nil {
			return err
		}
		ask := contests
		if name == "delta" {
			ask = []contest{contests[0], delta}
		}
		if err := measure(ctx, self, name, path, ask, rounds); err != nil {
			return err
		}
	}
	return nil
}

func measure(ctx context.Context, self, name, path string, ask []contest, rounds int) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	ours, theirs := make([]timing, len(ask)), make([]timing, len(ask))
	for round := range rounds + 1 { // the first is to warm up
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
		fmt.Printf("| %s | %d MiB | %s | %s | %s | %s | %s | %d | %s | %d MiB | %.1f x | %.2f x |\n", name, info.Size()>>20, op, by,
			brief(m), brief(slices.Min(t.took)), brief(slices.Max(t.took)), len(t.took), brief(t.worked/time.Duration(len(t.took))), t.memory>>10, float64(m)/float64(us.median()), float64(m)/float64(floor))
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

func brief(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

// run times a program whose output nobody reads. Warming up counts only where
// it took long.
func (t *timing) run(ctx context.Context, warmUp bool, program string, args ...string) error {
	if t.slow {
		return nil
	}
	command := exec.CommandContext(ctx, program, args...)
	var said strings.Builder
	command.Stderr = &said
	began := time.Now()
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, said.String())
	}
	took := time.Since(began)
	if t.slow = took > long; warmUp && !t.slow {
		return nil
	}
	t.took = append(t.took, took)
	t.worked += command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	if usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage); ok {
		t.memory = max(t.memory, usage.Maxrss)
	}
	return nil
}
