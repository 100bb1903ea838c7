package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"thinctl/tests/lab/boot"
)

// probeLimit is the time within which a guest under KVM must print a line. On some hosts
// /dev/kvm opens and a guest then spins forever.
const probeLimit = 10 * time.Second

const (
	accelKVM = "kvm"
	accelTCG = "tcg"
)

// accel returns the accelerator that works on this host. The answer holds until the host
// boots again.
func (c cache) accel(ctx context.Context, k kernel, guestProgram string, progress io.Writer) (string, error) {
	device, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return accelTCG, nil
	}
	device.Close()
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the id of the host's boot: %w", err)
	}
	dir, err := c.entry(ctx, "accel", []string{string(bootID)}, func(dir string) error {
		fmt.Fprintf(progress, "lab: trying KVM for at most %v (once after each boot of the host)\n", probeLimit)
		answer := accelTCG
		if probeKVM(ctx, k, guestProgram, dir) {
			answer = accelKVM
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return os.WriteFile(filepath.Join(dir, "answer"), []byte(answer), 0o644)
	})
	if err != nil {
		return "", fmt.Errorf("finding out whether KVM works: %w", err)
	}
	answer, err := os.ReadFile(filepath.Join(dir, "answer"))
	return string(answer), err
}

func probeKVM(ctx context.Context, k kernel, guestProgram, dir string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	initrd, err := initramfs(boot.Spec{Probe: true}, guestProgram, nil, "")
	if err != nil {
		return false
	}
	m := machine{dir: dir}
	if err := os.WriteFile(m.path("initrd"), initrd, 0o600); err != nil {
		return false
	}
	defer os.Remove(m.path("initrd"))
	args := append(baseArgs(accelKVM, 1, 512<<20), m.bootArgs(k, false)...)
	if err := m.start(args); err != nil {
		return false
	}
	stop := context.AfterFunc(ctx, m.kill)
	defer stop()
	<-m.dead
	return ctx.Err() == nil && strings.Contains(m.console(), boot.ProbeLine)
}
