package daemon

import (
	"strings"
	"testing"
	"time"

	"thinctl/thinpool"
	"thinctl/units"
)

// Data are extended at the threshold, and what cannot be extended is told.
func TestDataGrowsToItsMaximum(t *testing.T) {
	inBubble(t, func(r *rig) {
		_, v := r.pool("p", nil) // 1024 blocks
		r.config = quietConfig + "[extend]\ndata_at = 80\ndata_step = \"25%\"\ndata_maximum = \"100M\"\ncool_down = \"1m\"\n"
		r.start()
		r.fill(v, 0, 819)
		r.pass(20 * time.Second)
		if got := r.kernel("p").TotalData; got != 1024 {
			r.Errorf("below the threshold: %d blocks", got)
		}
		r.fill(v, 819, 820)
		r.pass(20 * time.Second)
		if got := r.kernel("p").TotalData; got != 1280 {
			r.Errorf("at the threshold: %d blocks\n%s", got, r.log.String())
		}
		r.conditions("p")
		r.fill(v, 820, 1100)
		r.pass(20 * time.Second)
		if got := r.kernel("p").TotalData; got != 1280 {
			r.Errorf("within the cool-down: %d blocks", got)
		}
		r.conditions("p")
		r.pass(time.Minute)
		if got := r.kernel("p").TotalData; got != 1600 {
			r.Errorf("after the cool-down: %d blocks", got)
		}
		r.fill(v, 1100, 1300)
		r.pass(2 * time.Minute)
		r.conditions("p", AtMaximum, DataLow)
		r.fill(v, 1300, 1600)
		r.pass(20 * time.Second)
		r.conditions("p", AtMaximum, DataFull)
		for _, text := range []string{"the pool was extended", "code=at-maximum", "code=data-full"} {
			if !strings.Contains(r.log.String(), text) {
				r.Errorf("the log lacks %q:\n%s", text, r.log.String())
			}
		}
		// The maximum is raised, and the configuration is read anew.
		r.config = quietConfig + "[extend]\ndata_at = 80\ndata_step = \"25%\"\ndata_maximum = \"1G\"\n"
		r.daemon.Reload()
		r.pass(time.Second)
		if got := r.kernel("p").TotalData; got < 2000 {
			r.Errorf("after the maximum was raised: %d blocks\n%s", got, r.log.String())
		}
		r.pass(time.Second)
		r.conditions("p")
	})
}

// A space that is nearly full does not wait for the cool-down.
func TestUrgent(t *testing.T) {
	inBubble(t, func(r *rig) {
		_, v := r.pool("p", nil)
		r.config = quietConfig + "[extend]\ndata_step = \"20%\"\ncool_down = \"1h\"\n"
		r.start()
		var written uint64
		for range 20 {
			r.fill(v, written, written+150)
			written += 150
			r.pass(15 * time.Second)
			if s := r.kernel("p"); s.FreeData() < 150 {
				r.Fatalf("%d blocks of %d are free", s.FreeData(), s.TotalData)
			}
		}
	})
}

// The low-water event is faster than the timer.
func TestEvent(t *testing.T) {
	inBubble(t, func(r *rig) {
		_, v := r.pool("p", func(o *thinpool.CreateOptions) { o.LowWater = 100 })
		r.config = "[serve]\nlisten = \"\"\ninterval = \"1h\"\n"
		r.start()
		r.pass(time.Second)
		r.fill(v, 0, 930)
		r.pass(time.Second)
		if got := r.kernel("p").TotalData; got == 1024 {
			r.Errorf("a second after the event: %d blocks\n%s", got, r.log.String())
		}
	})
}

func TestMetadataGrows(t *testing.T) {
	inBubble(t, func(r *rig) {
		pool, _ := r.pool("p", func(o *thinpool.CreateOptions) { o.MetadataSize = 2 * units.MiB })
		r.config = quietConfig + "[extend]\nmetadata_at = 10\nmetadata_step = \"50%\"\nmetadata_maximum = \"4M\"\ncool_down = \"0s\"\n"
		r.start()
		for i := range 300 {
			name := "s" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
			if _, err := pool.CreateVolume(r.Context(), name, thinpool.VolumeOptions{}); err != nil {
				r.Fatal(err)
			}
		}
		r.pass(time.Minute)
		s := r.kernel("p")
		if s.TotalMetadata <= 512 || s.TotalMetadata > 1024 {
			r.Errorf("%d of %d metadata blocks\n%s", s.UsedMetadata, s.TotalMetadata, r.log.String())
		}
	})
}

// A host without room is told, the full policy follows it, and all goes back once
// there is room.
func TestHostRunsShort(t *testing.T) {
	inBubble(t, func(r *rig) {
		_, v := r.pool("p", nil)
		r.start()
		r.conditions("p")
		if r.kernel("p").ErrorIfNoSpace {
			r.Error("the pool fails writes at once, and the host has room")
		}
		r.available(4 * units.GiB) // the reserve is 5G
		r.fill(v, 0, 900)
		r.pass(20 * time.Second)
		r.conditions("p", DataLow, HostLow)
		if s := r.kernel("p"); !s.ErrorIfNoSpace || s.TotalData != 1024 {
			r.Errorf("with a host without room: %+v", s)
		}
		r.available(0)
		r.pass(20 * time.Second)
		r.conditions("p", DataLow, HostFull)
		r.available(50 * units.GiB)
		r.pass(20 * time.Second)
		r.conditions("p")
		if s := r.kernel("p"); s.ErrorIfNoSpace || s.TotalData == 1024 {
			r.Errorf("with a host that has room again: %+v\n%s", s, r.log.String())
		}
	})
}

// A pool on disks grows as far as they go.
func TestDevices(t *testing.T) {
	inBubble(t, func(r *rig) {
		data, metadata := r.world.AddDevice(r.T, "data", 80*units.MiB), r.world.AddDevice(r.T, "metadata", 4*units.MiB)
		pool, v := r.pool("p", func(o *thinpool.CreateOptions) {
			o.DataDevice, o.MetadataDevice, o.MetadataSize = data, metadata, 0
		})
		status, err := pool.Status(r.Context())
		r.check(err)
		r.start()
		r.fill(v, 0, status.Kernel.TotalData*9/10)
		r.pass(2 * time.Minute)
		r.conditions("p")
		r.fill(v, status.Kernel.TotalData*9/10, 1200)
		r.pass(2 * time.Minute)
		s := r.kernel("p")
		if s.TotalData > uint64(80*units.MiB/(64*units.KiB)) {
			r.Errorf("%d blocks are more than the device has", s.TotalData)
		}
		r.conditions("p", DataLow)
	})
}

func TestExtensionFails(t *testing.T) {
	inBubble(t, func(r *rig) {
		_, v := r.pool("p", nil)
		r.start()
		r.world.Kernel.SetFault(failLoads)
		r.fill(v, 0, 900)
		r.pass(20 * time.Second)
		r.conditions("p", DataLow, ExtendFailed)
		r.pass(5 * time.Minute)
		r.conditions("p", DataLow, ExtendFailed)
		if n := strings.Count(r.log.String(), "the pool was not extended"); n < 3 || n > 8 {
			r.Errorf("%d tries in five minutes\n%s", n, r.log.String())
		}
		r.world.Kernel.SetFault(nil)
		r.pass(90 * time.Second)
		r.conditions("p")
		if got := r.kernel("p").TotalData; got == 1024 {
			r.Error("it was not extended once that worked again")
		}
	})
}
