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

// A day of pools that grow and shrink at random, while the daemon is ended, killed
// at any step and started again, and the power fails: none is ever extended past
// its maximum, and no threshold stands for longer than the interval and the
// cool-down while a daemon is there that could do something about it.
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
			inBubble(t, func(r *rig) { (&day{rig: r, random: rand.New(rand.NewPCG(seed, 24))}).run() })
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
	*rig
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
	written uint64 // blocks from the start on
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
		d.pass(dayTick)
		d.upset()
		for _, p := range d.pools {
			d.judge(p)
		}
		if d.Failed() {
			return
		}
	}
	if !d.up {
		d.begin()
	}
	d.Logf("%d extensions, %d kills, %d ends, %d power cuts; a threshold stood for %s at most", d.extended, d.kills, d.ends, d.cuts, d.longest)
	if d.extended < 4 || d.kills < 10 || d.ends < 5 || d.cuts < 2 || d.refills < 5 {
		d.Errorf("a dull day: %d extensions, %d kills, %d ends, %d power cuts, %d refills", d.extended, d.kills, d.ends, d.cuts, d.refills)
	}
	if violations := d.world.Kernel.Violations(); len(violations) > 0 {
		d.Error(violations)
	}
}

// begin starts a daemon, and activates the volumes as their users would.
func (d *day) begin() {
	d.start()
	d.up = true
	for _, p := range d.pools {
		clear(p.since)
		err := thinpooltest.WithPool(context.Background(), d.world.Host(), d.world.Root, p.name, func(pool *thinpool.Pool) (err error) {
			p.volume, err = pool.ActivateVolume(context.Background(), "v")
			return err
		})
		d.check(err)
	}
}

// upset ends or kills the daemon, cuts the power, fills the host, or mends it all.
func (d *day) upset() {
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
		d.world.StopAt(1+d.random.IntN(60), thinpooltest.Phase(d.random.IntN(2)))
		d.pass(time.Duration(d.random.IntN(60)) * time.Second)
		d.stop()
		<-d.ended // whatever a process says that is dead
		d.daemon, d.up = nil, false
		d.world.Restart()
		d.kills++
	case n < 7:
		d.end()
		d.world.PowerOff(d.T)
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

// change writes or discards at the end of what was written. What is lost of it in
// a power cut does not matter: blocks are counted by the kernel.
func (d *day) change(p *dayPool) {
	if !d.up {
		return // its users wait for it
	}
	switch n := d.random.IntN(100); {
	case n < 50:
		for range d.random.IntN(12) {
			err := d.world.Kernel.WriteStamp(p.volume.Dev, p.written, 1)
			if errors.Is(err, dmtest.ErrWouldBlock) {
				return // full, or suspended by who was killed
			}
			if err != nil {
				if p.written > 0 {
					return // full, and writes fail at once
				}
				d.Fatal(err)
			}
			p.written++
		}
	case n < 51 && p.written > 1500:
		kept := p.written / uint64(2+d.random.IntN(3))
		err := d.world.Kernel.Discard(p.volume.Dev, units.Bytes(kept)*64*units.KiB, units.Bytes(p.written-kept)*64*units.KiB)
		if err == nil {
			p.written = kept
			d.refills++
		}
	}
}

// judge looks at a pool from outside.
func (d *day) judge(p *dayPool) {
	s := d.kernel(p.name)
	data, metadata := units.Bytes(s.TotalData)*64*units.KiB, units.Bytes(s.TotalMetadata)*4*units.KiB
	if data > p.extend.DataMaximum || metadata > p.extend.MetadataMaximum {
		d.Fatalf("%s has %s data and %s metadata: beyond the maximum\n%s", p.name, data, metadata, d.log.String())
	}
	if data > p.size && p.size != 0 {
		d.extended++
	}
	p.size = data
	d.stands(p, "data", p.extend.DataAt, units.Bytes(s.UsedData)*64*units.KiB, data, data >= p.extend.DataMaximum-64*units.KiB || d.short)
	d.stands(p, "metadata", p.extend.MetadataAt, units.Bytes(s.UsedMetadata)*4*units.KiB, metadata, metadata >= p.extend.MetadataMaximum || d.short)
}

func (d *day) stands(p *dayPool, space string, at config.Threshold, used, total units.Bytes, excused bool) {
	if !at.Passed(used, total) || excused || !d.up {
		delete(p.since, space)
		return
	}
	since, known := p.since[space]
	if !known {
		p.since[space] = time.Now()
		return
	}
	stood := time.Since(since)
	d.longest = max(d.longest, stood)
	if stood > dayInterval+dayCoolDown+dayTick {
		d.Fatalf("%s: the threshold of %s stands for %s with %s of %s used\n%s", p.name, space, stood, used, total, d.log.String())
	}
}
