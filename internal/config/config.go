package config

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"thinctl/units"
)

// Path is the default path of the file.
const Path = "/etc/thinctl/config.toml"

// Config holds the settings from all sources.
type Config struct {
	Root string // the directory of the pools
	// BusyTimeout is the time that removals wait for an open device; 0 for no wait.
	BusyTimeout time.Duration
	Serve       Serve
	Pool        Pool // for pools without a table of their own

	path        string
	pools       map[string]Pool
	containerds map[string]Containerd
	origins     map[string]Origin // by key
}

// Serve holds the settings of the daemon as a whole.
type Serve struct {
	Listen        string // host:port, unix:/path, or "" for none
	WebConfig     string // the file of exporter-toolkit: TLS, basic auth
	PProf         bool
	Interval      time.Duration
	VolumeMetrics int // the largest number of volumes of a pool that are exported one by one
	LogLevel      slog.Level
	LogFormat     string // text or json
}

// Pool holds the daemon's settings for a pool.
type Pool struct {
	Activate  bool
	ScanEvery time.Duration // 0 for never, since a scan makes the kernel commit
	TrimEvery time.Duration // 0 for never
	TrimRate  units.Bytes   // per second; 0 for no limit
	Extend    Extend
}

// Extend holds the settings of automatic extension.
type Extend struct {
	Enabled         bool
	DataAt          Threshold
	DataStep        Step
	DataMaximum     units.Bytes // 0 for none
	MetadataAt      Threshold
	MetadataStep    Step
	MetadataMaximum units.Bytes // 0 for the kernel's
	CoolDown        time.Duration
	// SwitchFullPolicy makes writes to a full pool fail at once while its host has no
	// space for growth.
	SwitchFullPolicy bool
}

// For returns the settings of a pool.
func (c Config) For(pool string) Pool {
	if own, ok := c.pools[pool]; ok {
		return own
	}
	return c.Pool
}

// Pools returns the names of the pools with a table of their own, sorted.
func (c Config) Pools() []string { return slices.Sorted(maps.Keys(c.pools)) }

// Path returns the path of the file that was read, "" if there was none.
func (c Config) Path() string { return c.path }

func defaults() Config {
	return Config{
		Root:        "/var/lib/thinctl",
		BusyTimeout: 5 * time.Second,
		Serve: Serve{
			Listen: "127.0.0.1:9723", Interval: 15 * time.Second, VolumeMetrics: 100,
			LogLevel: slog.LevelInfo, LogFormat: "text",
		},
		Pool: Pool{Activate: true, Extend: Extend{
			Enabled: true,
			DataAt:  Threshold{Percent: 80}, DataStep: Step{Percent: 20},
			MetadataAt: Threshold{Percent: 70}, MetadataStep: Step{Percent: 50},
			CoolDown: time.Minute, SwitchFullPolicy: true,
		}},
	}
}
