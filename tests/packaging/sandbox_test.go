//go:build systemd

package packaging

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"thinctl/dm"
)

// The daemon does all its work at short intervals. The shortest time between two trims is a
// minute, also after a start.
const (
	serving = `[serve]
interval = "1s"
scan_every = "1m"
trim_every = "1m"
`
	still = serving + `[extend]
enabled = false
`
	growing = serving + `[extend]
data_at = 50
data_step = "64M"
data_maximum = "384M"
metadata_at = "16M"
metadata_step = "4M"
metadata_maximum = "20M"
`
)

// strict makes a system call that the unit does not allow kill the daemon instead of
// failing: the test might miss a failure.
const strict = "[Service]\nSystemCallErrorNumber=kill\n"

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// expectStrict requires that the daemon runs under strict.
func expectStrict(t *testing.T) {
	t.Helper()
	if got := state(t, "thinctl.service", "SystemCallErrorNumber"); got != "kill" && got != "2147483646" {
		t.Fatalf("a refused system call makes %q, and would go by unseen", got)
	}
}

// testSandbox requires that the unit takes away nothing that the daemon needs to watch a
// pool.
func testSandbox(t *testing.T, base mounted) {
	write(t, configFile, growing)
	run(t, "systemctl", "reload", "thinctl.service")
	until(t, "scan", func() bool { return hasMetric(t, `thinctl_pool_scan_success{pool="vault"} 1`) })
	until(t, "extension of the metadata", func() bool {
		return hasMetric(t, `thinctl_pool_metadata_size_bytes{pool="vault"} 2.097152e+07`)
	})
	if out := get(t, "/metrics"); !strings.Contains(out, `thinctl_pool_data_size_bytes{pool="vault"} 2.68435456e+08`) {
		t.Errorf("the data space was extended before it was half full:\n%s", out)
	}
	run(t, "sh", "-c", `head -c 130000000 /dev/zero >"$1"/filling && sync "$1"/filling`, "sh", base.dir)
	until(t, "extension of the data", func() bool {
		return hasMetric(t, `thinctl_pool_data_size_bytes{pool="vault"} 3.3554432e+08`)
	})
	// 320 MiB of data, and the pool's mark after them.
	if size := run(t, "stat", "-c", "%s", "/var/lib/thinctl/vault/data"); size != "335552512\n" {
		t.Errorf("size of the data's file: got %s", strings.TrimSpace(size))
	}
	// The next trim has to reach this mount, which another process made.
	run(t, "sh", "-c", `chown nobody "$1" && chmod 0700 "$1" && rm "$1"/filling && sync -f "$1"`, "sh", base.dir)

	// These files were removed while they were open.
	thinctl(t, "volume", "create", "vault", "gone", "--size", "64M", "--fs", "ext4")
	thinctl(t, "volume", "mount", "vault", "gone")
	dir := mountPoint(t, "gone")
	thinctl(t, "volume", "remove", "--yes", "--deferred", "vault", "gone")
	until(t, "removed volume that waits", func() bool { return hasMetric(t, `thinctl_pool_tombstones{pool="vault"} 1`) })
	run(t, "umount", dir)
	until(t, "blocks of a removed volume", func() bool { return hasMetric(t, `thinctl_pool_tombstones{pool="vault"} 0`) })

	// The daemon has no copy of the mounts, which would keep volumes open.
	pid := state(t, "thinctl.service", "MainPID")
	if run(t, "readlink", "/proc/"+pid+"/ns/mnt") != run(t, "readlink", "/proc/1/ns/mnt") {
		t.Error("the daemon has mounts of its own")
	}
	thinctl(t, "volume", "create", "vault", "short", "--size", "64M", "--fs", "ext4")
	thinctl(t, "volume", "mount", "vault", "short")
	thinctl(t, "volume", "unmount", "vault", "short")
	thinctl(t, "volume", "remove", "--yes", "vault", "short")
	if got := state(t, "thinctl.service", "NRestarts"); got != "0" {
		t.Errorf("the daemon was restarted %s times", got)
	}
	expectNoFailure(t)
}

// testTrim requires that the daemon reaches mounts of other processes, and frees the space
// of files that were removed there.
func testTrim(t *testing.T) {
	until(t, "bytes given back", func() bool { return used(t) < 100<<20 })
	until(t, "trim", func() bool { return hasMetric(t, `thinctl_operations_total{operation="trim",result="ok"} `) })
	expectNoFailure(t)
}

// used returns how much of the data is in use.
func used(t *testing.T) (bytes float64) {
	t.Helper()
	found := regexp.MustCompile(`(?m)^thinctl_pool_data_used_bytes\{pool="vault"\} (\S+)$`).FindStringSubmatch(get(t,
		"/metrics"))
	if found == nil {
		t.Fatal("the metrics have no series of the used data")
	}
	if _, err := fmt.Sscan(found[1], &bytes); err != nil {
		t.Fatal(err)
	}
	return bytes
}

// testKilled requires that neither a kill nor a restart removes a device.
func testKilled(t *testing.T, base mounted) {
	before := devices(t)
	stop := keepWriting(t, base)
	pid := state(t, "thinctl.service", "MainPID")
	run(t, "kill", "-9", pid)
	until(t, "start after a kill", func() bool {
		now := state(t, "thinctl.service", "MainPID")
		return now != "0" && now != pid && state(t, "thinctl.service", "ActiveState") == "active"
	})
	if after := devices(t); after != before {
		t.Errorf("a kill of the daemon changed the devices: got\n%s\nwant\n%s", after, before)
	}
	run(t, "systemctl", "restart", "thinctl.service")
	if after := devices(t); after != before {
		t.Errorf("a restart changed the devices: got\n%s\nwant\n%s", after, before)
	}
	stop()
	base.expectWhole(t, "with the daemon killed and restarted")
	expectNoFailure(t)
}

// testLeftOver requires that the start removes what killed commands have left, a mount and
// the kernel's metadata snapshot among it.
func testLeftOver(t *testing.T, base mounted) {
	before := devices(t)
	run(t, "systemctl", "stop", "thinctl.service")
	killImport(t)
	held := heldRoot(t)
	killReading(t, held)
	run(t, "systemctl", "start", "thinctl.service")
	if out := run(t, "findmnt", "-rn", "-o", "TARGET"); strings.Contains(out, "/.work-") {
		t.Errorf("the mount of a killed import is left:\n%s", out)
	}
	if after := devices(t); after != before {
		t.Errorf("killed commands have left devices: got\n%s\nwant\n%s", after, before)
	}
	if block := held(); block != 0 {
		t.Errorf("held root: got block %d, want none", block)
	}
	base.expectWhole(t, "after killed commands")
	expectNoFailure(t)
}

// killImport leaves an import with a volume that is half written and mounted.
func killImport(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/usr/bin/thinctl", "image", "import", "--size", "64M", "vault", "-",
		"killed:1")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	// It gets only the beginning, and waits for the rest.
	tar := run(t, "tar", "-c", "-C", "/", "etc")
	if _, err := io.WriteString(in, tar[:len(tar)/2]); err != nil {
		t.Fatalf("the import reads nothing: %v\n%s", err, said.String())
	}
	until(t, "mount of an import", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the import has ended: %v\n%s", err, said.String())
		default:
		}
		return strings.Contains(run(t, "findmnt", "-rn", "-o", "TARGET"), "/.work-")
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
}

// heldRoot returns the metadata block that the kernel holds for a reader.
func heldRoot(t *testing.T) func() uint64 {
	t.Helper()
	kernel, err := dm.Open(dm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kernel.Close() })
	return func() uint64 {
		_, lines, err := kernel.Status(t.Context(), dm.ByName("thinctl-vault"), dm.StatusOptions{NoFlush: true})
		if err != nil || len(lines) != 1 {
			t.Fatalf("status of the pool: got %v, %v", lines, err)
		}
		status, err := dm.ParsePoolStatus(lines[0])
		if err != nil {
			t.Fatal(err)
		}
		return status.HeldRoot
	}
}

// killReading leaves the kernel with a metadata snapshot that no process releases.
func killReading(t *testing.T, held func() uint64) {
	t.Helper()
	for range 50 {
		cmd := exec.CommandContext(t.Context(), "/usr/bin/thinctl", "pool", "usage", "vault")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); cmd.Wait() }()
		for !closed(ended) && held() == 0 {
		}
		cmd.Process.Kill()
		<-ended
		if held() != 0 {
			return
		}
	}
	t.Fatal("no reading could be killed while it held the metadata")
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// testActivation requires that the daemon makes the pool's devices if no other process has.
func testActivation(t *testing.T, base mounted) {
	run(t, "systemctl", "stop", "thinctl.service")
	thinctl(t, "volume", "unmount", "vault", "base")
	// This bypasses thinctl, so that the pool does not count as deactivated.
	run(t, "sh", "-c", `dmsetup ls | cut -f1 | grep '^thinctl-vault-' | xargs -r dmsetup remove && dmsetup remove thinctl-vault`)
	run(t, "sh", "-c", `losetup -n -O NAME,BACK-FILE | grep /var/lib/thinctl/ | cut -d' ' -f1 | xargs -r losetup -d`)
	if out := devices(t); strings.Contains(out, "thinctl") {
		t.Fatalf("the devices are not removed:\n%s", out)
	}
	run(t, "systemctl", "start", "thinctl.service")
	if out := devices(t); !strings.Contains(out, "thinctl-vault") {
		t.Fatalf("the daemon is ready, but the pool is not active:\n%s", out)
	}
	thinctl(t, "volume", "mount", "vault", "base")
	if dir := mountPoint(t, "base"); dir != base.dir {
		t.Fatalf("mount point of the volume: got %s, want %s", dir, base.dir)
	}
	base.expectWhole(t, "activated by the daemon")
	expectNoFailure(t)
}

func hasMetric(t *testing.T, line string) bool {
	t.Helper()
	return strings.Contains("\n"+get(t, "/metrics"), "\n"+line)
}

// expectNoFailure requires that no operation of the daemon has failed since its start.
func expectNoFailure(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(get(t, "/metrics")) {
		if strings.HasPrefix(line, "thinctl_operations_total") && strings.Contains(line, `result="error"`) {
			t.Errorf("an operation of the daemon has failed: %s", line)
		}
	}
}

// expectNothingDenied requires that no run of the daemon was refused anything or killed for
// a system call.
func expectNothingDenied(t *testing.T) {
	t.Helper()
	out := run(t, "journalctl", "--no-pager", "-o", "cat", "-u", "thinctl.service")
	if !strings.Contains(out, "msg=ready") {
		t.Errorf("the journal has no line of the daemon:\n%s", out)
	}
	for line := range strings.Lines(out) {
		for _, bad := range []string{"permission denied", "not permitted", "not supported by protocol", "status=31/SYS",
			"level=ERROR", "was not scanned"} {
			if strings.Contains(line, bad) {
				t.Errorf("the daemon's journal: %s", line)
			}
		}
	}
}
