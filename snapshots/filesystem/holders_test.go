package filesystem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/fault"
	"thinctl/internal/contexts"
	"thinctl/internal/errno"
	"thinctl/internal/testkit/need"
	"thinctl/units"
)

// fakeProc is a directory in the form of /proc. The device is 240:77, a number for local
// use.
type fakeProc struct {
	t    *testing.T
	root string
	node string
}

func newFakeProc(t *testing.T) *fakeProc {
	t.Helper()
	need.Root(t) // for the device node
	p := &fakeProc{t, t.TempDir(), filepath.Join(t.TempDir(), "node")}
	if err := unix.Mknod(p.node, unix.S_IFBLK|0o600, int(unix.Mkdev(240, 77))); err != nil {
		t.Fatal(err)
	}
	p.link("self/ns/mnt", "mnt:[100]")
	return p
}

func (p *fakeProc) link(name, to string) {
	p.t.Helper()
	path := filepath.Join(p.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Symlink(to, path)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *fakeProc) file(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		p.t.Fatal(err)
	}
}

const otherMount = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"

func mountLine(at string) string {
	return fmt.Sprintf("30 20 240:77 / %s rw,noatime shared:3 master:2 - xfs /dev/mapper/x rw,nouuid\n", at)
}

func (p *fakeProc) process(pid int, ns, name, mounts string, fds ...string) {
	dir := strconv.Itoa(pid)
	p.link(dir+"/ns/mnt", "mnt:["+ns+"]")
	p.link(dir+"/root", "/")
	p.link(dir+"/cwd", "/")
	p.file(dir+"/comm", name+"\n")
	p.file(dir+"/mountinfo", otherMount+mounts)
	if err := os.Mkdir(filepath.Join(p.root, dir, "fd"), 0o755); err != nil {
		p.t.Fatal(err)
	}
	for i, fd := range fds {
		p.link(fmt.Sprintf("%s/fd/%d", dir, i), fd)
	}
}

func TestHoldersInAFixture(t *testing.T) {
	p := newFakeProc(t)
	mine, container := mountLine("/var/lib/x"), mountLine("/with\\040blank")
	p.process(1, "100", "init", mine)
	p.process(12, "100", "dd", mine, "socket:[5]", "/dev/null", p.node)
	p.process(200, "300", "web\x1b[31m", container, "pipe:[7]")
	p.process(201, "300", "worker", container)
	p.process(300, "400", "apart", "")
	p.process(400, "500", "opener", "", p.node)
	p.file("meminfo", "")
	p.file("500/comm", "gone") // ended: no links any more
	want := []Holder{
		{Namespace: 100, Own: true, MountPoints: []string{"/var/lib/x"}, Processes: []Process{{PID: 12, Command: "dd", Device: true}}},
		{Namespace: 300, MountPoints: []string{"/with blank"}, Processes: []Process{{PID: 200, Command: "web[31m"}, {PID: 201, Command: "worker"}}},
		{Namespace: 500, Processes: []Process{{PID: 400, Command: "opener", Device: true}}},
	}
	got, err := Proc{Root: p.root}.Holders(t.Context(), blockdev.Number{Major: 240, Minor: 77})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text := got[1].String(); text != "mount namespace 300, mounted at /with blank, used by web[31m (pid 200), worker (pid 201)" {
		t.Errorf("got the text %q", text)
	}
	if got, err := (Proc{Root: p.root}).Holders(t.Context(), blockdev.Number{Major: 240, Minor: 78}); err != nil || got != nil {
		t.Errorf("another device: got %+v, %v", got, err)
	}
	if _, err := (Proc{Root: filepath.Join(p.root, "none")}).Holders(t.Context(), blockdev.Number{Major: 240, Minor: 77}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no /proc: got %v", err)
	}
	p.process(600, "600", "torn", "garbage\n")
	if _, err := (Proc{Root: p.root}).Holders(t.Context(), blockdev.Number{Major: 240, Minor: 77}); err == nil || !strings.Contains(err.Error(), "600/mountinfo") {
		t.Errorf("garbage: got %v", err)
	}
}

// A process in its own mount namespace keeps the device after this process has unmounted
// it, as a container does.
func TestHoldersInAnotherNamespace(t *testing.T) {
	d := newDisk(t, 64*units.MiB).format(FormatOptions{Type: Ext4})
	target := d.mount(MountOptions{})
	open, err := os.Create(filepath.Join(target, "open file"))
	if err != nil {
		t.Fatal(err)
	}
	sleep := exec.Command("sleep", "60")
	sleep.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end := func() {
		if !ended {
			ended = true
			sleep.Process.Kill()
			sleep.Wait()
		}
	}
	t.Cleanup(end)

	held, err := ourHolders(t.Context(), d.number())
	if err != nil || len(held) != 2 {
		t.Fatalf("got %v, %v", held, err)
	}
	own := held[0]
	me := slices.IndexFunc(own.Processes, func(p Process) bool { return p.PID == os.Getpid() })
	if !own.Own || !slices.Equal(own.MountPoints, []string{target}) || me < 0 {
		t.Fatalf("got %+v", own)
	}
	if p := own.Processes[me]; !p.Device || !slices.Equal(p.Files, []string{open.Name()}) {
		t.Errorf("got %+v", p)
	}
	checkOther := func(h Holder) {
		t.Helper()
		want := []Process{{PID: sleep.Process.Pid, Command: "sleep"}}
		if h.Own || h.Namespace == own.Namespace || !slices.Equal(h.MountPoints, []string{target}) {
			t.Errorf("got %+v", h)
		}
		if diff := cmp.Diff(want, h.Processes); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	checkOther(held[1])

	if err := errors.Join(open.Close(), Unmount(t.Context(), target, UnmountOptions{})); err != nil {
		t.Fatal(err)
	}
	held, err = ourHolders(t.Context(), d.number())
	if err != nil || len(held) != 2 || held[0].MountPoints != nil {
		t.Fatalf("after unmounting: got %v, %v", held, err)
	}
	checkOther(held[1])
	if err := Format(t.Context(), d.device, FormatOptions{Force: true}); !errors.Is(err, fault.Busy) {
		t.Errorf("formatting what another namespace has mounted: got %v", err)
	}
	end()
	waitFor(t, func() bool {
		held, err = ourHolders(t.Context(), d.number())
		return err == nil && len(held) == 1
	})
}

// ourHolders ignores ErrIncomplete if root cannot examine process 1, as in a sandbox
// without some capabilities.
func ourHolders(ctx context.Context, device blockdev.Number) ([]Holder, error) {
	held, err := Holders(ctx, device)
	_, first := os.Readlink("/proc/1/ns/mnt")
	if errors.Is(err, ErrIncomplete) && errno.Is(first, unix.EACCES, unix.EPERM) &&
		strings.Contains(err.Error(), ": 1 processes") {
		err = nil
	}
	return held, err
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for !done() {
		if err := contexts.Sleep(ctx, 20*time.Millisecond); err != nil {
			t.Fatal("got no result in 10 s")
		}
	}
}

// Processes that start and end during the scan must not make it fail.
func TestHoldersWhileProcessesVanish(t *testing.T) {
	need.Root(t)
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for ctx.Err() == nil {
			exec.Command("true").Run()
		}
	}()
	for range 100 {
		if _, err := ourHolders(t.Context(), blockdev.Number{Major: 240, Minor: 78}); err != nil {
			t.Error(err)
		}
	}
	cancel()
	<-finished
	if _, err := Holders(ctx, blockdev.Number{Major: 240, Minor: 78}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a dead context: got %v", err)
	}
}
