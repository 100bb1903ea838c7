package config

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"thinctl/units"
)

// Path is where the file is unless a caller says otherwise.
const Path = "/etc/thinctl/config.toml"

// Config is what holds, whatever it was taken from.
type Config struct {
	Root string // where the pools are
	// BusyTimeout is how long a removal waits for a device that is open; 0: not at all.
	BusyTimeout time.Duration
	Serve       Serve
	Pool        Pool // what holds for a pool without a table of its own

	path  string
	pools map[string]settings
	// containerds are the tables of that name.
	containerds map[string]settings
	origins     map[string]Origin
}

// Serve is what the daemon does for all pools.
type Serve struct {
	Listen        string // host:port, unix:/path, or "" for none
	WebConfig     string // exporter-toolkit's file: TLS, basic auth
	PProf         bool
	Interval      time.Duration
	VolumeMetrics int // volumes of a pool above which none is exported
	LogLevel      slog.Level
	LogFormat     string // text or json
}

// Pool is what the daemon does for one pool.
type Pool struct {
	Activate  bool
	ScanEvery time.Duration // 0: never, for it commits
	TrimEvery time.Duration // 0: never
	TrimRate  units.Bytes   // a second; 0: as fast as it goes
	Extend    Extend
}

// Extend is how a pool grows by itself.
type Extend struct {
	Enabled         bool
	DataAt          Threshold
	DataStep        Step
	DataMaximum     units.Bytes // 0: none
	MetadataAt      Threshold
	MetadataStep    Step
	MetadataMaximum units.Bytes // 0: none but the kernel's
	CoolDown        time.Duration
	// SwitchFullPolicy lets a full pool fail writes at once while its host has no
	// room that it could grow into.
	SwitchFullPolicy bool
}

// For returns what holds for the pool of that name.
func (c Config) For(pool string) Pool {
	if own, ok := c.pools[pool]; ok {
		return own.pool
	}
	return c.Pool
}

// Pools are the names that have a table of their own, sorted.
func (c Config) Pools() []string { return slices.Sorted(maps.Keys(c.pools)) }

// Path is the file that was read, "" where there was none.
func (c Config) Path() string { return c.path }

// settings are a Config's values, as keys set them.
type settings struct {
	root        string
	busyTimeout time.Duration
	serve       Serve
	pool        Pool
	// containerd is that of its table, and of nobody else.
	containerd Containerd
}

func defaults() settings {
	return settings{
		root:        "/var/lib/thinctl",
		busyTimeout: 5 * time.Second,
		serve: Serve{
			Listen: "127.0.0.1:9723", Interval: 15 * time.Second, VolumeMetrics: 100, LogLevel: slog.LevelInfo, LogFormat: "text",
		},
		pool: Pool{Activate: true, Extend: Extend{
			Enabled: true,
			DataAt:  Threshold{Percent: 80}, DataStep: Step{Percent: 20},
			MetadataAt: Threshold{Percent: 70}, MetadataStep: Step{Percent: 50},
			CoolDown: time.Minute, SwitchFullPolicy: true,
		}},
	}
}
