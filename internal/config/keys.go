package config

import (
	"log/slog"
	"strings"
	"time"

	"thinctl/units"
)

// key is one thing that can be set.
type key struct {
	name string // with its table
	doc  string
	value
	// own is the key's name below [pools.NAME], "" where a pool cannot have its own.
	own string
}

// variable is the key's name in the environment.
func (k key) variable() string {
	return "THINCTL_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

const (
	minute = time.Minute
	day    = 24 * time.Hour
)

// keys are all that can be set, in the order of the sample.
func keys() []key {
	return []key{
		{"root", "Where the pools are.",
			folder(false, func(s *settings) *string { return &s.root }), ""},
		{"busy_timeout", "How long removing, deactivating and destroying wait for a device that another process has open, as blkid, lvm and\nmultipathd do for a moment; \"0s\" for not at all. A mounted device is refused at once.",
			duration(time.Millisecond, time.Hour, true, func(s *settings) *time.Duration { return &s.busyTimeout }), ""},
		{"serve.listen", "Where /metrics, /healthz and /readyz are served: \"HOST:PORT\", \"unix:/PATH\", or \"\" for nowhere.\nA socket that systemd hands over goes before it.",
			address(func(s *settings) *string { return &s.serve.Listen }), ""},
		{"serve.web_config", "A file with TLS and basic auth, as all Prometheus exporters take it (web configuration of exporter-toolkit).",
			folder(true, func(s *settings) *string { return &s.serve.WebConfig }), ""},
		{"serve.pprof", "Serve Go's profiles at /debug/pprof/.",
			boolean(func(s *settings) *bool { return &s.serve.PProf }), ""},
		{"serve.interval", "How often each pool is looked at, beside the kernel's events.",
			duration(time.Second, time.Hour, false, func(s *settings) *time.Duration { return &s.serve.Interval }), ""},
		{"serve.volume_metrics", "A pool with more volumes than this exports no metrics of single ones; 0 for never.",
			number(0, 1_000_000, func(s *settings) *int { return &s.serve.VolumeMetrics }), ""},
		{"serve.log_level", "From which level on to log: debug, info, warn or error.",
			level(func(s *settings) *slog.Level { return &s.serve.LogLevel }), ""},
		{"serve.log_format", "text or json.",
			choice([]string{"text", "json"}, func(s *settings) *string { return &s.serve.LogFormat }), ""},
		{"serve.activate", "Activate pools at start, and when they went without having been deactivated by hand.",
			boolean(func(s *settings) *bool { return &s.pool.Activate }), "activate"},
		{"serve.scan_every", "How often a pool's metadata is read for exclusive and shared bytes; \"0s\" for never. A scan makes the kernel commit.",
			duration(minute, 30*day, true, func(s *settings) *time.Duration { return &s.pool.ScanEvery }), "scan_every"},
		{"serve.trim_every", "How often mounted volumes are trimmed; \"0s\" for never.",
			duration(minute, 366*day, true, func(s *settings) *time.Duration { return &s.pool.TrimEvery }), "trim_every"},
		{"serve.trim_rate", "Bytes a second that trimming may give back, on average; 0 for as fast as it goes.",
			size(func(s *settings) *units.Bytes { return &s.pool.TrimRate }), "trim_rate"},
		{"extend.enabled", "Let pools grow by themselves.",
			boolean(func(s *settings) *bool { return &s.pool.Extend.Enabled }), "extend.enabled"},
		{"extend.data_at", "Data grows from so many percent in use on, or when no more than a size such as \"5G\" is free.",
			threshold(func(s *settings) *Threshold { return &s.pool.Extend.DataAt }), "extend.data_at"},
		{"extend.data_step", "By how much: \"20%\" of the size, or a size such as \"10G\".",
			step(func(s *settings) *Step { return &s.pool.Extend.DataStep }), "extend.data_step"},
		{"extend.data_maximum", "The size that data never grows beyond by itself; 0 for none.",
			size(func(s *settings) *units.Bytes { return &s.pool.Extend.DataMaximum }), "extend.data_maximum"},
		{"extend.metadata_at", "As data_at, of the metadata.",
			threshold(func(s *settings) *Threshold { return &s.pool.Extend.MetadataAt }), "extend.metadata_at"},
		{"extend.metadata_step", "As data_step, of the metadata.",
			step(func(s *settings) *Step { return &s.pool.Extend.MetadataStep }), "extend.metadata_step"},
		{"extend.metadata_maximum", "As data_maximum, of the metadata; the kernel takes 15.9G.",
			size(func(s *settings) *units.Bytes { return &s.pool.Extend.MetadataMaximum }), "extend.metadata_maximum"},
		{"extend.cool_down", "The least time between two extensions of one space. One that is nearly full does not wait.",
			duration(time.Second, day, true, func(s *settings) *time.Duration { return &s.pool.Extend.CoolDown }), "extend.cool_down"},
		{"extend.switch_full_policy", "While the host has no room for growth, let a full pool fail writes at once instead of queueing them.",
			boolean(func(s *settings) *bool { return &s.pool.Extend.SwitchFullPolicy }), "extend.switch_full_policy"},
	}
}
