package daemon

import (
	"strings"
	"testing"
	"time"

	"thinctl/thinpool"
	"thinctl/units"
)

// Data is extended at the threshold, up to its maximum, where a condition begins.
func TestDataGrowsToItsMaximum(t *testing.T) {
	inBubble(t, func(h *harness) {
		_, v := h.pool("p", nil) // 1024 blocks
		h.config = quietConfig + "[extend]\ndata_at = 80\ndata_step = \"25%\"\ndata_maximum = \"100M\"\ncool_down = \"1m\"\n"
		h.start()
		h.fill(v, 0, 819)
		h.advance(20 * time.Second)
		if got := h.kernel("p").TotalData; got != 1024 {
			h.Errorf("below the threshold: got %d blocks, want 1024", got)
		}
		h.fill(v, 819, 820)
		h.advance(20 * time.Second)
		if got := h.kernel("p").TotalData; got != 1280 {
			h.Errorf("at the threshold: got %d blocks, want 1280\n%s", got, h.log.String())
		}
		h.conditions("p")
		h.fill(v, 820, 1100)
		h.advance(20 * time.Second)
		if got := h.kernel("p").TotalData; got != 1280 {
			h.Errorf("within the cool-down: got %d blocks, want 1280", got)
		}
		h.conditions("p")
		h.advance(time.Minute)
		if got := h.kernel("p").TotalData; got != 1600 {
			h.Errorf("after the cool-down: got %d blocks, want 1600", got)
		}
		h.fill(v, 1100, 1300)
		h.advance(2 * time.Minute)
		h.conditions("p", AtMaximum, DataLow)
		h.fill(v, 1300, 1600)
		h.advance(20 * time.Second)
		h.conditions("p", AtMaximum, DataFull)
		for _, text := range []string{"the pool was extended", "code=at-maximum", "code=data-full"} {
			if !strings.Contains(h.log.String(), text) {
				h.Errorf("log: want %q, got:\n%s", text, h.log.String())
			}
		}
		// Raise the maximum and reload the configuration.
		h.config = quietConfig + "[extend]\ndata_at = 80\ndata_step = \"25%\"\ndata_maximum = \"1G\"\n"
		h.daemon.Reload()
		h.advance(time.Second)
		if got := h.kernel("p").TotalData; got < 2000 {
			h.Errorf("after a larger maximum: got %d blocks, want at least 2000\n%s", got, h.log.String())
		}
		h.advance(time.Second)
		h.conditions("p")
	})
}

// A space that is nearly full does not wait for the cool-down.
func TestUrgent(t *testing.T) {
	inBubble(t, func(h *harness) {
		_, v := h.pool("p", nil)
		h.config = quietConfig + "[extend]\ndata_step = \"20%\"\ncool_down = \"1h\"\n"
		h.start()
		var written uint64
		for range 20 {
			h.fill(v, written, written+150)
			written += 150
			h.advance(15 * time.Second)
			if s := h.kernel("p"); s.FreeData() < 150 {
				h.Fatalf("got %d free blocks of %d, want at least 150", s.FreeData(), s.TotalData)
			}
		}
	})
}

// The low-water event is faster than the timer.
func TestEvent(t *testing.T) {
	inBubble(t, func(h *harness) {
		_, v := h.pool("p", func(o *thinpool.CreateOptions) { o.LowWater = 100 })
		h.config = "[serve]\nlisten = \"\"\ninterval = \"1h\"\n"
		h.start()
		h.advance(time.Second)
		h.fill(v, 0, 930)
		h.advance(time.Second)
		if got := h.kernel("p").TotalData; got == 1024 {
			h.Errorf("a second after the event: got %d blocks, want more\n%s", got, h.log.String())
		}
	})
}

func TestMetadataGrows(t *testing.T) {
	inBubble(t, func(h *harness) {
		pool, _ := h.pool("p", func(o *thinpool.CreateOptions) { o.MetadataSize = 2 * units.MiB })
		h.config = quietConfig +
			"[extend]\nmetadata_at = 10\nmetadata_step = \"50%\"\nmetadata_maximum = \"4M\"\ncool_down = \"0s\"\n"
		h.start()
		for i := range 300 {
			name := "s" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
			if _, err := pool.CreateVolume(h.Context(), name, thinpool.VolumeOptions{}); err != nil {
				h.Fatal(err)
			}
		}
		h.advance(time.Minute)
		s := h.kernel("p")
		if s.TotalMetadata <= 512 || s.TotalMetadata > 1024 {
			h.Errorf("got %d metadata blocks with %d used, want more than 512, at most 1024\n%s",
				s.TotalMetadata, s.UsedMetadata, h.log.String())
		}
	})
}

// A host without free space is a condition and changes the full policy. Both end when
// the host has free space again.
func TestHostRunsShort(t *testing.T) {
	inBubble(t, func(h *harness) {
		_, v := h.pool("p", nil)
		h.start()
		h.conditions("p")
		if h.kernel("p").ErrorIfNoSpace {
			h.Error("full policy with space on the host: got fail, want queue")
		}
		h.available(4 * units.GiB) // the reserve is 5G
		h.fill(v, 0, 900)
		h.advance(20 * time.Second)
		h.conditions("p", DataLow, HostLow)
		if s := h.kernel("p"); !s.ErrorIfNoSpace || s.TotalData != 1024 {
			h.Errorf("host without space: got %+v, want the full policy fail and 1024 blocks", s)
		}
		h.available(0)
		h.advance(20 * time.Second)
		h.conditions("p", DataLow, HostFull)
		h.available(50 * units.GiB)
		h.advance(20 * time.Second)
		h.conditions("p")
		if s := h.kernel("p"); s.ErrorIfNoSpace || s.TotalData == 1024 {
			h.Errorf("host with space again: got %+v, want the full policy queue and more blocks\n%s", s, h.log.String())
		}
	})
}

// A pool on disks grows up to the size of the disks.
func TestDevices(t *testing.T) {
	inBubble(t, func(h *harness) {
		data := h.fixture.AddDevice(h.T, "data", 80*units.MiB)
		metadata := h.fixture.AddDevice(h.T, "metadata", 4*units.MiB)
		pool, v := h.pool("p", func(o *thinpool.CreateOptions) {
			o.DataDevice, o.MetadataDevice, o.MetadataSize = data, metadata, 0
		})
		status, err := pool.Status(h.Context())
		h.check(err)
		h.start()
		h.fill(v, 0, status.Kernel.TotalData*9/10)
		h.advance(2 * time.Minute)
		h.conditions("p")
		h.fill(v, status.Kernel.TotalData*9/10, 1200)
		h.advance(2 * time.Minute)
		s := h.kernel("p")
		if s.TotalData > uint64(80*units.MiB/(64*units.KiB)) {
			h.Errorf("got %d blocks, want at most %d", s.TotalData, 80*units.MiB/(64*units.KiB))
		}
		h.conditions("p", DataLow)
	})
}

func TestExtensionFails(t *testing.T) {
	inBubble(t, func(h *harness) {
		_, v := h.pool("p", nil)
		h.start()
		h.fixture.Kernel.SetFault(failLoads)
		h.fill(v, 0, 900)
		h.advance(20 * time.Second)
		h.conditions("p", DataLow, ExtendFailed)
		h.advance(5 * time.Minute)
		h.conditions("p", DataLow, ExtendFailed)
		if n := strings.Count(h.log.String(), "the pool was not extended"); n < 3 || n > 8 {
			h.Errorf("got %d attempts in five minutes, want 3 to 8\n%s", n, h.log.String())
		}
		h.fixture.Kernel.SetFault(nil)
		h.advance(90 * time.Second)
		h.conditions("p")
		if got := h.kernel("p").TotalData; got == 1024 {
			h.Error("the pool was not extended after the fault had ended")
		}
	})
}
