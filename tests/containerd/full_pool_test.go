//go:build systemd

package containerd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	snapshots "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	"golang.org/x/sys/unix"

	"thinctl/tests/programs"
)

// The sizes of the tests' pool, and of the containers' files. A file system of this size
// has a journal of 4 MiB.
const (
	fullData, fullBase = "64M", "200M"
	moreThanFits       = 64 // MiB
	journal            = 4 << 20
)

// pattern is the text that the lines below write repeatedly.
const pattern = "/busybox head -c 1048576 /dev/urandom > /pattern; /busybox sync"

// fits is a line that writes as much as fits into the pool, and syncs it.
var fits = pattern + "; /busybox cp /busybox /mine; /busybox cp /busybox /copy; /busybox sync; " + write("/early", 4)

// times is a line that prints the pattern so often, for a pipe.
func times(mebibytes int) string {
	return fmt.Sprintf("i=0; while [ $i -lt %d ]; do /busybox cat /pattern; i=$((i+1)); done | ", mebibytes)
}

// write is a line that writes as many MiB through the page cache and syncs them. direct
// writes without the cache, so that each write returns its own error.
func write(file string, mebibytes int) string {
	return times(mebibytes) + "/busybox dd of=" + file + " bs=64k conv=fsync 2>&1"
}

func direct(file string, mebibytes int) string {
	return times(mebibytes) + "/busybox dd of=" + file + " bs=64k iflag=fullblock oflag=direct 2>&1"
}

// verify is a line that reads what write has written.
func verify(file string, mebibytes int) string {
	return times(mebibytes) + "/busybox cmp - " + file + " && echo the same"
}

// calm writes and syncs a file repeatedly, and prints each failure.
const calm = `/busybox head -c 4194304 /dev/urandom > /mine; /busybox cp /mine /copy; /busybox sync
turn() {
	/busybox dd if=/mine of=/copy bs=64k conv=notrunc,fsync 2>/dev/shm/said && /busybox cmp /mine /copy 2>>/dev/shm/said && return
	echo "turn $n: $(/busybox cat /dev/shm/said)" >> /dev/shm/bad
}
n=0; while :; do n=$((n+1)); turn; echo $n > /dev/shm/turns; done`

// crowded is a fixture with a container that is calm and one that fills the pool.
type crowded struct {
	*fixture
	t     *testing.T
	calm  int // its process
	ran   int // for lines in containers
	began time.Time
	asks  *client
}

// step logs the next step: it is all that a guest that hangs prints.
func (h *crowded) step(what string) {
	h.t.Helper()
	h.t.Logf("%5.0f s: %s", time.Since(h.began).Seconds(), what)
}

func newCrowded(t *testing.T, more string, flags ...string) *crowded {
	t.Helper()
	flags = append(flags, "--data-size", fullData, "--metadata-size", "8M", "--base-size", fullBase)
	h := &crowded{t: t, began: time.Now()}
	h.step("a pool, a snapshotter and a containerd")
	h.fixture = newFixture(t, "interval = \"1s\"\n"+more, flags...)
	h.step("import")
	h.layers = 0
	h.importImage(t)
	h.step("a calm container and a greedy one")
	h.shell(t, "calm", calm)
	h.calm = h.process("calm")
	until(t, "calm", 3*time.Minute, func() error { _, err := h.turns(); return err })
	h.roundTheJournal("calm")
	h.shell(t, "greedy", "exec /busybox sleep 100000")
	return h
}

// roundTheJournal makes a container's file system write so much into its journal that all
// of the journal has blocks: a full pool has none for it. Contents of a file with this flag
// go through the journal, unless its blocks are allocated late (ext4_inode_journal_mode of
// fs/ext4/ext4_jbd2.c).
func (h *crowded) roundTheJournal(name string) {
	h.t.Helper()
	h.step("round the journal of " + name)
	const journalData = 0x4000 // FS_JOURNAL_DATA_FL of linux/fs.h
	root := h.root(h.t, name)
	check(h.t, unix.Mount("", root, "", unix.MS_REMOUNT, "nodelalloc"))
	file, err := os.Create(root + "/journaled")
	check(h.t, err)
	defer file.Close()
	flags, err := unix.IoctlGetInt(int(file.Fd()), unix.FS_IOC_GETFLAGS)
	check(h.t, err)
	check(h.t, unix.IoctlSetPointerInt(int(file.Fd()), unix.FS_IOC_SETFLAGS, flags|journalData))
	part := make([]byte, 1<<20)
	for range journal / len(part) * 3 / 2 {
		_, err := file.WriteAt(part, 0)
		check(h.t, errors.Join(err, file.Sync()))
	}
	check(h.t, errors.Join(os.Remove(file.Name()), unix.Mount("", root, "", unix.MS_REMOUNT, "delalloc")))
}

// process returns the first process of a container.
func (h *crowded) process(name string) int {
	h.t.Helper()
	for line := range strings.Lines(h.do(h.t, "tasks", "ls")) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name {
			n, err := strconv.Atoi(fields[1])
			check(h.t, err)
			return n
		}
	}
	h.t.Fatalf("container %s does not run", name)
	return 0
}

// in runs a line in a container and returns its output.
func (h *crowded) in(container, line string) (string, error) {
	h.ran++
	return h.exec(container, fmt.Sprint("line", h.ran), line)
}

// calmSays is a file that the calm container keeps in memory. It is read without starting a
// program in the container, which would take too long.
func (h *crowded) calmSays(name string) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/dev/shm/%s", h.calm, name))
	return strings.TrimSpace(string(text)), err
}

// turns returns how often calm has written.
func (h *crowded) turns() (int, error) {
	out, err := h.calmSays("turns")
	n, faulty := strconv.Atoi(out)
	return n, errors.Join(err, faulty)
}

// goesOn waits until calm has written again, without a failure.
func (h *crowded) goesOn() {
	h.t.Helper()
	h.step("the calm container goes on")
	var began int
	until(h.t, "number of its turns", time.Minute, func() (err error) { began, err = h.turns(); return err })
	until(h.t, "turn of the calm container", 2*time.Minute, func() error {
		n, err := h.turns()
		if n < began+10 {
			err = errors.Join(err, fmt.Errorf("got %d turns, want more than %d", n, began))
		}
		return err
	})
	if bad, err := h.calmSays("bad"); err == nil {
		h.t.Errorf("failures of the calm container:\n%s", bad)
	} else if !errors.Is(err, os.ErrNotExist) {
		h.t.Error(err)
	}
}

// status returns the pool's status.
func (h *crowded) status() (mode string, space programs.PoolSpace) {
	h.t.Helper()
	var found struct {
		Pool struct {
			programs.PoolSpace
			Mode string `json:"mode"`
		} `json:"pool"`
	}
	check(h.t, h.pool.JSON(h.ctx, &found, "pool", "status", h.pool.Pool))
	return found.Pool.Mode, found.Pool.PoolSpace
}

func (h *crowded) waitFull() {
	h.t.Helper()
	h.step("the pool becomes full")
	until(h.t, "full pool", 2*time.Minute, func() error {
		if mode, space := h.status(); space.Data.Used < space.Data.Total {
			return fmt.Errorf("got %d of %d used, mode %s", space.Data.Used, space.Data.Total, mode)
		}
		return nil
	})
	mode, space := h.status()
	h.t.Logf("full: %d of %d are used, the mode is %s", space.Data.Used, space.Data.Total, mode)
}

// admits reports whether containerd gets a new snapshot. A full pool must refuse it with a
// remedy.
func (h *crowded) admits(want bool) {
	h.t.Helper()
	h.step("one more container")
	_, err := h.start("-d", h.image, "refused", "/busybox", "true")
	switch {
	case want:
		check(h.t, err)
		check(h.t, h.remove("refused"))
	case err == nil || !strings.Contains(err.Error(), "below the reserve") ||
		!strings.Contains(err.Error(), "thinctl pool extend vault"):
		h.t.Errorf("a container in a full pool: %v", err)
	}
}

// end ends a container's program and unmounts its files.
func (h *crowded) end(name string) {
	h.t.Helper()
	h.step("end of " + name)
	h.do(h.t, "tasks", "kill", "--signal", "SIGKILL", name)
	until(h.t, "end of "+name, time.Minute, func() error { _, err := h.c.Do(h.ctx, "tasks", "rm", name); return err })
}

// source returns the device of a container's files and its mount options.
func (h *crowded) source(name string) *types.Mount {
	h.t.Helper()
	if h.asks == nil {
		h.asks = h.client(h.t)
	}
	got, err := h.asks.snapshots.Mounts(h.asks.ctx, &snapshots.MountsRequest{Snapshotter: snapshotter, Key: name})
	check(h.t, err)
	return got.Mounts[0]
}

// repair runs e2fsck, as ext4 requires after a failed write of its own. A file system that
// was mounted without it repairs nothing. If its unmount could not empty the journal
// either, it may mark the journal as empty and lose data: e2fsck does not trust the mark
// ("needs_recovery flag is clear, but journal has data").
func (h *crowded) repair(name string) {
	h.t.Helper()
	h.step("the file system of " + name + " is repaired")
	out, err := programs.Run(h.ctx, "e2fsck", "-fy", h.source(name).Source)
	h.t.Logf("e2fsck of %s: %s", name, out)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 { // it has corrected errors
		err = nil
	}
	check(h.t, err)
}

// dropCaches makes the next reads come from the disk.
func dropCaches(t *testing.T) {
	t.Helper()
	check(t, os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0))
}

// wholly ends the containers and checks the pool, and each file system, with programs of
// other projects.
func (h *crowded) wholly() {
	h.t.Helper()
	dropCaches(h.t)
	h.goesOn()
	for _, name := range []string{"calm", "greedy"} {
		h.end(name)
	}
	h.step("the pool is checked")
	until(h.t, "check without findings", time.Minute, h.checked)
	for _, name := range []string{"calm", "greedy"} {
		h.step("the file system of " + name + " is checked")
		m, dir := h.source(name), h.t.TempDir()
		check(h.t, mountAs(m.Source, dir, m.Type, m.Options)) // which replays the journal
		h.step("cmp")
		_, err := programs.Run(h.ctx, "cmp", dir+"/mine", dir+"/copy")
		check(h.t, errors.Join(err, syscall.Unmount(dir, 0)))
		h.step("e2fsck")
		out, err := programs.Run(h.ctx, "e2fsck", "-fn", m.Source)
		h.t.Logf("e2fsck of %s: %s", name, out)
		if err != nil {
			h.t.Errorf("the file system of %s: %v", name, err)
		}
	}
	h.step("all is removed")
	for _, name := range []string{"calm", "greedy"} {
		h.do(h.t, "containers", "rm", name)
	}
	h.removeImage(h.t)
	until(h.t, "check without findings", time.Minute, h.checked)
	h.step("thin_check")
	_, err := h.pool.Do(h.ctx, "pool", "deactivate", "vault")
	check(h.t, err)
	out, err := programs.Run(h.ctx, "sh", "-c", "thin_check "+h.pool.Root+"/vault/metadata 2>&1")
	if err != nil {
		h.t.Errorf("thin_check: %v", err)
	}
	h.t.Logf("thin_check: %s", out)
}

// mountAs mounts the device with the options that containerd got.
func mountAs(source, target, kind string, options []string) error {
	options = slices.DeleteFunc(slices.Clone(options), func(word string) bool { return word == "rw" })
	return syscall.Mount(source, target, kind, 0, strings.Join(options, ","))
}

// A container fills the pool, whose writes then fail. The container gets errors; the other
// one goes on. After the pool was extended and the container started again, it goes on too.
func TestFullAndWritesFail(t *testing.T) {
	h := newCrowded(t, "[extend]\nenabled = false\n", "--full", "error")
	h.step("what fits is written")
	_, err := h.in("greedy", fits)
	check(t, err)
	h.step("more than fits is written, past the page cache")
	out, err := h.in("greedy", direct("/late", moreThanFits))
	t.Logf("write: got %q, %v", out, err)
	if err == nil || !strings.Contains(out, "No space left on device") {
		t.Errorf("write of more than fits: got %q, %v", out, err)
	}
	h.waitFull()
	h.step("more is written, through the page cache")
	// ext4 reports an error of any kind to a process that writes through the cache, without
	// its kind (fs/ext4/page-io.c).
	out, err = h.in("greedy", write("/later", 8))
	t.Logf("write through the cache: %q, %v", out, err)
	if err == nil {
		t.Error("a write to a full pool has succeeded")
	}
	h.goesOn()
	h.admits(false)
	h.step("the pool is extended")
	_, err = h.pool.Do(h.ctx, "pool", "extend", "vault", "--data", "192M")
	check(t, err)
	// The journal found no block either, so ext4 has become read-only and requires a check.
	// The container is started again after it.
	h.end("greedy")
	h.repair("greedy")
	h.step("the greedy container is started again")
	h.do(t, "tasks", "start", "-d", "greedy")
	dropCaches(t)
	if out, err := h.in("greedy", verify("/early", 4)); err != nil || !strings.Contains(out, "the same") {
		t.Errorf("earlier files: got %q, %v", out, err)
	}
	h.step("more than fitted is written")
	out, err = h.in("greedy",
		"/busybox rm -f /late /later; "+write("/late", moreThanFits)+" && "+verify("/late", moreThanFits))
	t.Logf("write after the extension: %q", out)
	if err != nil || !strings.Contains(out, "the same") {
		t.Errorf("write after the extension: got %q, %v", out, err)
	}
	h.admits(true)
	h.wholly()
}

// A container fills the pool, whose writes then wait. At first the daemon may not extend
// the pool; when it may, it does. No container gets an error.
func TestFullAndWritesWait(t *testing.T) {
	// The kernel lets writes wait for a minute, in which an emulated machine gets little
	// done.
	const patience = "/sys/module/dm_thin_pool/parameters/no_space_timeout"
	before, err := os.ReadFile(patience)
	check(t, errors.Join(err, os.WriteFile(patience, []byte("600"), 0)))
	t.Cleanup(func() { check(t, os.WriteFile(patience, before, 0)) })
	capped := "[extend]\ndata_maximum = \"" + fullData + "\"\ncool_down = \"1s\"\n"
	h := newCrowded(t, capped, "--full", "queue")
	h.step("what fits is written")
	_, err = h.in("greedy", fits)
	check(t, err)
	h.step("more than fits is written")
	type answer struct {
		out string
		err error
	}
	late := make(chan answer, 1)
	go func() {
		out, err := h.exec("greedy", "late", write("/late", moreThanFits)+" && "+verify("/late", moreThanFits))
		late <- answer{out, err}
	}()
	h.waitFull()
	full := time.Now()
	h.goesOn()
	select {
	case a := <-late:
		t.Fatalf("write of more than fits: did not wait: got %q, %v", a.out, a.err)
	default:
	}
	h.admits(false)
	h.step("the daemon may extend the pool")
	check(t, h.s.Reconfigure("interval = \"1s\"\n[extend]\ndata_step = \"32M\"\ncool_down = \"1s\"\n"))
	a := <-late
	t.Logf("%.1f s after the pool was full the write returned %q", time.Since(full).Seconds(), a.out)
	if a.err != nil || !strings.Contains(a.out, "the same") {
		t.Errorf("write: got %q, %v", a.out, a.err)
	}
	_, space := h.status()
	t.Logf("the pool has %d bytes now", space.Data.Total)
	h.goesOn()
	h.admits(true)
	h.wholly()
}
