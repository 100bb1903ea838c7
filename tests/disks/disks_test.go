//go:build lab

package disks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/tests/lab"
)

const role = "THINCTL_DISKS_BOOT" // the number of the boot

func TestMain(m *testing.M) {
	boot := os.Getenv(role)
	if boot == "" {
		os.Exit(m.Run())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for _, step := range boots()[slices.IndexFunc(boots(), func(b session) bool { return b.name == boot })].steps {
		if err := step.follow(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// step is one command in the guest, with the exit status and the texts that it must print.
type step struct {
	command string
	code    int
	says    []string
}

func (s step) follow(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "bash", "-c", s.command).CombinedOutput()
	fmt.Printf("$ %s\n%s", s.command, out)
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		return err
	}
	if code != s.code {
		return fmt.Errorf("%s: exit status %d, want %d", s.command, code, s.code)
	}
	for _, text := range s.says {
		if !strings.Contains(string(out), text) {
			return fmt.Errorf("%s: the output lacks %q", s.command, text)
		}
	}
	return nil
}

// session is one boot: its disks, in the order that gives them the names /dev/vdb, /dev/vdc
// and so on, and its steps.
type session struct {
	name  string
	disks []string // FILE=SERIAL, FILE alone if the serial is the name, +FILE for none
	steps []step
}

const (
	// intact reads what the first boot has written, and deactivates the pools.
	intact = `for p in one two; do thinctl volume mount $p v /mnt && sha256sum -c --quiet /scratch/$p.sum && thinctl volume unmount $p v && thinctl pool deactivate $p || exit; done`
	// unchanged compares the pool's database with its earlier contents.
	remember  = `sha256sum /var/lib/thinctl/*/state.db >/scratch/state.sum`
	unchanged = `sha256sum -c --quiet /scratch/state.sum`
)

func boots() []session {
	return []session{
		{"make", []string{"data", "meta", "+plain", "other"}, []step{
			{`mkfs.ext4 -q /dev/vde && mount /dev/vde /mnt && head -c 20M /dev/urandom >/mnt/precious && umount /mnt`, 0, nil},
			{`thinctl pool create one --data-device /dev/vdb --metadata-device /dev/vdc`, 0, nil},
			{`thinctl pool create two --data-device /dev/vdd --metadata-size 8M`, 0, nil},
			{`for p in one two; do thinctl volume create $p v --size 32M --fs ext4 && thinctl volume mount $p v /mnt && head -c 8M /dev/urandom >/mnt/f &&
				sha256sum /mnt/f >/scratch/$p.sum && thinctl volume unmount $p v && thinctl pool deactivate $p || exit; done; sync`, 0, nil},
		}},
		{"other names", []string{"other", "+plain", "data", "meta"}, []step{
			{`thinctl pool activate one && thinctl pool activate two`, 0, nil},
			{`thinctl pool status one`, 0, []string{"serial data", "/dev/vdd", "serial meta", "/dev/vde"}},
			{`thinctl pool status two`, 0, []string{"Data file:                      /dev/vdc"}},
			{`thinctl pool check`, 0, []string{"pool one: sound", "pool two: sound"}},
			{intact, 0, nil},
		}},
		{"cloned, foreign, gone", []string{"data", "meta", "+other", "clone=data"}, []step{
			{remember, 0, nil},
			{`thinctl pool activate one`, 6,
				[]string{"two disks have the same identity", "/dev/vdb (serial data", "/dev/vde (serial data", "detach the copy"}},
			{`thinctl pool activate two`, 6, []string{"not the pool's disk", "/dev/vdc", "attach the expected disk"}},
			{unplug("vdb") + unplug("vde") + `thinctl pool activate one`, 6,
				[]string{"not the pool's disk", "/dev/vdd (serial data", "/dev/vdd (no identity"}},
			{unplug("vdd") + `thinctl pool activate one`, 6, []string{"the pool's disk is gone", "/dev/vdd (serial data"}},
			{unchanged, 0, nil},
		}},
		{"shrunk, and a copy accepted", []string{"short=data", "meta", "+plain", "other", "copy"}, []step{
			{remember, 0, nil},
			{`thinctl pool activate one`, 6, []string{"the pool's disk shrank", "/dev/vdb has 128M"}},
			{`thinctl pool activate one --accept /dev/vde`, 6, []string{"carries neither the mark nor the metadata"}},
			{unchanged, 0, nil},
			{`thinctl pool activate one --accept /dev/vdf && thinctl pool activate two`, 0, nil},
			{intact, 0, nil},
			{`thinctl pool activate one`, 0, nil},
			{`thinctl pool destroy one --yes && thinctl pool destroy two --yes`, 0, nil},
		}},
	}
}

// unplug removes a disk from the running guest.
func unplug(name string) string {
	return fmt.Sprintf("echo 1 >$(readlink -f /sys/block/%[1]s/device/..)/remove; while [ -e /sys/block/%[1]s ]; do :; done; ", name)
}

func TestSwappedDisks(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for name, size := range map[string]int64{"data": 256 << 20, "meta": 8 << 20, "plain": 256 << 20, "other": 256 << 20} {
		if err := errors.Join(os.WriteFile(file(name), nil, 0o600), os.Truncate(file(name), size)); err != nil {
			t.Fatal(err)
		}
	}
	scratch, precious := file("scratch"), ""
	for n, boot := range boots() {
		if n > 0 {
			for to, from := range map[string]string{"copy": "data", "clone": "data", "short": "data"} {
				clone(t, file(from), file(to))
			}
			if err := os.Truncate(file("short"), 128<<20); err != nil {
				t.Fatal(err)
			}
		}
		config := lab.Config{Kernel: os.Getenv("THINCTL_KERNEL"), Command: []string{self}, Scratch: 1 << 30,
			KeepScratch: scratch,
			Env:         []string{role + "=" + boot.name}, Timeout: 10 * time.Minute}
		for _, disk := range boot.disks {
			disk, plain := strings.CutPrefix(disk, "+")
			name, serial, given := strings.Cut(disk, "=")
			if !given {
				serial = name
			}
			config.Disks = append(config.Disks, lab.Disk{File: file(name), Serial: serial, NoSerial: plain})
		}
		var stdout, stderr bytes.Buffer
		config.Stdout, config.Stderr = &stdout, &stderr
		result, err := lab.Run(t.Context(), config)
		t.Logf("boot %q, %.1f s:\n%s%s", boot.name, result.Elapsed.Seconds(), &stdout, &stderr)
		if err != nil || result.ExitCode != 0 {
			t.Fatalf("got exit status %d: %v", result.ExitCode, err)
		}
		now := digest(t, file("other"))
		if n > 0 && now != precious {
			t.Fatalf("the other disk was changed in boot %q", boot.name)
		}
		precious = now
	}
}

func clone(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
}

func digest(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}
