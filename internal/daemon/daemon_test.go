package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/units"
)

// Pools are active before the daemon reports that it is ready, except those that a user
// has deactivated.
func TestStartActivates(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.pool("one", nil)
		two, v := h.pool("two", nil)
		h.check(two.DeactivateVolume(h.Context(), v.Name))
		h.check(two.Deactivate(h.Context()))
		h.fixture.PowerOff(h.T)
		h.start()
		if s := h.sample("one"); !s.Status.Active {
			h.Errorf("pool one: got %+v, want it active", s)
		}
		if s := h.sample("two"); s.Status.Active {
			h.Error("pool two, deactivated by hand: got it active, want it inactive")
		}
		h.conditions("one")
		h.conditions("two")
		h.mu.Lock()
		states := strings.Join(h.states, "|")
		h.mu.Unlock()
		if states != "READY=1\nSTATUS=2 pools" {
			h.Errorf("states for the service manager: got %q, want %q", states, "READY=1\nSTATUS=2 pools")
		}
	})
}

func TestStartWithoutActivation(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.config = quietConfig + "activate = false\n[pools.two]\nactivate = true\n"
		h.pool("one", nil)
		h.pool("two", nil)
		h.fixture.PowerOff(h.T)
		h.start()
		h.conditions("one", PoolInactive)
		h.conditions("two")
	})
}

// A pool that cannot be activated does not keep the daemon from starting. The activation
// is tried again.
func TestActivationFails(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.pool("one", nil)
		h.fixture.PowerOff(h.T)
		h.fixture.Kernel.SetFault(failLoads)
		h.start()
		h.conditions("one", PoolInactive)
		h.fixture.Kernel.SetFault(nil)
		h.advance(activateInterval + 20*time.Second)
		h.conditions("one")
	})
}

// The daemon does not undo what commands create, deactivate and destroy.
func TestPoolsComeAndGo(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.start()
		if got := len(h.daemon.Samples()); got != 0 {
			h.Errorf("without pools: got %d samples, want none", got)
		}
		pool, v := h.pool("late", nil)
		h.advance(6 * time.Second)
		h.conditions("late")
		h.check(pool.DeactivateVolume(h.Context(), v.Name))
		h.check(pool.Deactivate(h.Context()))
		h.advance(5 * time.Minute)
		if h.sample("late").Status.Active {
			h.Error("a pool deactivated by hand: got it active, want it inactive")
		}
		h.conditions("late")
		h.check(pool.Activate(h.Context()))
		h.advance(20 * time.Second)
		h.check(pool.Destroy(h.Context()))
		h.advance(30 * time.Second)
		if got := h.daemon.Samples(); len(got) != 0 {
			h.Errorf("after the pool was destroyed: got samples %+v, want none", got)
		}
		if text := h.log.String(); strings.Contains(text, PoolGone) {
			h.Errorf("log after the pool was destroyed: got %s in it:\n%s", PoolGone, text)
		}
		h.pool("late", nil) // another pool of the same name
		h.advance(20 * time.Second)
		h.conditions("late")
	})
}

// A pool whose directory has disappeared is a condition, as is a missing pool in the
// configuration. The condition ends when the directory is back.
func TestPoolGone(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.config = quietConfig + "[pools.missing]\n"
		h.pool("p", nil)
		h.start()
		h.advance(30 * time.Second)
		h.conditions("missing", PoolGone)
		aside := filepath.Join(h.TempDir(), "aside")
		h.check(os.Rename(filepath.Join(h.fixture.Root, "p"), aside))
		h.advance(time.Minute)
		h.conditions("p", PoolGone)
		h.advance(time.Minute)
		h.conditions("p", PoolGone, SampleStale)
		h.check(os.Rename(aside, filepath.Join(h.fixture.Root, "p")))
		h.advance(20 * time.Second)
		h.conditions("p")
	})
}

// A second daemon on the same root fails and changes nothing.
func TestTwoDaemons(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.pool("p", nil)
		h.start()
		second := h.new()
		err := second.Run(h.Context())
		if !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), h.fixture.Root) {
			h.Errorf("second daemon: got %v, want %v with the root", err, ErrRunning)
		}
		h.end()
		h.start() // another daemon starts after the first has ended
	})
}

// The daemon ends quickly, and all devices stay as they are.
func TestEndLeavesDevices(t *testing.T) {
	inBubble(t, func(h *harness) {
		_, v := h.pool("p", nil)
		h.fill(v, 0, 10)
		h.start()
		before, err := h.fixture.Kernel.List(h.Context())
		h.check(err)
		begun := time.Now()
		h.end()
		if took := time.Since(begun); took > 6*time.Second {
			h.Errorf("stopping the daemon took %s, want at most 6s", took)
		}
		after, err := h.fixture.Kernel.List(h.Context())
		h.check(err)
		if len(before) == 0 || len(before) != len(after) {
			h.Errorf("devices: got %v, want %v", after, before)
		}
		h.fill(v, 10, 20)
		if last := h.states[len(h.states)-1]; last != "STOPPING=1" {
			h.Errorf("last state for the service manager: got %q, want STOPPING=1", last)
		}
	})
}

func TestReload(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.config = quietConfig + "[extend]\nenabled = false\n"
		_, v := h.pool("p", nil)
		h.start()
		h.fill(v, 0, 900)
		h.advance(20 * time.Second)
		h.conditions("p", DataLow)
		h.config = quietConfig + "frob = 1\n[extend]\nenabled = \"yes\"\n"
		h.daemon.Reload()
		h.advance(20 * time.Second)
		h.conditions("p", DataLow)
		for _, want := range []string{"the old one is still used", "serve.frob", "extend.enabled"} {
			if text := h.log.String(); !strings.Contains(text, want) {
				h.Errorf("log: want %q, got:\n%s", want, text)
			}
		}
		h.config = "[serve]\nlisten = \"127.0.0.1:9\"\ninterval = \"1h\"\n"
		h.daemon.Reload()
		h.advance(time.Second)
		h.conditions("p")
		if text := h.log.String(); !strings.Contains(text, "serve.listen") {
			h.Errorf("log: want serve.listen as a key that needs a restart, got:\n%s", text)
		}
	})
}

func TestWatchdog(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.options = func(o *Options) { o.Watchdog = 10 * time.Second }
		h.start()
		h.advance(time.Minute)
		h.mu.Lock()
		defer h.mu.Unlock()
		pings := 0
		for _, state := range h.states {
			if state == "WATCHDOG=1" {
				pings++
			}
		}
		if pings < 11 {
			h.Errorf("got %d pings in a minute, want at least 11", pings)
		}
	})
}

// A pool that cannot be read keeps its last figures; after some time it is a condition.
func TestSampleStale(t *testing.T) {
	inBubble(t, func(h *harness) {
		_, v := h.pool("p", nil)
		h.fill(v, 0, 10)
		h.start()
		broken := errors.New("the kernel does not answer")
		h.fixture.Kernel.SetFault(failStatus(broken))
		h.advance(50 * time.Second)
		h.conditions("p")
		if s := h.sample("p"); !errors.Is(s.Err, broken) || s.Status.Data.Used != 10*64*units.KiB {
			h.Errorf("got %v, %s used, want %v and 640K", s.Err, s.Status.Data.Used, broken)
		}
		h.advance(time.Minute)
		h.conditions("p", SampleStale)
		h.fixture.Kernel.SetFault(nil)
		h.advance(20 * time.Second)
		h.conditions("p")
		if n := strings.Count(h.log.String(), "the pool could not be read"); n != 1 {
			h.Errorf("logged %d times, want once", n)
		}
	})
}

func TestHeldRoot(t *testing.T) {
	inBubble(t, func(h *harness) {
		pool, _ := h.pool("p", nil)
		h.start()
		// A process is killed while it reads metadata.
		_ = pool.ReadMetadata(h.Context(), func(*thinpool.Reading) error {
			h.fixture.StopAt(1, thinpooltest.Before)
			return nil
		})
		h.fixture.Restart()
		if h.kernel("p").HeldRoot == 0 {
			h.Fatal("the killed process holds no metadata snapshot")
		}
		h.advance(20 * time.Second)
		if h.kernel("p").HeldRoot != 0 {
			h.Errorf("the killed process's metadata snapshot was not released\n%s", h.log.String())
		}
		h.conditions("p")
		_, err := h.fixture.Kernel.Message(h.Context(), dm.ByName("thinctl-p"), "reserve_metadata_snap")
		h.check(err)
		h.advance(20 * time.Second)
		h.conditions("p", HeldRoot)
		if h.kernel("p").HeldRoot == 0 {
			h.Error("another program's metadata snapshot was released")
		}
		_, err = h.fixture.Kernel.Message(h.Context(), dm.ByName("thinctl-p"), "release_metadata_snap")
		h.check(err)
		h.advance(20 * time.Second)
		h.conditions("p")
	})
}

func TestRemovedVolumes(t *testing.T) {
	inBubble(t, func(h *harness) {
		pool, v := h.pool("p", nil)
		h.fill(v, 0, 100)
		h.start()
		release, err := h.fixture.Kernel.Hold(v.Dev)
		h.check(err)
		removal, err := pool.RemoveVolume(h.Context(), "v", thinpool.RemoveOptions{Deferred: true})
		if err != nil || removal.Reaped {
			h.Fatalf("remove an open volume: got %+v, %v, want it not reaped", removal, err)
		}
		h.advance(30 * time.Minute)
		h.conditions("p")
		h.advance(31 * time.Minute)
		h.conditions("p", RemovalWaiting)
		release()
		h.advance(time.Minute)
		h.conditions("p")
		if used := h.kernel("p").UsedData; used != 0 {
			h.Errorf("got %d blocks in use, want 0", used)
		}
	})
}

func TestTrimAndScan(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.config = quietConfig + "trim_every = \"1h\"\ntrim_rate = \"1M\"\nscan_every = \"30m\"\n"
		_, v := h.pool("p", nil)
		h.fill(v, 0, 64)
		trims := &countingFiles{files: files{h.fixture.Files}}
		h.options = func(o *Options) { o.Files = trims }
		h.start()
		h.advance(20 * time.Second)
		s := h.sample("p")
		if s.Scan == nil || s.Scan.Err != nil || s.Scan.Usage.Exclusive != 4*units.MiB {
			h.Errorf("first scan: got %+v, want 4M exclusive", s.Scan)
		}
		if got := trims.trims.Load(); got != 0 {
			h.Errorf("after 20 seconds: got %d trims, want none", got)
		}
		h.advance(11 * time.Minute)
		if trims.trims.Load() != 1 {
			h.Errorf("after eleven minutes: got %d trims, want 1", trims.trims.Load())
		}
		h.advance(3 * time.Hour)
		if trims.trims.Load() != 3 {
			h.Errorf("after three hours: got %d trims, want 3", trims.trims.Load())
		}
		if at := h.sample("p").Scan.At; time.Since(at) > 31*time.Minute {
			h.Errorf("the last scan is from %s, want one in the last 31 minutes", at)
		}
		h.conditions("p")
		// Another program holds the pool's only metadata snapshot.
		_, err := h.fixture.Kernel.Message(h.Context(), dm.ByName("thinctl-p"), "reserve_metadata_snap")
		h.check(err)
		h.advance(4 * time.Hour)
		h.conditions("p", HeldRoot, ScanStale)
	})
}

// A scan that ends because the daemon is stopped does not log a warning.
func TestStopDuringScan(t *testing.T) {
	inBubble(t, func(h *harness) {
		h.config = quietConfig + "scan_every = \"30m\"\n"
		h.pool("p", nil)
		reads := &endingDisks{end: func() { h.stop() }}
		h.options = func(o *Options) {
			reads.Disks = o.Host.Disks
			o.Host.Disks = reads
		}
		h.daemon = h.new()
		h.run()
		h.advance(time.Minute)
		if err := <-h.ended; err != nil {
			h.Error(err)
		}
		h.daemon = nil
		if !reads.ended.Load() {
			h.Fatal("no scan was started")
		}
		if text := h.log.String(); strings.Contains(text, "level=WARN") {
			h.Errorf("log: want no warning, got:\n%s", text)
		}
	})
}

// endingDisks calls end when metadata is read.
type endingDisks struct {
	thinpool.Disks
	end   func()
	ended atomic.Bool
}

type endingFile struct {
	thinpool.MetadataFile
	of *endingDisks
}

func (d *endingDisks) Metadata(path string, write bool) (thinpool.MetadataFile, error) {
	file, err := d.Disks.Metadata(path, write)
	return endingFile{file, d}, err
}

func (f endingFile) ReadAt(b []byte, at int64) (int, error) {
	f.of.ended.Store(true)
	f.of.end()
	return f.MetadataFile.ReadAt(b, at)
}

// countingFiles has a file system on each volume, and each trim of it frees 64M.
type countingFiles struct {
	files
	trims atomic.Int32
}

func (f *countingFiles) MountPoint(context.Context, blockdev.Number) (string, error) {
	return "/mnt", nil
}

func (f *countingFiles) Trim(context.Context, string) (units.Bytes, error) {
	f.trims.Add(1)
	return 64 * units.MiB, nil
}

func TestPauseFor(t *testing.T) {
	for _, test := range []struct {
		freed, rate units.Bytes
		want        time.Duration
	}{{0, 1, 0}, {mi, mi, time.Second}, {mi / 2, mi, time.Second / 2}, {1 << 62, 1, longestPause}} {
		if got := pauseFor(test.freed, test.rate); got != test.want {
			t.Errorf("%s at %s a second: got %s, want %s", test.freed, test.rate, got, test.want)
		}
	}
}
