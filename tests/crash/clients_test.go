//go:build kernel

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/units"
)

// These are enough for every act of every client to meet every other. Thousands run in
// thinpool's own test, where a step does not wait for an emulated disk.
const (
	clientsPerProcess = 16
	processes         = 2
	stepsPerClient    = 8
)

// TestTwoProcesses drives one pool from two processes with many clients each: nothing is lost
// and nothing is left.
func TestTwoProcesses(t *testing.T) {
	host, letGo, err := OpenHost()
	if err != nil {
		t.Fatal(err)
	}
	defer letGo()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	root := t.TempDir()
	pool, err := thinpool.Create(ctx, host, root, thinpooltest.CrashPool, thinpool.CreateOptions{
		DataSize: 512 * units.MiB, MetadataSize: 8 * units.MiB, BaseSize: 16 * units.MiB, Reserve: &thinpool.Reserve{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := thinpooltest.MakeGolden(ctx, pool, Marks{}); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	crowds := make([]*exec.Cmd, processes)
	outputs := make([]bytes.Buffer, processes)
	for i := range crowds {
		crowds[i] = child(t, root, fmt.Sprintf("clients %d", i))
		crowds[i].Stdout, crowds[i].Stderr = &outputs[i], os.Stderr
		if err := crowds[i].Start(); err != nil {
			t.Fatal(err)
		}
		defer context.AfterFunc(ctx, func() { crowds[i].Process.Kill() })()
	}
	all := thinpooltest.NewLedger()
	for i, crowd := range crowds {
		ledger := thinpooltest.NewLedger()
		if err := crowd.Wait(); err != nil {
			t.Errorf("process %d: %v", i, err)
		} else if err := json.Unmarshal(outputs[i].Bytes(), ledger); err != nil {
			t.Errorf("process %d printed %q: %v", i, outputs[i].String(), err)
		}
		all.Add(ledger)
	}
	t.Logf("%d steps of %d clients in %s", processes*clientsPerProcess*stepsPerClient, processes*clientsPerProcess,
		time.Since(began).Round(time.Millisecond))
	if t.Failed() {
		return
	}
	if err := all.Compare(ctx, pool, Marks{}); err != nil {
		t.Error(err)
	}
	report, err := pool.Check(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Findings) != 0 {
		t.Errorf("check: got %+v", report.Findings)
	}
	if err := Leaks(root); err != nil {
		t.Error(err)
	}
	if err := destroyChecked(ctx, host, root, pool.Name()); err != nil {
		t.Error(err)
	}
	if err := NothingLeft(ctx, root); err != nil {
		t.Error(err)
	}
}

// clients is one of the two processes; it prints its ledger.
func clients(ctx context.Context, rest string) error {
	number, err := strconv.Atoi(rest)
	if err != nil {
		return err
	}
	host, letGo, err := OpenHost()
	if err != nil {
		return err
	}
	defer letGo()
	pool, err := thinpool.Open(ctx, host, os.Args[1], thinpooltest.CrashPool)
	if err != nil {
		return err
	}
	ledger := thinpooltest.NewGoldenLedger()
	crowd := &thinpooltest.Crowd{Pool: pool, Blocks: Marks{}, Ledger: ledger, Grows: number == 0,
		First: number * clientsPerProcess, Number: clientsPerProcess, Steps: stepsPerClient, Seed: 1}
	if err := crowd.Run(ctx); err != nil {
		return err
	}
	if err := pool.Close(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(ledger)
}
