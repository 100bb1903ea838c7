//go:build lab && !kernel && !systemd

package containerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"thinctl/internal/testkit/imagetest"
	"thinctl/tests/programs"
)

const (
	tree        = "../.."
	store       = "/scratch/containerd" // kept over the boots, as the pools are
	stays       = "stays"
	snapshotter = "thinctl"
)

// guest is one boot of the machine.
type guest struct {
	ctx      context.Context
	boot     int
	archives string
	pool     programs.Thinctl
	dice     *rand.Rand
}

// booted is one boot. It verifies that all is as the last boot has left it, and goes on
// until the power is cut in the middle of an import. The last boot removes everything.
func booted(ctx context.Context, boot int, last bool, archives string) error {
	g := &guest{ctx: ctx, boot: boot, archives: archives, dice: rand.New(rand.NewPCG(7, uint64(boot))),
		pool: programs.Thinctl{Program: "/usr/bin/thinctl", Root: "/var/lib/thinctl", Pool: "vault"}}
	steps := []step{{"the services start", g.services}}
	if boot == 0 {
		steps = append(steps, step{"a container is started", g.first})
	} else {
		steps = append(steps, step{"the pool is as it should be", g.checked}, step{"the container starts again", g.again},
			step{"the import succeeds", g.imports})
	}
	steps = append(steps, step{"the daemon was denied nothing", g.denied})
	if last {
		steps = append(steps, step{"all is removed", g.empty}, step{"nothing is left", g.nothing})
	} else {
		steps = append(steps, step{"the power is cut", g.cut})
	}
	for _, s := range steps {
		began := time.Now()
		if err := s.do(); err != nil {
			said, _ := programs.Run(context.WithoutCancel(ctx), "journalctl", "--no-pager", "-o", "cat", "-u", "thinctl*", "-u",
				"containerd.service", "-n", "40")
			return fmt.Errorf("boot %d, %s: %w\n%s", boot, s.name, err, said)
		}
		fmt.Printf("%s: %.1f s\n", s.name, time.Since(began).Seconds())
	}
	return nil
}

type step struct {
	name string
	do   func() error
}

func (g *guest) run(name string, args ...string) (string, error) {
	return programs.Run(g.ctx, name, args...)
}

func (g *guest) ctr(args ...string) (string, error) { return g.run("ctr", args...) }

// services installs thinctl's units and containerd's configuration as the packages and
// docs/containerd.md describe. Then it does what a boot does: it starts all enabled units
// in a batch, in their own order.
func (g *guest) services() error {
	program, err := exec("thinctl")
	if err != nil {
		return err
	}
	own, err := os.ReadFile(filepath.Join(tree, "packaging/config.toml"))
	table, err2 := os.ReadFile(filepath.Join(tree, "packaging/containerd/thinctl.toml"))
	plugin, err3 := os.ReadFile(filepath.Join(tree, "packaging/containerd/containerd-1.6.toml"))
	if err := errors.Join(err, err2, err3); err != nil {
		return err
	}
	theirs := strings.Replace(string(plugin), "version = 2\n",
		fmt.Sprintf("version = 2\nroot = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n", store), 1)
	for path, text := range map[string]string{
		"/etc/thinctl/config.toml":    string(own) + string(table),
		"/etc/containerd/config.toml": theirs,
		// A system call that the unit does not allow kills the daemon: the test might miss
		// a call that is refused.
		"/etc/systemd/system/thinctl.service.d/strict.conf": "[Service]\nSystemCallErrorNumber=kill\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	units := []string{"thinctl-activate.service", "thinctl.service"}
	commands := [][]string{
		{"install", "-m755", program, "/usr/bin/thinctl"},
		{"install", "-Dm644", "-t", "/etc/udev/rules.d", filepath.Join(tree, "packaging/udev/11-dm-thinctl.rules")},
		{"udevadm", "control", "--reload"},
	}
	for _, unit := range units {
		commands = append(commands,
			[]string{"install", "-m644", filepath.Join(tree, "packaging/systemd", unit), "/etc/systemd/system"})
	}
	commands = append(commands, []string{"/usr/bin/thinctl", "config", "check"})
	if g.boot == 0 {
		commands = append(commands,
			[]string{"/usr/bin/thinctl", "pool", "create", "vault", "--data-size", "4G", "--metadata-size", "64M",
				"--base-size", "512M"})
	}
	units = append(units, "containerd.service")
	commands = append(commands, append([]string{"systemctl", "enable", "-q"}, units...),
		[]string{"systemctl", "daemon-reload"}, []string{"systemctl", "start", "multi-user.target"})
	for _, command := range commands {
		if _, err := g.run(command[0], command[1:]...); err != nil {
			return err
		}
	}
	for _, unit := range units {
		if out, err := g.run("systemctl", "is-active", unit); err != nil {
			return fmt.Errorf("%s is %s: %w", unit, out, err)
		}
	}
	ready, err := g.clock("thinctl.service", "ActiveEnterTimestampMonotonic")
	began, err2 := g.clock("containerd.service", "ExecMainStartTimestampMonotonic")
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if began < ready {
		return fmt.Errorf("containerd was started %v before the daemon was ready", ready-began)
	}
	return nil
}

// exec returns the path of a program.
func exec(name string) (string, error) {
	for dir := range strings.SplitSeq(os.Getenv("PATH"), ":") {
		if path := filepath.Join(dir, name); dir != "/usr/bin" {
			if _, err := os.Stat(path); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s does not exist", name)
}

func (g *guest) clock(unit, property string) (at time.Duration, err error) {
	out, err := g.run("systemctl", "show", "--value", "-p", property, unit)
	if err == nil {
		_, err = fmt.Sscan(out, &at)
	}
	return at * time.Microsecond, err
}

// image returns containerd's name of one of the images.
func (g *guest) image(name string) (string, error) {
	out, err := g.ctr("images", "ls", "-q")
	for _, full := range strings.Fields(out) {
		if strings.HasSuffix(full, "/"+name+":1") {
			return full, nil
		}
	}
	return "", errors.Join(fmt.Errorf("image %s: got %q", name, out), err)
}

// first starts a container with files that are on the disk.
func (g *guest) first() error {
	if _, err := g.ctr("images", "import", "--snapshotter", snapshotter, filepath.Join(g.archives, "small")); err != nil {
		return err
	}
	image, err := g.image("small")
	if err != nil {
		return err
	}
	_, err = g.ctr("run", "-d", "--snapshotter", snapshotter, image, stays, "/busybox", "sh", "-c",
		"echo started >> /starts; [ -s /data ] || /busybox head -c 8000000 /dev/urandom > /data; [ -s /sum ] || /busybox md5sum /data > /sum; /busybox sync; echo up > /dev/shm/up; exec /busybox sleep 100000")
	if err != nil {
		return err
	}
	return g.whole()
}

// again starts the container that was running when the power was cut.
func (g *guest) again() error {
	if _, err := g.ctr("tasks", "start", "-d", stays); err != nil {
		return err
	}
	return g.whole()
}

// whole returns nil if the running container has all its files.
func (g *guest) whole() error {
	var out string
	err := g.until("container that is up", func() (err error) {
		out, err = g.ctr("tasks", "exec", "--exec-id", fmt.Sprint("look", time.Now().UnixNano()), stays, "/busybox", "sh",
			"-c",
			"/busybox cat /dev/shm/up >/dev/null && /busybox md5sum -c /sum && /busybox cat /starts")
		return err
	})
	if err != nil {
		return err
	}
	if want := "/data: OK\n" + strings.Repeat("started\n", g.boot+1); strings.TrimSpace(out) != strings.TrimSpace(want) {
		return fmt.Errorf("the container's files are %q, want %q", out, want)
	}
	return nil
}

func (g *guest) until(what string, try func() error) error {
	deadline := time.After(2 * time.Minute)
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-deadline:
			return fmt.Errorf("%s did not happen: %w", what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (g *guest) importLarge() error {
	_, err := g.ctr("images", "import", "--snapshotter", snapshotter, filepath.Join(g.archives, "large"))
	return err
}

// imports imports the image whose import the power cut has interrupted, reads each of its
// files, and removes it for the next cut.
func (g *guest) imports() error {
	if err := g.importLarge(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "image-")
	name, err2 := g.image("large")
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if _, err := g.ctr("images", "mount", "--snapshotter", snapshotter, name, dir); err != nil {
		return err
	}
	built, err := program(g.archives, "large", largeLayers)
	if err != nil {
		return err
	}
	want, err := built.Tree()
	got, err2 := imagetest.ReadTree(g.ctx, dir)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	if diff := got.Diff(want, 10); len(diff) > 0 {
		return fmt.Errorf("the image is not the one that was imported: %v", diff)
	}
	if _, err := g.ctr("images", "unmount", "--rm", "--snapshotter", snapshotter, dir); err != nil {
		return err
	}
	if _, err := g.ctr("images", "rm", "--sync", name); err != nil {
		return err
	}
	// The interrupted import has left its lease, which keeps its snapshots for a day.
	leases, err := g.ctr("leases", "list", "-q")
	if err != nil {
		return err
	}
	for _, lease := range strings.Fields(leases) {
		if _, err := g.ctr("leases", "delete", "--sync", lease); err != nil {
			return err
		}
	}
	return g.until("end of the garbage collection", func() error { return g.snapshots(smallLayers + 1) })
}

// snapshots returns nil if there are so many.
func (g *guest) snapshots(want int) error {
	out, err := g.ctr("snapshots", "--snapshotter", snapshotter, "ls")
	if n := strings.Count(out, "\n"); err == nil && n != want {
		err = fmt.Errorf("%d snapshots, want %d:\n%s", n, want, out)
	}
	return err
}

// cut asks for the power cut in an import: the first time in the middle, then at a random
// moment.
func (g *guest) cut() error {
	have := smallLayers + 1
	ended := make(chan error, 1)
	go func() { ended <- g.importLarge() }()
	layers := 1 + g.dice.IntN(largeLayers-3)
	under := false
	for deadline := time.Now().Add(4 * time.Minute); !under; {
		out, err := g.ctr("snapshots", "--snapshotter", snapshotter, "ls")
		if err != nil {
			return err
		}
		under = strings.Count(out, "\n") >= have+layers
		select {
		case err := <-ended:
			return errors.Join(errors.New("the import has ended before its time"), err)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the import makes no progress: %s", out)
		}
	}
	moment := time.Duration(g.dice.Int64N(int64(time.Second)))
	fmt.Printf("cut in layer %d of %d or the next, %v later\n", layers, largeLayers, moment.Round(time.Millisecond))
	<-time.After(moment)
	select {
	case err := <-ended:
		return errors.Join(errors.New("the import has ended before its time"), err)
	default:
	}
	fmt.Println(cutNow)
	<-g.ctx.Done()
	return errors.New("the power stayed on")
}

// checked returns nil if `thinctl pool check` finds nothing.
func (g *guest) checked() error {
	var report struct {
		Pools []struct {
			Healthy  bool              `json:"healthy"`
			Findings []json.RawMessage `json:"findings"`
		} `json:"pools"`
	}
	if err := g.pool.JSON(g.ctx, &report, "pool", "check", "vault"); err != nil {
		return err
	}
	if len(report.Pools) != 1 || !report.Pools[0].Healthy || len(report.Pools[0].Findings) > 0 {
		return fmt.Errorf("check: got %+v, want no findings", report)
	}
	return nil
}

// denied returns nil if the sandboxed daemon was refused nothing and not killed for a
// system call. On the first boot it must have formatted a file system.
func (g *guest) denied() error {
	if out, err := g.run("systemctl", "show", "--value", "-p", "NRestarts", "thinctl.service"); err != nil || out != "0" {
		return fmt.Errorf("restarts of the daemon: got %s: %w", out, err)
	}
	out, err := g.run("journalctl", "--no-pager", "-o", "cat", "-u", "thinctl.service")
	if err != nil {
		return err
	}
	var faults []error
	if !strings.Contains(out, "containerd is served") {
		faults = append(faults, fmt.Errorf("the daemon's journal has nothing of containerd: %s", out))
	}
	for line := range strings.Lines(out) {
		for _, bad := range []string{"permission denied", "not permitted", "status=31/SYS", "level=ERROR"} {
			if strings.Contains(line, bad) {
				faults = append(faults, fmt.Errorf("the daemon's journal: %s", line))
			}
		}
	}
	return errors.Join(faults...)
}

// empty removes the container and the image.
func (g *guest) empty() error {
	if _, err := g.ctr("tasks", "kill", "--signal", "SIGKILL", stays); err != nil {
		return err
	}
	err := g.until("end of the container", func() error { _, err := g.ctr("tasks", "rm", stays); return err })
	if err != nil {
		return err
	}
	if _, err := g.ctr("containers", "rm", stays); err != nil {
		return err
	}
	image, err := g.image("small")
	if err != nil {
		return err
	}
	if _, err := g.ctr("images", "rm", "--sync", image); err != nil {
		return err
	}
	return g.until("end of the garbage collection", func() error { return g.snapshots(0) })
}

// nothing verifies, also with thin_check, that nothing is left in the pool.
func (g *guest) nothing() error {
	var usage struct {
		Volumes []struct {
			Volume string `json:"volume"`
		} `json:"volumes"`
	}
	if err := g.until("check without findings", g.checked); err != nil {
		return err
	}
	if err := g.pool.JSON(g.ctx, &usage, "pool", "usage", "vault"); err != nil {
		return err
	}
	for _, v := range usage.Volumes {
		if !strings.HasPrefix(v.Volume, "template-") {
			return fmt.Errorf("got volumes %+v, want none", usage.Volumes)
		}
	}
	for _, command := range [][]string{{"systemctl", "stop", "containerd.service", "thinctl.service"},
		{"/usr/bin/thinctl", "pool", "deactivate", "vault"}, {"thin_check", "-q", "/var/lib/thinctl/vault/metadata"},
		{"/usr/bin/thinctl", "pool", "destroy", "vault", "--yes"}} {
		if _, err := g.run(command[0], command[1:]...); err != nil {
			return err
		}
	}
	return nil
}
