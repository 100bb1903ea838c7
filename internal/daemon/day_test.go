package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"thinctl/internal/config"
	"thinctl/internal/testkit/dmtest"
	"thinctl/internal/testkit/thinpooltest"
	"thinctl/thinpool"
	"thinctl/units"
)

// Two pools grow and shrink at random for a day, while the daemon is stopped, killed at
// any step and started again, and the power fails. No pool is extended past its maximum.
// While a daemon runs, no threshold is passed for longer than the interval plus the
// cool-down.
func TestADay(t *testing.T) {
	seeds := []uint64{1, 2}
	if text := os.Getenv("THINCTL_DAY_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			inBubble(t, func(h *harness) {
				(&day{harness: h, random: rand.New(rand.NewPCG(seed, 24))}).run()
			})
		})
	}
}

const (
	dayTick     = 5 * time.Second
	dayInterval = 15 * time.Second
	dayCoolDown = 45 * time.Second
)

const dayConfig = `[serve]
listen = ""
[extend]
data_at = 80
data_step = "15%"
data_maximum = "200M"
metadata_at = 30
metadata_step = "40%"
metadata_maximum = "6M"
cool_down = "45s"
[pools.other.extend]
data_at = "12M"
data_step = "8M"
data_maximum = "150M"
`

type day struct {
	*harness
	random *rand.Rand
	pools  []*dayPool
	up     bool
	short  bool // the host

	extended, kills, ends, cuts, refills int
	longest                              time.Duration
}

type dayPool struct {
	name    string
	volume  thinpool.Volume
	extend  config.Extend
	written uint64 // blocks from the start of the volume
	since   map[string]time.Time
	size    units.Bytes
}

func (d *day) run() {
	d.config = dayConfig
	settings, err := d.load()
	d.check(err)
	for _, name := range []string{"vault", "other"} {
		_, v := d.pool(name, func(o *thinpool.CreateOptions) { o.MetadataSize = 2 * units.MiB })
		d.pools = append(d.pools, &dayPool{name: name, volume: v, extend: settings.For(name).Extend, since: map[string]time.Time{}})
	}
	d.begin()
	begun := time.Now()
	for time.Since(begun) < 24*time.Hour {
		for _, p := range d.pools {
			d.change(p)
		}
		d.advance(dayTick)
		d.disturb()
		for _, p := range d.pools {
			d.verify(p)
		}
		if d.Failed() {
			return
		}
	}
	if !d.up {
		d.begin()
	}
	d.Logf("%d extensions, %d kills, %d stops, %d power cuts; a threshold was passed for %s at most",
		d.extended, d.kills, d.ends, d.cuts, d.longest)
	if d.extended < 4 || d.kills < 10 || d.ends < 5 || d.cuts < 2 || d.refills < 5 {
		d.Errorf("got %d extensions, %d kills, %d stops, %d power cuts, %d refills, want at least 4, 10, 5, 2, 5",
			d.extended, d.kills, d.ends, d.cuts, d.refills)
	}
	if violations := d.fixture.Kernel.Violations(); len(violations) > 0 {
		d.Error(violations)
	}
}

// begin starts a daemon, and activates the volumes as a user does.
func (d *day) begin() {
	d.start()
	d.up = true
	for _, p := range d.pools {
		clear(p.since)
		ctx := context.Background()
		activate := func(pool *thinpool.Pool) (err error) {
			p.volume, err = pool.ActivateVolume(ctx, "v")
			return err
		}
		d.check(thinpooltest.WithPool(ctx, d.fixture.Host(), d.fixture.Root, p.name, activate))
	}
}

// disturb sometimes stops, kills or starts the daemon, cuts the power, or fills or empties
// the host.
func (d *day) disturb() {
	switch n := d.random.IntN(1000); {
	case !d.up:
		if n < 100 {
			d.begin()
		}
	case n < 2:
		d.end()
		d.up = false
		d.ends++
	case n < 6:
		d.fixture.StopAt(1+d.random.IntN(60), thinpooltest.Phase(d.random.IntN(2)))
		d.advance(time.Duration(d.random.IntN(60)) * time.Second)
		d.stop()
		<-d.ended // the result of a killed process is lost
		d.daemon, d.up = nil, false
		d.fixture.Restart()
		d.kills++
	case n < 7:
		d.end()
		d.fixture.PowerOff(d.T)
		d.cuts++
		d.begin()
	case n < 12:
		d.short = !d.short
		d.available(map[bool]units.Bytes{true: units.GiB, false: 50 * units.GiB}[d.short])
		for _, p := range d.pools {
			clear(p.since)
		}
	}
}

// change writes or discards blocks at the end of the written ones. Power cuts may lose
// some of them: verify uses the kernel's counts.
func (d *day) change(p *dayPool) {
	if !d.up {
		return
	}
	switch n := d.random.IntN(100); {
	case n < 50:
		for range d.random.IntN(12) {
			err := d.fixture.Kernel.WriteStamp(p.volume.Dev, p.written, 1)
			if errors.Is(err, dmtest.ErrWouldBlock) {
				return // full, or suspended by a killed process
			}
			if err != nil {
				if p.written > 0 {
					return // full with the policy "fail"
				}
				d.Fatal(err)
			}
			p.written++
		}
	case n < 51 && p.written > 1500:
		kept := p.written / uint64(2+d.random.IntN(3))
		offset, length := units.Bytes(kept)*64*units.KiB, units.Bytes(p.written-kept)*64*units.KiB
		if err := d.fixture.Kernel.Discard(p.volume.Dev, offset, length); err == nil {
			p.written = kept
			d.refills++
		}
	}
}

// verify checks a pool's sizes and thresholds by the kernel's status.
func (d *day) verify(p *dayPool) {
	s := d.kernel(p.name)
	data, metadata := units.Bytes(s.TotalData)*64*units.KiB, units.Bytes(s.TotalMetadata)*4*units.KiB
	if data > p.extend.DataMaximum || metadata > p.extend.MetadataMaximum {
		d.Fatalf("%s: got %s data and %s metadata, want at most %s and %s\n%s",
			p.name, data, metadata, p.extend.DataMaximum, p.extend.MetadataMaximum, d.log.String())
	}
	if data > p.size && p.size != 0 {
		d.extended++
	}
	p.size = data
	usedData, usedMetadata := units.Bytes(s.UsedData)*64*units.KiB, units.Bytes(s.UsedMetadata)*4*units.KiB
	atMaximum := data >= p.extend.DataMaximum-64*units.KiB
	d.verifyThreshold(p, "data", p.extend.DataAt, usedData, data, atMaximum || d.short)
	atMaximum = metadata >= p.extend.MetadataMaximum
	d.verifyThreshold(p, "metadata", p.extend.MetadataAt, usedMetadata, metadata, atMaximum || d.short)
}

// verifyThreshold checks for how long a threshold has been passed, unless the space
// cannot be extended.
func (d *day) verifyThreshold(p *dayPool, space string, at config.Threshold, used, total units.Bytes, fixed bool) {
	if !at.Passed(used, total) || fixed || !d.up {
		delete(p.since, space)
		return
	}
	since, known := p.since[space]
	if !known {
		p.since[space] = time.Now()
		return
	}
	passed := time.Since(since)
	d.longest = max(d.longest, passed)
	if passed > dayInterval+dayCoolDown+dayTick {
		d.Fatalf("%s: the threshold of %s is passed for %s with %s of %s used\n%s",
			p.name, space, passed, used, total, d.log.String())
	}
}
