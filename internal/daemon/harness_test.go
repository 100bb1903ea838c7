package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/internal/config"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/snapshotstest"
	"thinctl/loopback"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/thinpool/store"
	"thinctl/units"
)

// rig is a host in memory with a pool and a daemon, in a bubble of time.
type rig struct {
	*testing.T
	world  *snapshotstest.World
	config string // the daemon's file
	log    logs

	mu   sync.Mutex
	host loopback.Space

	daemon  *Daemon
	stop    func()
	ended   chan error
	states  []string // what the service manager was told
	options func(*Options)
}

const quietConfig = "[serve]\nlisten = \"\"\n"

func inBubble(t *testing.T, do func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, world: snapshotstest.New(t), config: quietConfig,
			host: loopback.Space{Total: 100 * units.GiB, Free: 60 * units.GiB, Available: 50 * units.GiB}}
		r.world.Space = func() loopback.Space {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.host
		}
		defer func() {
			if r.daemon != nil {
				r.end()
			}
		}()
		do(r)
	})
}

// available changes what the host's file system has.
func (r *rig) available(b units.Bytes) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.host.Free, r.host.Available = b, b
}

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// pool makes a pool of 64M data with one large active volume.
func (r *rig) pool(name string, change func(*thinpool.CreateOptions)) (*thinpool.Pool, thinpool.Volume) {
	r.Helper()
	options := thinpool.CreateOptions{DataSize: 64 * units.MiB, MetadataSize: 4 * units.MiB, BaseSize: units.GiB, Reserve: &store.Reserve{Host: 5}}
	if change != nil {
		change(&options)
	}
	pool, err := thinpool.Create(r.Context(), r.world.Host(), r.world.Root, name, options)
	r.check(err)
	_, err = pool.CreateVolume(r.Context(), "v", thinpool.VolumeOptions{})
	r.check(err)
	volume, err := pool.ActivateVolume(r.Context(), "v")
	r.check(err)
	return pool, volume
}

// fill writes blocks from first up to last.
func (r *rig) fill(v thinpool.Volume, first, last uint64) {
	r.Helper()
	for block := first; block < last; block++ {
		r.check(r.world.Kernel.WriteStamp(v.Dev, block, block+1))
	}
}

func (r *rig) load() (config.Config, error) {
	return config.Parse([]byte("root = \""+r.world.Root+"\"\n"+r.config), "config.toml", config.Sources{})
}

func (r *rig) new() *Daemon {
	r.Helper()
	c, err := r.load()
	r.check(err)
	o := Options{Host: r.world.Host(), Files: files{r.world.Files}, Config: c, Reload: r.load,
		Logger: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Notify: func(state string) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.states = append(r.states, state)
			return nil
		}}
	if r.options != nil {
		r.options(&o)
	}
	d, err := New(o)
	r.check(err)
	return d
}

// start runs a daemon and waits until it is ready.
func (r *rig) start() {
	r.Helper()
	r.daemon = r.new()
	r.run()
	r.settle()
	if err := r.daemon.readiness(); err != nil {
		r.Fatalf("not ready: %v\n%s", err, r.log.String())
	}
}

// run has the daemon begin.
func (r *rig) run() {
	ctx, stop := context.WithCancelCause(context.Background())
	r.stop, r.ended = func() { stop(errSignal) }, make(chan error, 1)
	d := r.daemon
	go func() { r.ended <- d.Run(ctx) }()
}

// settle lets all that is to happen at this moment happen.
func (r *rig) settle() { r.pass(0) }

func (r *rig) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// end ends the daemon as SIGTERM does.
func (r *rig) end() {
	r.Helper()
	if err := r.endWith(); err != nil {
		r.Errorf("the daemon ended with %v", err)
	}
}

func (r *rig) endWith() error {
	r.Helper()
	r.stop()
	begun := time.Now()
	err := <-r.ended
	if took := time.Since(begun); took > stopBound+5*time.Second {
		r.Errorf("it took %s to end", took)
	}
	r.daemon = nil
	return err
}

func (r *rig) sample(pool string) metrics.Sample {
	r.Helper()
	for _, s := range r.daemon.Samples() {
		if s.Pool == pool {
			return s
		}
	}
	r.Fatalf("no sample of %s", pool)
	return metrics.Sample{}
}

func (r *rig) conditions(pool string, want ...string) {
	r.Helper()
	got := r.sample(pool).Conditions
	if len(got) != len(want) {
		r.Errorf("conditions %v, want %v (%v)\n%s", got, want, r.sample(pool).Err, r.log.String())
		return
	}
	for i := range got {
		if got[i] != want[i] {
			r.Errorf("conditions %v, want %v", got, want)
		}
	}
}

// kernel is the pool's status, past all that the daemon may be stopped at.
func (r *rig) kernel(pool string) dm.PoolStatus {
	r.Helper()
	_, lines, err := r.world.Kernel.Status(context.Background(), dm.ByName(dm.Name("thinctl-"+pool)), dm.StatusOptions{NoFlush: true})
	r.check(err)
	status, err := dm.ParsePoolStatus(lines[0])
	r.check(err)
	return status
}

// files are the world's file systems, with what a trimmer asks.
type files struct{ *snapshotstest.Files }

func (f files) MountPoint(_ context.Context, device blockdev.Number) (string, error) {
	mounts, err := f.Mounts(device)
	if len(mounts) == 0 {
		return "", err
	}
	return mounts[0].Path, err
}

type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// errSignal is the cause by which the program's context ends.
var errSignal = errors.New("interrupted")

var errNoLoad = errors.New("no memory for a table")

// failLoads is a kernel that takes no new tables.
func failLoads(c dmtest.Call) error {
	if c.Op == "load" && c.Phase == dmtest.Before {
		return errNoLoad
	}
	return nil
}

// failStatus is a kernel that does not say how devices are.
func failStatus(err error) func(dmtest.Call) error {
	return func(c dmtest.Call) error {
		if c.Op == "status" && c.Phase == dmtest.Before {
			return err
		}
		return nil
	}
}
