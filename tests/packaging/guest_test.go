//go:build systemd

package packaging

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	tree       = "../.."
	configFile = "/etc/thinctl/config.toml"
	// mark is the file that the first boot leaves for the second.
	mark = "/scratch/packaging.sum"
)

func TestMain(m *testing.M) {
	if os.Getenv("THINCTL_LAB") == "" {
		fmt.Fprintln(os.Stderr, "run it as tests/packaging/run")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// run runs a program. One that hangs is killed, so that the failure names it.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	out, err := try(ctx, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func try(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	// It is the package's program, not the one that the lab puts before it on PATH.
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %q: %w\n%s%s", name, args, err, out.String(), said.String())
	}
	return out.String(), nil
}

func thinctl(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "/usr/bin/thinctl", args...)
}

// install installs a package with the files of this machine only.
func install(t *testing.T, which, version string) {
	t.Helper()
	deb, err := filepath.Abs(filepath.Join(tree, ".build/packages", which, "thinctl_"+version+"-1_amd64.deb"))
	if err != nil {
		t.Fatal(err)
	}
	run(t, "dpkg", "--install", "--force-confold", "--force-unsafe-io", deb)
	if got := run(t, "dpkg-query", "-W", "-f", "${Version} ${Status}", "thinctl"); got != version+
		"-1 install ok installed" {
		t.Fatalf("installed: %s", got)
	}
}

// state returns a property of a unit from systemctl show.
func state(t *testing.T, unit, property string) string {
	t.Helper()
	return strings.TrimSpace(run(t, "systemctl", "show", "--value", "-p", property, unit))
}

func expectState(t *testing.T, when, unit, want string) {
	t.Helper()
	if got := state(t, unit, "ActiveState"); got != want {
		said, _ := try(t.Context(), "journalctl", "--no-pager", "-n", "40", "-u", unit)
		t.Fatalf("%s: %s is %s, want %s\n%s", when, unit, got, want, said)
	}
}

// devices returns the device mapper devices with their numbers.
func devices(t *testing.T) string {
	t.Helper()
	return run(t, "dmsetup", "info", "-c", "--noheadings", "-o", "name,major,minor", "--sort", "name")
}

func get(t *testing.T, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:9723"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v\n%s", path, response.Status, err, text)
	}
	return string(text)
}

// until waits for a condition.
func until(t *testing.T, what string, there func() bool) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for !there() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s did not happen", what)
		}
	}
}

// mounted makes and mounts a volume with files in it, and returns their sum.
type mounted struct{ dir, sum string }

func (m mounted) expectWhole(t *testing.T, when string) {
	t.Helper()
	if got := sumOf(t, m.dir); got != m.sum {
		t.Errorf("%s: the volume's files have changed", when)
	}
}

func sumOf(t *testing.T, dir string) string {
	t.Helper()
	return run(t, "sh", "-c", `cd "$1" && find . -type f ! -name growing ! -name filling | sort | xargs sha256sum`, "sh",
		dir)
}

func mountPoint(t *testing.T, volume string) string {
	t.Helper()
	for line := range strings.Lines(run(t, "findmnt", "-rn", "-o", "SOURCE,TARGET")) {
		f := strings.Fields(line)
		if f[0] == "/dev/mapper/thinctl-vault-"+volume {
			return f[1]
		}
	}
	t.Fatalf("volume %s is not mounted", volume)
	return ""
}

func TestFirstBoot(t *testing.T) {
	write(t, configFile, still)
	write(t, "/run/systemd/system/thinctl.service.d/strict.conf", strict)
	install(t, "old", "1.0.0")
	expectState(t, "installed", "thinctl-activate.service", "active")
	expectState(t, "installed", "thinctl.service", "active")
	expectState(t, "installed", "thinctl.socket", "inactive")
	for unit, want := range map[string]string{"thinctl-activate.service": "enabled", "thinctl.service": "enabled",
		"thinctl.socket": "disabled"} {
		if got := state(t, unit, "UnitFileState"); got != want {
			t.Errorf("%s is %s, want %s", unit, got, want)
		}
	}
	for _, unit := range []string{"docker.service", "containerd.service"} {
		if after := strings.Fields(state(t, unit, "After")); !contains(after, "thinctl-activate.service") {
			t.Errorf("%s does not wait for the pools: %v", unit, after)
		}
	}

	expectStrict(t)
	thinctl(t, "pool", "create", "vault", "--data-size", "256M", "--metadata-size", "16M")
	thinctl(t, "volume", "create", "vault", "base", "--size", "240M", "--fs", "ext4")
	thinctl(t, "volume", "mount", "vault", "base")
	base := mounted{dir: mountPoint(t, "base")}
	run(t, "sh", "-c", `cp -a /etc/. "$1" && head -c 4000000 /dev/urandom >"$1"/random && sync`, "sh", base.dir)
	base.sum = sumOf(t, base.dir)
	if strings.Count(base.sum, "\n") < 50 {
		t.Fatalf("the volume has few files:\n%s", base.sum)
	}
	until(t, "pool in the metrics",
		func() bool { return strings.Contains(get(t, "/metrics"), `thinctl_pool_active{pool="vault"} 1`) })
	get(t, "/readyz")

	t.Run("daemon", func(t *testing.T) { testSandbox(t, base) })
	t.Run("udev", func(t *testing.T) { testUdev(t, base) })
	t.Run("verify", func(t *testing.T) { testVerify(t) })
	t.Run("trim", func(t *testing.T) { testTrim(t) })
	t.Run("units", func(t *testing.T) { testStops(t, base) })
	t.Run("killed", func(t *testing.T) { testKilled(t, base) })
	t.Run("left over", func(t *testing.T) { testLeftOver(t, base) })
	t.Run("activation", func(t *testing.T) { testActivation(t, base) })
	t.Run("upgrade", func(t *testing.T) { testUpgrade(t, base) })
	expectNothingDenied(t)
	t.Run("remove", func(t *testing.T) { testRemove(t, base) })
	if err := os.WriteFile(mark, []byte(base.sum), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "sync")
}

func contains(list []string, want string) bool {
	for _, one := range list {
		if one == want {
			return true
		}
	}
	return false
}

// testUdev requires that events from other programs do not publish the contents of volumes.
func testUdev(t *testing.T, base mounted) {
	pool := strings.Fields(run(t, "sh", "-c", "losetup -n -O NAME,BACK-FILE | grep /var/lib/thinctl/ | cut -d' ' -f1"))
	if len(pool) < 2 {
		t.Fatalf("loop devices of the pool: got %v", pool)
	}
	thinctl(t, "volume", "create", "vault", "strange", "--size", "64M")
	thinctl(t, "volume", "activate", "vault", "strange")
	const strange = "/dev/mapper/thinctl-vault-strange"
	run(t, "pvcreate", "-q", strange)
	run(t, "udevadm", "trigger", "--action=change", "--subsystem-match=block")
	run(t, "udevadm", "settle", "--timeout=120")
	for _, device := range append(pool, "/dev/mapper/thinctl-vault-base", strange) {
		for line := range strings.Lines(run(t, "udevadm", "info", "-q", "property", device)) {
			if strings.HasPrefix(line, "ID_FS_") || strings.HasPrefix(line, "ID_PART_TABLE_") {
				t.Errorf("udev has read %s: %s", device, line)
			}
		}
		if links := run(t, "udevadm", "info", "-q", "symlink", device); strings.Contains(links, "by-uuid") ||
			strings.Contains(links, "by-label") {
			t.Errorf("%s has links: %s", device, links)
		}
	}
	if out := run(t, "sh", "-c",
		"udevadm test --action=change /sys/block/$(basename $(readlink -f /dev/mapper/thinctl-vault-base)) 2>&1"); !strings.Contains(out, "DM_UDEV_DISABLE_OTHER_RULES_FLAG=1") ||
		regexp.MustCompile(`11-dm-thinctl.rules:\d+.*([Ii]nvalid|[Ff]ailed|[Uu]nknown)`).MatchString(out) {
		t.Errorf("udevadm test:\n%s", out)
	}
	base.expectWhole(t, "after all udev's events again")

	// LVM scans by default, and does not with the configuration in docs/install.md.
	text, err := os.ReadFile(filepath.Join(tree, "docs/install.md"))
	if err != nil {
		t.Fatal(err)
	}
	filter := regexp.MustCompile(`global_filter = \[.*\]`).Find(text)
	if filter == nil {
		t.Fatal("docs/install.md has no global_filter")
	}
	if out := run(t, "pvs", "--noheadings", "-o", "pv_name"); !strings.Contains(out, strange) {
		t.Errorf("without a filter LVM does not scan %s, so this test proves nothing: %s", strange, out)
	}
	if out := run(t, "pvs", "--noheadings", "-o", "pv_name", "--config",
		"devices { "+string(filter)+" }"); strings.TrimSpace(out) != "" {
		t.Errorf("with the filter LVM still scans: got %s", out)
	}
	thinctl(t, "volume", "remove", "--yes", "vault", "strange")
}

// testVerify requires that systemd accepts each line of the units.
func testVerify(t *testing.T) {
	if out := run(t, "sh", "-c",
		"systemd-analyze verify --man=no thinctl-activate.service thinctl.service thinctl.socket 2>&1 | grep thinctl || true"); out != "" {
		t.Errorf("systemd-analyze: %s", out)
	}
}

// testStops requires that no unit removes a device.
func testStops(t *testing.T, base mounted) {
	before := devices(t)
	run(t, "systemctl", "stop", "thinctl.service", "thinctl-activate.service")
	if after := devices(t); after != before {
		t.Errorf("a stop of the units changed the devices: got\n%s\nwant\n%s", after, before)
	}
	base.expectWhole(t, "with the units stopped")
	run(t, "systemctl", "start", "thinctl-activate.service", "thinctl.service")
	// This one has a socket of systemd's.
	run(t, "systemctl", "stop", "thinctl.service")
	run(t, "systemctl", "start", "thinctl.socket")
	if body := get(t, "/healthz"); body == "" {
		t.Error("no answer through the socket")
	}
	until(t, "daemon after a request to its socket",
		func() bool { return state(t, "thinctl.service", "ActiveState") == "active" })
	run(t, "systemctl", "stop", "thinctl.socket", "thinctl.service")
	run(t, "systemctl", "start", "thinctl.service")
}

// keepWriting writes to a volume until stop is called, and fails the test if a write fails.
func keepWriting(t *testing.T, base mounted) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := try(ctx, "sh", "-c",
			`while :; do echo line >>"$1"/growing || exit 3; sync "$1"/growing || exit 4; sleep 0.1; done`, "sh", base.dir)
		ended <- err
	}()
	return func() {
		t.Helper()
		select {
		case err := <-ended:
			cancel()
			t.Errorf("who wrote to a volume could not go on: %v", err)
		default:
			cancel()
			<-ended
		}
	}
}

// testUpgrade upgrades while a volume is written to.
func testUpgrade(t *testing.T, base mounted) {
	before, pid := devices(t), state(t, "thinctl.service", "MainPID")
	stop := keepWriting(t, base)
	kept, err := os.ReadFile(configFile)
	if err != nil {
		t.Fatal(err)
	}
	install(t, "new", "1.0.1")
	stop()
	expectState(t, "upgraded", "thinctl.service", "active")
	if now := state(t, "thinctl.service", "MainPID"); now == pid || now == "0" {
		t.Errorf("the upgrade left the old daemon: process %s", now)
	}
	if after := devices(t); after != before {
		t.Errorf("the upgrade changed the devices: got\n%s\nwant\n%s", after, before)
	}
	if now, err := os.ReadFile(configFile); err != nil || !bytes.Equal(now, kept) {
		t.Errorf("the upgrade changed the configuration: %v\n%s", err, now)
	}
	base.expectWhole(t, "upgraded")
}

func testRemove(t *testing.T, base mounted) {
	before := devices(t)
	run(t, "dpkg", "--remove", "thinctl")
	if _, err := os.Stat("/usr/bin/thinctl"); err == nil {
		t.Error("the program exists after the removal")
	}
	if _, err := os.Stat(configFile); err != nil {
		t.Errorf("the removal has removed the configuration: %v", err)
	}
	if after := devices(t); after != before {
		t.Errorf("the removal changed the devices: got\n%s\nwant\n%s", after, before)
	}
	if out, err := try(t.Context(), "pgrep", "-x", "thinctl"); err == nil {
		t.Errorf("the daemon runs after the removal: %s", out)
	}
	base.expectWhole(t, "removed")
	// Installed again, it finds everything unchanged.
	install(t, "new", "1.0.1")
	expectState(t, "installed again", "thinctl-activate.service", "active")
	expectState(t, "installed again", "thinctl.service", "active")
	if got := state(t, "thinctl.socket", "UnitFileState"); got != "disabled" {
		t.Errorf("installed again: thinctl.socket is %s, which no user can enable", got)
	}
	if after := devices(t); after != before {
		t.Errorf("the second installation changed the devices: got\n%s\nwant\n%s", after, before)
	}
	if out := thinctl(t, "pool", "check", "vault"); out == "" {
		t.Error("pool check: got no output")
	}
	base.expectWhole(t, "installed again")
	run(t, "dpkg", "--purge", "thinctl")
	if _, err := os.Stat("/etc/thinctl"); err == nil {
		t.Error("/etc/thinctl exists after the purge")
	}
	if out := run(t, "sh", "-c",
		"ls -l /etc/systemd/system /etc/systemd/system/*.wants | grep thinctl || true"); out != "" {
		t.Errorf("units exist after the purge: %s", out)
	}
	if after := devices(t); after != before {
		t.Errorf("the purge changed the devices: got\n%s\nwant\n%s", after, before)
	}
	base.expectWhole(t, "purged")
}

// TestSecondBoot has a new machine with the first one's disk and pool.
func TestSecondBoot(t *testing.T) {
	want, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	if out := devices(t); strings.Contains(out, "thinctl") {
		t.Fatalf("before the start: got devices %s, want none", out)
	}
	// An administrator can forbid packages to start services in this way.
	if err := os.WriteFile("/usr/sbin/policy-rc.d", []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	install(t, "new", "1.0.1")
	expectState(t, "forbidden to start", "thinctl-activate.service", "inactive")
	expectState(t, "forbidden to start", "thinctl.service", "inactive")

	// A boot starts all enabled units in a batch, in their own order.
	run(t, "systemctl", "enable", "-q", "containerd.service", "docker.service")
	run(t, "systemctl", "daemon-reload")
	run(t, "systemctl", "start", "multi-user.target")
	expectState(t, "booted", "thinctl-activate.service", "active")
	expectState(t, "booted", "thinctl.service", "active")
	pools := clock(t, "thinctl-activate.service", "ActiveEnterTimestampMonotonic")
	for _, unit := range []string{"containerd.service", "docker.service"} {
		expectState(t, "booted", unit, "active")
		if began := clock(t, unit, "ExecMainStartTimestampMonotonic"); began < pools {
			t.Errorf("%s was started %v before the pools were active", unit, time.Duration(pools-began)*time.Microsecond)
		}
	}
	if out := thinctl(t, "pool", "status", "vault"); !strings.Contains(out, "vault") {
		t.Errorf("pool status: got %s", out)
	}
	thinctl(t, "volume", "mount", "vault", "base")
	mounted{dir: mountPoint(t, "base"), sum: string(want)}.expectWhole(t, "after the reboot")
	thinctl(t, "pool", "check", "vault")
}

func clock(t *testing.T, unit, property string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(state(t, unit, property), 10, 64)
	if err != nil || n == 0 {
		t.Fatalf("%s of %s: got %d, %v", property, unit, n, err)
	}
	return n
}
