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

// Pools are active before the daemon says that it is ready, but not those that
// were deactivated by hand.
func TestStartActivates(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.pool("one", nil)
		two, v := r.pool("two", nil)
		r.check(two.DeactivateVolume(r.Context(), v.Name))
		r.check(two.Deactivate(r.Context()))
		r.world.PowerOff(r.T)
		r.start()
		if s := r.sample("one"); !s.Status.Active {
			r.Errorf("one is not active: %+v", s)
		}
		if s := r.sample("two"); s.Status.Active {
			r.Error("two is active, and was deactivated by hand")
		}
		r.conditions("one")
		r.conditions("two")
		r.mu.Lock()
		states := strings.Join(r.states, "|")
		r.mu.Unlock()
		if states != "READY=1\nSTATUS=2 pools" {
			r.Errorf("the service manager was told %q", states)
		}
	})
}

func TestStartWithoutActivation(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config = quietConfig + "activate = false\n[pools.two]\nactivate = true\n"
		r.pool("one", nil)
		r.pool("two", nil)
		r.world.PowerOff(r.T)
		r.start()
		r.conditions("one", PoolInactive)
		r.conditions("two")
	})
}

// A pool that cannot be activated keeps neither the others nor the daemon, and is
// tried again.
func TestActivationFails(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.pool("one", nil)
		r.world.PowerOff(r.T)
		r.world.Kernel.SetFault(failLoads)
		r.start()
		r.conditions("one", PoolInactive)
		r.world.Kernel.SetFault(nil)
		r.pass(reviveEvery + 20*time.Second)
		r.conditions("one")
	})
}

// The command line works beside the daemon: what is made, deactivated and
// destroyed by hand stays so.
func TestPoolsComeAndGo(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.start()
		if got := len(r.daemon.Samples()); got != 0 {
			r.Errorf("%d samples, and there is no pool", got)
		}
		pool, v := r.pool("late", nil)
		r.pass(6 * time.Second)
		r.conditions("late")
		r.check(pool.DeactivateVolume(r.Context(), v.Name))
		r.check(pool.Deactivate(r.Context()))
		r.pass(5 * time.Minute)
		if r.sample("late").Status.Active {
			r.Error("it was activated against somebody's will")
		}
		r.conditions("late")
		r.check(pool.Activate(r.Context()))
		r.pass(20 * time.Second)
		r.check(pool.Destroy(r.Context()))
		r.pass(30 * time.Second)
		if got := r.daemon.Samples(); len(got) != 0 {
			r.Errorf("there are samples of a pool that was destroyed: %+v", got)
		}
		if text := r.log.String(); strings.Contains(text, PoolGone) {
			r.Errorf("a destroyed pool was reported as gone:\n%s", text)
		}
		r.pool("late", nil) // another one of that name
		r.pass(20 * time.Second)
		r.conditions("late")
	})
}

// A pool whose folder went away under it, and one that the configuration names
// and that was never there, are told of; when it comes back that is over.
func TestPoolGone(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config = quietConfig + "[pools.missing]\n"
		r.pool("p", nil)
		r.start()
		r.pass(30 * time.Second)
		r.conditions("missing", PoolGone)
		aside := filepath.Join(r.TempDir(), "aside")
		r.check(os.Rename(filepath.Join(r.world.Root, "p"), aside))
		r.pass(time.Minute)
		r.conditions("p", PoolGone)
		r.pass(time.Minute)
		r.conditions("p", PoolGone, SampleStale)
		r.check(os.Rename(aside, filepath.Join(r.world.Root, "p")))
		r.pass(20 * time.Second)
		r.conditions("p")
	})
}

// One daemon serves a root. The second one changes nothing.
func TestTwoDaemons(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.pool("p", nil)
		r.start()
		second := r.new()
		err := second.Run(r.Context())
		if !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), r.world.Root) {
			r.Errorf("a second daemon: %v", err)
		}
		r.end()
		r.start() // and once the first has ended, the next may
	})
}

// Ending a daemon leaves all devices as they are, in no time.
func TestEndLeavesDevices(t *testing.T) {
	inBubble(t, func(r *rig) {
		_, v := r.pool("p", nil)
		r.fill(v, 0, 10)
		r.start()
		before, err := r.world.Kernel.List(r.Context())
		r.check(err)
		begun := time.Now()
		r.end()
		if took := time.Since(begun); took > 6*time.Second {
			r.Errorf("it took %s", took)
		}
		after, err := r.world.Kernel.List(r.Context())
		r.check(err)
		if len(before) == 0 || len(before) != len(after) {
			r.Errorf("devices before %v, after %v", before, after)
		}
		r.fill(v, 10, 20)
		if last := r.states[len(r.states)-1]; last != "STOPPING=1" {
			r.Errorf("told last: %q", last)
		}
	})
}

func TestReload(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config = quietConfig + "[extend]\nenabled = false\n"
		_, v := r.pool("p", nil)
		r.start()
		r.fill(v, 0, 900)
		r.pass(20 * time.Second)
		r.conditions("p", DataLow)
		r.config = quietConfig + "frob = 1\n[extend]\nenabled = \"yes\"\n"
		r.daemon.Reload()
		r.pass(20 * time.Second)
		r.conditions("p", DataLow)
		if text := r.log.String(); !strings.Contains(text, "the old one stays") || !strings.Contains(text, "serve.frob") || !strings.Contains(text, "extend.enabled") {
			r.Errorf("the faults are not told:\n%s", text)
		}
		r.config = "[serve]\nlisten = \"127.0.0.1:9\"\ninterval = \"1h\"\n"
		r.daemon.Reload()
		r.pass(time.Second)
		r.conditions("p")
		if text := r.log.String(); !strings.Contains(text, "serve.listen") {
			r.Errorf("it is not told what takes a restart:\n%s", text)
		}
	})
}

func TestWatchdog(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.options = func(o *Options) { o.Watchdog = 10 * time.Second }
		r.start()
		r.pass(time.Minute)
		r.mu.Lock()
		defer r.mu.Unlock()
		pings := 0
		for _, state := range r.states {
			if state == "WATCHDOG=1" {
				pings++
			}
		}
		if pings < 11 {
			r.Errorf("%d pings in a minute", pings)
		}
	})
}

// What cannot be read is told once it is old, and what was read before stays.
func TestSampleStale(t *testing.T) {
	inBubble(t, func(r *rig) {
		_, v := r.pool("p", nil)
		r.fill(v, 0, 10)
		r.start()
		broken := errors.New("the kernel does not answer")
		r.world.Kernel.SetFault(failStatus(broken))
		r.pass(50 * time.Second)
		r.conditions("p")
		if s := r.sample("p"); !errors.Is(s.Err, broken) || s.Status.Data.Used != 10*64*units.KiB {
			r.Errorf("%v, %s used", s.Err, s.Status.Data.Used)
		}
		r.pass(time.Minute)
		r.conditions("p", SampleStale)
		r.world.Kernel.SetFault(nil)
		r.pass(20 * time.Second)
		r.conditions("p")
		if n := strings.Count(r.log.String(), "the pool could not be read"); n != 1 {
			r.Errorf("logged %d times", n)
		}
	})
}

func TestHeldRoot(t *testing.T) {
	inBubble(t, func(r *rig) {
		pool, _ := r.pool("p", nil)
		r.start()
		// A reading of ours that was killed.
		_ = pool.ReadMetadata(r.Context(), func(*thinpool.Reading) error { r.world.StopAt(1, thinpooltest.Before); return nil })
		r.world.Restart()
		if r.kernel("p").HeldRoot == 0 {
			r.Fatal("a killed reading left nothing")
		}
		r.pass(20 * time.Second)
		if r.kernel("p").HeldRoot != 0 {
			r.Errorf("what a killed reading left is still held\n%s", r.log.String())
		}
		r.conditions("p")
		_, err := r.world.Kernel.Message(r.Context(), dm.ByName("thinctl-p"), "reserve_metadata_snap")
		r.check(err)
		r.pass(20 * time.Second)
		r.conditions("p", HeldRoot)
		if r.kernel("p").HeldRoot == 0 {
			r.Error("somebody else's was released")
		}
		_, err = r.world.Kernel.Message(r.Context(), dm.ByName("thinctl-p"), "release_metadata_snap")
		r.check(err)
		r.pass(20 * time.Second)
		r.conditions("p")
	})
}

func TestRemovedVolumes(t *testing.T) {
	inBubble(t, func(r *rig) {
		pool, v := r.pool("p", nil)
		r.fill(v, 0, 100)
		r.start()
		release, err := r.world.Kernel.Hold(v.Dev)
		r.check(err)
		removal, err := pool.RemoveVolume(r.Context(), "v", thinpool.RemoveOptions{Deferred: true})
		if err != nil || removal.Reaped {
			r.Fatalf("%+v, %v", removal, err)
		}
		r.pass(30 * time.Minute)
		r.conditions("p")
		r.pass(31 * time.Minute)
		r.conditions("p", RemovalWaiting)
		release()
		r.pass(time.Minute)
		r.conditions("p")
		if used := r.kernel("p").UsedData; used != 0 {
			r.Errorf("%d blocks are not given back", used)
		}
	})
}

func TestTrimAndScan(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config = quietConfig + "trim_every = \"1h\"\ntrim_rate = \"1M\"\nscan_every = \"30m\"\n"
		_, v := r.pool("p", nil)
		r.fill(v, 0, 64)
		trims := &countingFiles{files: files{r.world.Files}}
		r.options = func(o *Options) { o.Files = trims }
		r.start()
		r.pass(20 * time.Second)
		s := r.sample("p")
		if s.Scan == nil || s.Scan.Err != nil || s.Scan.Usage.Exclusive != 4*units.MiB {
			r.Errorf("the first scan: %+v", s.Scan)
		}
		if trims.trims.Load() != 0 {
			r.Error("it trims at once")
		}
		r.pass(11 * time.Minute)
		if trims.trims.Load() != 1 {
			r.Errorf("%d trims in eleven minutes", trims.trims.Load())
		}
		r.pass(3 * time.Hour)
		if trims.trims.Load() != 3 {
			r.Errorf("%d trims in three hours", trims.trims.Load())
		}
		if at := r.sample("p").Scan.At; time.Since(at) > 31*time.Minute {
			r.Errorf("the last scan is of %s", at)
		}
		r.conditions("p")
		// Somebody else holds the one metadata snapshot that there can be.
		_, err := r.world.Kernel.Message(r.Context(), dm.ByName("thinctl-p"), "reserve_metadata_snap")
		r.check(err)
		r.pass(4 * time.Hour)
		r.conditions("p", HeldRoot, ScanStale)
	})
}

// TestEndInScan: a scan that the daemon's end cuts short is nothing to warn of.
func TestEndInScan(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.config = quietConfig + "scan_every = \"30m\"\n"
		r.pool("p", nil)
		reads := &endingDisks{end: func() { r.stop() }}
		r.options = func(o *Options) {
			reads.Disks = o.Host.Disks
			o.Host.Disks = reads
		}
		r.daemon = r.new()
		r.run()
		r.pass(time.Minute)
		if err := <-r.ended; err != nil {
			r.Error(err)
		}
		r.daemon = nil
		if !reads.ended.Load() {
			r.Fatal("no scan")
		}
		if text := r.log.String(); strings.Contains(text, "level=WARN") {
			r.Errorf("the log warns:\n%s", text)
		}
	})
}

// endingDisks call end when metadata is read.
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

// countingFiles have one file system, on whatever volume, that gives back 64M at
// each trim.
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
			t.Errorf("%s at %s a second: %s, want %s", test.freed, test.rate, got, test.want)
		}
	}
}
