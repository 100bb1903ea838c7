//go:build lab

package poweroff

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"thinctl/tests/lab"
)

// Variables in the guest's environment that give each boot its orders.
const (
	roleSeed = "THINCTL_POWEROFF_SEED"
	roleBoot = "THINCTL_POWEROFF_BOOT"
	roleLast = "THINCTL_POWEROFF_LAST"
)

func TestMain(m *testing.M) {
	if os.Getenv(roleBoot) == "" {
		os.Exit(m.Run())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	seed, err := strconv.ParseUint(os.Getenv(roleSeed), 10, 64)
	boot, err2 := strconv.Atoi(os.Getenv(roleBoot))
	if err := errors.Join(err, err2); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if err := guest(ctx, seed, boot, os.Getenv(roleLast) != ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Two guests run concurrently, each with a pool and a series of its own.
const series = 2

func TestPowerOff(t *testing.T) {
	count := number(t, "THINCTL_POWEROFFS", 50)
	seed := number(t, "THINCTL_SEED", uint64(time.Now().UnixNano()))
	t.Logf("%d power-offs, THINCTL_SEED=%d", count, seed)
	began := time.Now()
	t.Run("series", func(t *testing.T) {
		for i := range uint64(series) {
			t.Run(strconv.FormatUint(i, 10), func(t *testing.T) {
				t.Parallel()
				s := newMachine(t, seed+i)
				share := int((count + i) / series)
				for boot := range share + 1 {
					if err := s.boot(boot, boot == share); err != nil {
						t.Fatalf("THINCTL_SEED=%d, boot %d: %v", seed, boot, err)
					}
				}
			})
		}
	})
	t.Logf("%d power-offs in %s", count, time.Since(began).Round(time.Second))
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// machine is a guest whose disks are kept over its boots.
type machine struct {
	t       *testing.T
	config  lab.Config
	journal string
	seed    uint64
	told    int // acknowledgements received so far
}

func newMachine(t *testing.T, seed uint64) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, seed: seed, journal: filepath.Join(dir, "journal")}
	if err := os.WriteFile(m.journal, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(m.journal, 64<<20); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m.config = lab.Config{
		Kernel: os.Getenv("THINCTL_KERNEL"), Command: []string{self}, CPUs: 1, Memory: 1 << 30, NoBuild: true,
		KeepScratch: filepath.Join(dir, "scratch"), Scratch: 2 << 30, Disks: []lab.Disk{{File: m.journal}},
		PowerOffOn: cutNow, Timeout: 4 * time.Minute,
	}
	return m
}

// boot runs one boot to its power cut, or the last one to its end.
func (m *machine) boot(boot int, last bool) error {
	var stdout, stderr bytes.Buffer
	config := m.config
	config.Stdout, config.Stderr = &stdout, &stderr
	config.Env = []string{fmt.Sprintf("%s=%d", roleSeed, m.seed), fmt.Sprintf("%s=%d", roleBoot, boot)}
	if last {
		config.Env = append(config.Env, roleLast+"=1")
	}
	result, err := lab.Run(m.t.Context(), config)
	switch {
	case err != nil:
		return err
	case result.PoweredOff == last, last && result.ExitCode != 0:
		return fmt.Errorf("powered off %v, exit status %d: %s", result.PoweredOff, result.ExitCode, stderr.String())
	}
	told, notes, err := m.compare(stdout.String())
	m.told += told
	m.t.Logf("boot %d: %d acknowledgements, %.1f s to the load's start, %.1f s in all; %s",
		boot, told, result.Boot.Seconds(), result.Elapsed.Seconds(), notes)
	return err
}

// compare verifies that each acknowledgement that was printed is in the journal, where the
// next boot finds it.
func (m *machine) compare(printed string) (told int, notes string, err error) {
	file, err := os.Open(m.journal)
	if err != nil {
		return 0, "", err
	}
	defer file.Close()
	records, err := readRecords(file)
	if err != nil {
		return 0, "", err
	}
	known := map[record]bool{}
	for _, r := range records {
		known[r] = true
	}
	var said []string
	for line := range strings.Lines(printed) {
		if !strings.HasSuffix(line, "\n") || line == cutNow+"\n" {
			continue // the power was cut in the middle of the line
		}
		if line[0] != '{' {
			said = append(said, strings.TrimSpace(line))
			continue
		}
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return told, "", fmt.Errorf("the guest printed %q: %w", line, err)
		}
		if !known[r] {
			return told, "", fmt.Errorf("%+v was printed and is not in the journal", r)
		}
		told++
	}
	return told, strings.Join(said, "; "), nil
}
