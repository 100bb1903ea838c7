package config

import (
	"strings"
	"time"

	"thinctl/internal/names"
	"thinctl/internal/nearest"
)

// key is a setting, bound to the field that holds it.
type key struct {
	name string // with its table
	doc  string
	value
}

// variable returns the key's environment variable.
func (k key) variable() string {
	return "THINCTL_" + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

const (
	minute = time.Minute
	day    = 24 * time.Hour
)

// keys returns all keys outside [pools] and [containerd], in the order of the sample.
func (c *Config) keys() []key {
	all := []key{
		{"root", "The directory of the pools for the daemon. Commands use --root or THINCTL_ROOT.", absolutePath(&c.Root)},
		{"busy_timeout",
			"How long commands that remove, deactivate or destroy wait for a device that another process has open,\n" +
				"as blkid, lvm and multipathd do for a moment; \"0s\" for no wait. A mounted device is refused at once.",
			duration(&c.BusyTimeout, time.Millisecond, time.Hour, true)},
		{"serve.listen", "The address of /metrics, /healthz and /readyz: \"HOST:PORT\", \"unix:/PATH\", or \"\" for none.\n" +
			"A socket from systemd takes precedence.",
			address(&c.Serve.Listen)},
		{"serve.web_config", "A file with TLS and basic auth settings, in the format of all Prometheus exporters\n" +
			"(web configuration of exporter-toolkit).",
			optionalPath(&c.Serve.WebConfig)},
		{"serve.pprof", "Serve Go's profiles at /debug/pprof/.", boolean(&c.Serve.PProf)},
		{"serve.interval", "The time between two samples of a pool. Events of the kernel cause additional samples.",
			duration(&c.Serve.Interval, time.Second, time.Hour, false)},
		{"serve.volume_metrics",
			"The largest number of volumes in a pool for which metrics of single volumes are exported; 0 for never.",
			number(&c.Serve.VolumeMetrics, 0, 1_000_000)},
		{"serve.log_level", "The lowest level that is logged: debug, info, warn or error.", level(&c.Serve.LogLevel)},
		{"serve.log_format", "The format of the log: text or json.", choice(&c.Serve.LogFormat, "text", "json")},
	}
	for _, k := range poolKeys(&c.Pool) {
		k.name = globalName(k.name)
		all = append(all, k)
	}
	return all
}

// poolKeys returns the keys below [pools.NAME].
func poolKeys(p *Pool) []key {
	e := &p.Extend
	return []key{
		{"activate",
			"Activate pools when the daemon starts, and later if they are inactive without having been deactivated\n" +
				"by a user.",
			boolean(&p.Activate)},
		{"scan_every",
			"The time between two scans of a pool's metadata, for exclusive and shared bytes; \"0s\" for never.\n" +
				"A scan makes the kernel commit.",
			duration(&p.ScanEvery, minute, 30*day, true)},
		{"trim_every", "The time between two trims of mounted volumes; \"0s\" for never.",
			duration(&p.TrimEvery, minute, 366*day, true)},
		{"trim_rate", "The average number of bytes per second that a trim may discard; 0 for no limit.", size(&p.TrimRate)},
		{"extend.enabled", "Extend pools automatically.", boolean(&e.Enabled)},
		{"extend.data_at", "Extend data when this percentage is in use, or when only a size such as \"5G\" is free.",
			threshold(&e.DataAt)},
		{"extend.data_step",
			"The growth of an extension: \"20%\" of the size, or a size such as \"10G\".", step(&e.DataStep)},
		{"extend.data_maximum",
			"The largest size to which data is extended automatically; 0 for no limit.", size(&e.DataMaximum)},
		{"extend.metadata_at", "Like data_at, for metadata.", threshold(&e.MetadataAt)},
		{"extend.metadata_step", "Like data_step, for metadata.", step(&e.MetadataStep)},
		{"extend.metadata_maximum",
			"Like data_maximum, for metadata. The kernel uses at most 15.9G.", size(&e.MetadataMaximum)},
		{"extend.cool_down",
			"The shortest time between two extensions of one space. A space that is nearly full does not wait.",
			duration(&e.CoolDown, time.Second, day, true)},
		{"extend.switch_full_policy",
			"While the host has no space for growth, make writes to a full pool fail at once instead of waiting.",
			boolean(&e.SwitchFullPolicy)},
	}
}

// globalName returns the name outside [pools] of a key below [pools.NAME].
func globalName(name string) string {
	if strings.Contains(name, ".") {
		return name
	}
	return "serve." + name
}

// containerdKeys returns the keys below [containerd.NAME].
func containerdKeys(c *Containerd) []key {
	return []key{
		{"pool", "The pool that holds the snapshots. Required.",
			validName(&c.Pool, names.Pool, "the name of a pool; `thinctl pool list` shows them")},
		{"namespace",
			"The set of snapshots that this containerd sees; the table's name by default. Two containerds must not\n" +
				"have the same one, since each removes the snapshots that are not in its own database.",
			validName(&c.Namespace, names.Namespace, namespaceRule)},
		{"socket",
			"The snapshotter's socket: address in containerd's proxy_plugins. Only root can connect.", absolutePath(&c.Socket)},
		{"containerd",
			"The socket of containerd itself (`ctr --address`). Differences between snapshots, such as those of\n" +
				"`docker commit`, are written to its content store.",
			absolutePath(&c.Containerd)},
		{"filesystem", "The file system of snapshots without a parent: ext4 or xfs.", choice(&c.FileSystem, "ext4", "xfs")},
		{"size", "The size of snapshots without a parent; 0 for the pool's base size.", size(&c.Size)},
		{"imagefs",
			"The mount point of a file system that shows the pool's size and free space to the kubelet; \"\" for none.\n" +
				"containerd's proxy plugin exports it as root.",
			optionalPath(&c.ImageFS)},
	}
}

// suggestion returns the key that is nearest to an unknown one, "" if none is near.
func suggestion(unknown string) string {
	prefix, rest := "", unknown
	known := new(Config).keys()
	if table, below, ok := strings.Cut(unknown, "."); ok && (table == "pools" || table == "containerd") {
		name, own, ok := strings.Cut(below, ".")
		if !ok {
			return ""
		}
		prefix, rest, known = table+"."+name+".", own, poolKeys(new(Pool))
		if table == "containerd" {
			known = containerdKeys(new(Containerd))
		}
	}
	var all []string
	for _, k := range known {
		all = append(all, k.name)
	}
	if near := nearest.Of(rest, all); near != "" {
		return prefix + near
	}
	return ""
}
