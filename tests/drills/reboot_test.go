//go:build lab && !kernel

package drills

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/docs/runbooks"
	"thinctl/tests/lab"
)

const (
	roleBoot = "THINCTL_DRILL_BOOT" // the number of the boot
	first    = "first"
	second   = "second"
	cutNow   = "cut the power now"
)

func TestMain(m *testing.M) {
	boot := os.Getenv(roleBoot)
	if boot == "" {
		os.Exit(m.Run())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := guest(ctx, boot); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestReboot follows the runbook up to its `reboot`, which cuts the guest's power, and goes
// on in a second boot with the same disks.
func TestReboot(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	config := lab.Config{Kernel: os.Getenv("THINCTL_KERNEL"), Command: []string{self}, Scratch: 2 << 30,
		KeepScratch: filepath.Join(t.TempDir(), "scratch"), PowerOffOn: cutNow, Timeout: 4 * time.Minute}
	var pasted string
	for _, boot := range []string{first, second} {
		var stdout, stderr bytes.Buffer
		config.Stdout, config.Stderr, config.Env = &stdout, &stderr, []string{roleBoot + "=" + boot}
		result, err := lab.Run(t.Context(), config)
		t.Logf("%s boot, %.1f s:\n%s%s", boot, result.Elapsed.Seconds(), &stdout, &stderr)
		if err != nil || result.PoweredOff != (boot == first) || boot == second && result.ExitCode != 0 {
			t.Fatalf("got powered off %v, exit status %d: %v", result.PoweredOff, result.ExitCode, err)
		}
		pasted += stdout.String()
	}
	text, _ := runbooks.Text("reboot")
	steps, err := runbooks.Commands(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		if step.Command != "reboot" && !strings.Contains(pasted, done(step.Line)) {
			t.Errorf("reboot.md:%d: `%s` was not run", step.Line, step.Command)
		}
	}
}

func done(line int) string { return fmt.Sprintf("pasted line %d of the runbook\n", line) }

func guest(ctx context.Context, boot string) error {
	drill := Drill{Runbook: "reboot", Vars: map[string]string{"POOL": "vault", "VOLUME": "web"}}
	file := "/var/lib/thinctl/vault/mnt/web/file"
	if boot == first {
		drill.Last = "sync"
		if err := commands(ctx, "pool create vault --data-size 64M --metadata-size 4M",
			"volume create vault web --size 32M --fs ext4", "volume mount vault web"); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte("still there"), 0o600); err != nil {
			return err
		}
	} else {
		drill.After = "reboot"
	}
	lines, err := drill.Follow(ctx, func(format string, args ...any) { fmt.Printf(format+"\n", args...) })
	if err != nil {
		return err
	}
	for _, line := range slices.Sorted(slices.Values(lines)) {
		fmt.Print(done(line))
	}
	if boot == first {
		fmt.Println(cutNow)
		<-ctx.Done()
		return errors.New("the power stayed on")
	}
	text, err := os.ReadFile(file)
	if err == nil && string(text) != "still there" {
		err = fmt.Errorf("contents of the file: got %q", text)
	}
	return err
}

func commands(ctx context.Context, lines ...string) error {
	for _, line := range lines {
		if out, err := exec.CommandContext(ctx, "thinctl", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("thinctl %s: %w\n%s", line, err, out)
		}
	}
	return nil
}
