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
	"thinctl/units"
)

// harness runs a daemon on an in-memory host, in a synctest bubble.
type harness struct {
	*testing.T
	fixture *snapshotstest.Fixture
	config  string // the daemon's file
	log     logs

	mu   sync.Mutex
	host loopback.Space

	daemon  *Daemon
	stop    func()
	ended   chan error
	states  []string // that the service manager received
	options func(*Options)
}

const quietConfig = "[serve]\nlisten = \"\"\n"

func inBubble(t *testing.T, do func(*harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &harness{T: t, fixture: snapshotstest.New(t), config: quietConfig,
			host: loopback.Space{Total: 100 * units.GiB, Free: 60 * units.GiB, Available: 50 * units.GiB}}
		h.fixture.Space = func() loopback.Space {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.host
		}
		defer func() {
			if h.daemon != nil {
				h.end()
			}
		}()
		do(h)
	})
}

// available sets the free space of the host's file system.
func (h *harness) available(b units.Bytes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.host.Free, h.host.Available = b, b
}

func (h *harness) check(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// pool makes a pool of 64M data with an active volume of 1G.
func (h *harness) pool(name string, change func(*thinpool.CreateOptions)) (*thinpool.Pool, thinpool.Volume) {
	h.Helper()
	options := thinpool.CreateOptions{
		DataSize: 64 * units.MiB, MetadataSize: 4 * units.MiB, BaseSize: units.GiB, Reserve: &thinpool.Reserve{Host: 5},
	}
	if change != nil {
		change(&options)
	}
	pool, err := thinpool.Create(h.Context(), h.fixture.Host(), h.fixture.Root, name, options)
	h.check(err)
	_, err = pool.CreateVolume(h.Context(), "v", thinpool.VolumeOptions{})
	h.check(err)
	volume, err := pool.ActivateVolume(h.Context(), "v")
	h.check(err)
	return pool, volume
}

// fill writes the blocks from first to last-1.
func (h *harness) fill(v thinpool.Volume, first, last uint64) {
	h.Helper()
	for block := first; block < last; block++ {
		h.check(h.fixture.Kernel.WriteStamp(v.Dev, block, block+1))
	}
}

func (h *harness) load() (config.Config, error) {
	return config.Parse([]byte("root = \""+h.fixture.Root+"\"\n"+h.config), "config.toml", config.Sources{})
}

func (h *harness) new() *Daemon {
	h.Helper()
	c, err := h.load()
	h.check(err)
	o := Options{Host: h.fixture.Host(), Files: files{h.fixture.Files}, Config: c, Reload: h.load,
		Logger: slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Notify: func(state string) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.states = append(h.states, state)
			return nil
		}}
	if h.options != nil {
		h.options(&o)
	}
	d, err := New(o)
	h.check(err)
	return d
}

// start runs a daemon and waits until it is ready.
func (h *harness) start() {
	h.Helper()
	h.daemon = h.new()
	h.run()
	h.wait()
	if err := h.daemon.readiness(); err != nil {
		h.Fatalf("readiness: got %v, want nil\n%s", err, h.log.String())
	}
}

// run starts the daemon.
func (h *harness) run() {
	ctx, stop := context.WithCancelCause(context.Background())
	h.stop, h.ended = func() { stop(errSignal) }, make(chan error, 1)
	d := h.daemon
	go func() { h.ended <- d.Run(ctx) }()
}

// wait returns when all goroutines are blocked.
func (h *harness) wait() { h.advance(0) }

func (h *harness) advance(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// end stops the daemon as SIGTERM does.
func (h *harness) end() {
	h.Helper()
	if err := h.endWith(); err != nil {
		h.Errorf("Run: got %v, want nil", err)
	}
}

func (h *harness) endWith() error {
	h.Helper()
	h.stop()
	begun := time.Now()
	err := <-h.ended
	if took := time.Since(begun); took > stopTimeout+5*time.Second {
		h.Errorf("stopping the daemon took %s, want at most %s", took, stopTimeout+5*time.Second)
	}
	h.daemon = nil
	return err
}

func (h *harness) sample(pool string) metrics.Sample {
	h.Helper()
	for _, s := range h.daemon.Samples() {
		if s.Pool == pool {
			return s
		}
	}
	h.Fatalf("got no sample of pool %s", pool)
	return metrics.Sample{}
}

func (h *harness) conditions(pool string, want ...string) {
	h.Helper()
	got := h.sample(pool).Conditions
	if len(got) != len(want) {
		h.Errorf("conditions: got %v, want %v (%v)\n%s", got, want, h.sample(pool).Err, h.log.String())
		return
	}
	for i := range got {
		if got[i] != want[i] {
			h.Errorf("conditions: got %v, want %v", got, want)
		}
	}
}

// kernel reads the pool's status from the fake kernel, even if the daemon was killed.
func (h *harness) kernel(pool string) dm.PoolStatus {
	h.Helper()
	device := dm.ByName(dm.Name("thinctl-" + pool))
	_, lines, err := h.fixture.Kernel.Status(context.Background(), device, dm.StatusOptions{NoFlush: true})
	h.check(err)
	status, err := dm.ParsePoolStatus(lines[0])
	h.check(err)
	return status
}

// files adds to the fixture's file systems a method that a trimmer needs.
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

// errSignal is the cause of the context's end, as in the program after a signal.
var errSignal = errors.New("interrupted")

var errNoLoad = errors.New("no memory for a table")

// failLoads makes the kernel fail each load of a table.
func failLoads(c dmtest.Call) error {
	if c.Op == "load" && c.Phase == dmtest.Before {
		return errNoLoad
	}
	return nil
}

// failStatus makes the kernel fail each request for a status.
func failStatus(err error) func(dmtest.Call) error {
	return func(c dmtest.Call) error {
		if c.Op == "status" && c.Phase == dmtest.Before {
			return err
		}
		return nil
	}
}
