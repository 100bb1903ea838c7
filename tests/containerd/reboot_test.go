//go:build lab && !kernel && !systemd

package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/lab"
)

// Variables in the guest's environment that give each boot its orders.
const (
	roleBoot    = "THINCTL_CONTAINERD_BOOT"
	roleArchive = "THINCTL_CONTAINERD_ARCHIVES" // the directory
	roleLast    = "THINCTL_CONTAINERD_LAST"
)

// cutNow is the line at which the host cuts the power.
const cutNow = "cut the power now"

func TestMain(m *testing.M) {
	boot := os.Getenv(roleBoot)
	if boot == "" {
		os.Exit(m.Run())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	n, err := strconv.Atoi(boot)
	if err == nil {
		err = booted(ctx, n, os.Getenv(roleLast) != "", os.Getenv(roleArchive))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// smallLayers belong to the image of the container that stays, largeLayers to the image in
// whose import the power is cut.
const smallLayers, largeLayers = 2, 7

func program(dir, name string, layers int) (imagetest.Image, error) {
	busybox, err := os.ReadFile(filepath.Join(dir, "busybox"))
	image := imagetest.Program("test.local/"+name+":1", "/busybox", busybox)
	for n := range layers - 1 {
		image.Layers = append(image.Layers, imagetest.Plain(fmt.Sprint("more", n), 2<<20, uint64(100*layers+n)).Layers...)
	}
	return image, err
}

// archives writes the images to dir, for all boots.
func archives(dir string) error {
	busybox, err := os.ReadFile("/bin/busybox")
	if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "busybox"), busybox, 0o600)); err != nil {
		return err
	}
	for name, layers := range map[string]int{"small": smallLayers, "large": largeLayers} {
		image, err := program(dir, name, layers)
		if err := errors.Join(err, archive(filepath.Join(dir, name), image)); err != nil {
			return err
		}
	}
	return nil
}

func archive(path string, image imagetest.Image) error {
	built, err := imagetest.Build(image)
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(imagetest.WriteOCI(file, imagetest.Gzip, built), file.Close())
}

// TestReboot repeatedly cuts the power while containerd unpacks an image and a container
// runs. Each boot starts the units of containerd and of the daemon. The container starts
// again with its files, the next import succeeds, and the pool has no faults.
func TestReboot(t *testing.T) {
	cuts := 2
	if n, err := strconv.Atoi(os.Getenv("THINCTL_CUTS")); err == nil {
		cuts = n
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := archives(dir); err != nil {
		t.Fatal(err)
	}
	config := lab.Config{Kernel: os.Getenv("THINCTL_KERNEL"), Systemd: true, Command: []string{self}, Scratch: 8 << 30,
		KeepScratch: filepath.Join(dir, "scratch"), PowerOffOn: cutNow, Timeout: 12 * time.Minute}
	for boot := range cuts + 1 {
		var stdout, stderr bytes.Buffer
		last := boot == cuts
		config.Stdout, config.Stderr = &stdout, &stderr
		config.Env = []string{fmt.Sprintf("%s=%d", roleBoot, boot), roleArchive + "=" + dir}
		if last {
			config.Env = append(config.Env, roleLast+"=1")
		}
		result, err := lab.Run(t.Context(), config)
		t.Logf("boot %d, %.1f s to its start, %.1f s in all:\n%s%s", boot, result.Boot.Seconds(), result.Elapsed.Seconds(),
			strings.ReplaceAll(stdout.String(), cutNow+"\n", ""), &stderr)
		if err != nil || result.PoweredOff == last || last && result.ExitCode != 0 {
			t.Fatalf("got powered off %v, exit status %d: %v", result.PoweredOff, result.ExitCode, err)
		}
	}
}
