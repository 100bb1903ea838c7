package alerts

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"thinctl/dm"
	"thinctl/loopback"
	"thinctl/metrics"
	"thinctl/thinpool"
	"thinctl/units"
)

const gib = units.Bytes(1 << 30)

// pools are invented: a healthy one of files, and one of devices in which everything is
// wrong, so that each metric and each alert has a series.
type pools struct{ began time.Time }

// Samples implements [metrics.Source].
func (p pools) Samples() []metrics.Sample {
	mapped := 3 * gib
	vault := metrics.Sample{
		Pool: "vault", At: time.Now(), Took: 3 * time.Millisecond,
		Status: thinpool.Status{
			Name: "vault", UUID: "5b1f", Dir: "/var/lib/thinctl/vault", Active: true,
			Record: thinpool.PoolRecord{Data: thinpool.Backing{Loop: true}, Block: 64 << 10, LowWater: 1 << 14,
				Reserve: thinpool.Reserve{Data: 10, Metadata: 10, Host: 10}},
			Kernel: dm.PoolStatus{TransactionID: 7},
			Data: thinpool.Space{Total: 100 * gib, Used: 40 * gib,
				File: &loopback.FileUsage{Apparent: 100 * gib, Allocated: 41 * gib}},
			Metadata: thinpool.Space{Total: gib, Used: gib / 10, File: &loopback.FileUsage{Apparent: gib, Allocated: gib / 5}},
			Host:     &loopback.Space{Total: 200 * gib, Available: 120 * gib},
			Volumes:  9, Virtual: 300 * gib,
		},
		Layers: 4, Containers: 2, Images: 1,
		Volumes:  []metrics.Volume{{Kind: metrics.KindVolume, Name: "base", ID: 1, Virtual: 10 * gib, Mapped: &mapped}},
		Limits:   map[metrics.Space]units.Bytes{metrics.Data: 150 * gib, metrics.Metadata: 4 * gib},
		Forecast: map[metrics.Space]time.Duration{metrics.Data: 30 * time.Hour},
		Scan: &metrics.Scan{At: p.began, Took: time.Second, Usage: thinpool.Usage{
			Total: 100 * gib, Used: 40 * gib, Exclusive: 30 * gib, Shared: 10 * gib,
			Volumes: []thinpool.VolumeUsage{{
				Thin: thinpool.Thin{ID: 1, Name: "base"}, Mapped: mapped, Exclusive: 2 * gib, Shared: gib}}}},
	}
	attic := vault
	attic.Pool, attic.Volumes = "attic", nil
	attic.Status.Name, attic.Status.UUID, attic.Status.Host = "attic", "77aa", nil
	attic.Status.Record.Data.Loop = false
	attic.Status.Data = thinpool.Space{Total: 10 * gib, Used: 10 * gib}
	attic.Status.Metadata = thinpool.Space{Total: gib, Used: gib}
	attic.Status.Kernel.Mode, attic.Status.Kernel.NeedsCheck, attic.Status.Kernel.HeldRoot = dm.ModeOutOfDataSpace, true, 12
	attic.Status.Tombstones = 2
	attic.Conditions = []string{"data-full", "metadata-full", "extend-failed", "leak"}
	attic.Forecast = map[metrics.Space]time.Duration{metrics.Data: 0, metrics.Metadata: time.Minute}
	return []metrics.Sample{vault, attic}
}

// serveExporter serves the product's metrics of those pools on loopback.
func serveExporter(t *testing.T) (address string) {
	t.Helper()
	m := metrics.New(pools{began: time.Now()}, metrics.Options{VolumeLimit: metrics.DefaultVolumeLimit, Version: "test"})
	for _, space := range []metrics.Space{metrics.Data, metrics.Metadata} {
		m.Extended("vault", space, gib, metrics.Done)
		m.Extended("attic", space, 0, metrics.Failed)
	}
	m.Event("vault")
	m.Operation("extend")(nil)
	m.Operation("extend")(errors.New("no"))
	exporter := httptest.NewServer(m.Handler())
	t.Cleanup(exporter.Close)
	return strings.TrimPrefix(exporter.URL, "http://")
}
