package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"thinctl/thinpool"
)

// footprint opens, lists and changes the pool in a process of its own, and prints time and
// memory.
func footprint(ctx context.Context, f fixture, root, name string, w io.Writer) error {
	began := time.Now()
	pool, err := thinpool.Open(ctx, f.host(), root, name)
	if err != nil {
		return err
	}
	opened := time.Since(began)
	before, err := peakMemory()
	if err != nil {
		return err
	}
	began = time.Now()
	volumes, err := pool.Volumes(ctx)
	if err != nil {
		return err
	}
	listed := time.Since(began)
	again := time.Now()
	for i := range 20 {
		volume := fmt.Sprintf("footprint%d", i)
		if _, err := pool.CreateVolume(ctx, volume, thinpool.VolumeOptions{}); err != nil {
			return err
		}
		if _, err := pool.RemoveVolume(ctx, volume, thinpool.RemoveOptions{}); err != nil {
			return err
		}
	}
	changed := time.Since(again)
	if err := pool.Close(ctx); err != nil {
		return err
	}
	peak, err := peakMemory()
	fmt.Fprintf(w, "| %d | %s | %s | %s | %s | %s |\n", len(volumes), short(opened), short(listed), before,
		short(changed/20), peak)
	return err
}

const footprintHead = "| volumes | open | list | memory after opening (VmHWM) | create + remove " +
	"| memory at the end (VmHWM) |\n|---:|---:|---:|---:|---:|---:|\n"

func peakMemory() (string, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("no VmHWM in /proc/self/status")
}

// ownProcess runs footprint in a fresh process.
func ownProcess(ctx context.Context, o *ours, w io.Writer) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-footprint", o.pool.Name(), "-root", o.root)
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	return cmd.Run()
}
