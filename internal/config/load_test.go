package config

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thinctl/fault"
	"thinctl/units"
)

func parse(t *testing.T, text string, from Sources) Config {
	t.Helper()
	c, err := Parse([]byte(text), "config.toml", from)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The sample has the defaults, and so has the sample with all lines uncommented.
func TestSample(t *testing.T) {
	want := defaults()
	for _, sample := range []string{"", Sample(), uncommented(Sample())} {
		c := parse(t, sample, Sources{})
		if c.Root != want.Root || c.BusyTimeout != want.BusyTimeout || c.Serve != want.Serve || c.Pool != want.Pool {
			t.Errorf("got %+v, want %+v, from\n%s", c, want, sample)
		}
	}
	c := parse(t, uncommented(Sample()), Sources{})
	for _, setting := range c.Settings("") {
		if setting.Origin.Line == 0 {
			t.Errorf("%s is missing in the sample", setting.Key)
		}
	}
}

// uncommented uncomments the keys of a sample, except those of pools and containerds.
func uncommented(sample string) string {
	sample, _, _ = strings.Cut(sample, "# A pool can have")
	var b strings.Builder
	for line := range strings.Lines(sample) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		b.WriteString(line)
	}
	return b.String()
}

func TestAllTypesOfValues(t *testing.T) {
	c := parse(t, `
root = "/srv/thin"
[serve]
listen = "unix:/run/thinctl/metrics.sock"
web_config = "/etc/thinctl/web.yml"
pprof = true
interval = "1m30s"
volume_metrics = 0
log_level = "WARN"
log_format = "json"
activate = false
scan_every = "6h"
trim_every = "24h"
trim_rate = "100M"
[extend]
enabled = true
data_at = "5G"
data_step = "10G"
data_maximum = 536870912000
metadata_at = 60
metadata_step = "25%"
metadata_maximum = "8G"
cool_down = "0s"
switch_full_policy = false
[pools.vault]
activate = true
trim_every = "1h"
[pools.vault.extend]
data_at = "90%"
`, Sources{})
	wantServe := Serve{
		"unix:/run/thinctl/metrics.sock", "/etc/thinctl/web.yml", true, 90 * time.Second, 0, slog.LevelWarn, "json",
	}
	wantPool := Pool{false, 6 * time.Hour, 24 * time.Hour, 100 * units.MiB, Extend{true,
		Threshold{Free: 5 * units.GiB}, Step{Size: 10 * units.GiB}, 500 * units.GiB,
		Threshold{Percent: 60}, Step{Percent: 25}, 8 * units.GiB, 0, false}}
	if c.Root != "/srv/thin" || c.Serve != wantServe || c.Pool != wantPool || c.For("other") != wantPool {
		t.Errorf("got %+v, want root /srv/thin, %+v, %+v", c, wantServe, wantPool)
	}
	wantPool.Activate, wantPool.TrimEvery, wantPool.Extend.DataAt = true, time.Hour, Threshold{Percent: 90}
	if got := c.For("vault"); got != wantPool {
		t.Errorf("pool vault: got %+v, want %+v", got, wantPool)
	}
	if names := c.Pools(); len(names) != 1 || names[0] != "vault" {
		t.Errorf("pools: got %v, want vault", names)
	}
}

// The precedence is: a pool's own table, flag, variable, file, default.
func TestOrigins(t *testing.T) {
	file := "[serve]\ninterval = \"20s\"\nlog_format = \"json\"\n[extend]\ndata_at = 70\n[pools.vault.extend]\ndata_at = 75\n"
	env := map[string]string{"THINCTL_SERVE_INTERVAL": "30s", "THINCTL_EXTEND_DATA_AT": "85", "THINCTL_SERVE_PPROF": "1"}
	c := parse(t, file, Sources{
		Getenv: func(name string) string { return env[name] },
		Flags:  map[string]Flag{"serve.interval": {"interval", "40s"}},
	})
	type row struct{ value, origin string }
	got := map[string]row{}
	for _, setting := range append(c.Settings("vault"), c.Settings("")...) {
		got[setting.Key] = row{setting.Value, setting.Origin.String()}
	}
	for key, want := range map[string]row{
		"serve.interval":             {`"40s"`, "--interval"},
		"serve.log_format":           {`"json"`, "config.toml:3"},
		"serve.pprof":                {"true", "THINCTL_SERVE_PPROF"},
		"extend.data_at":             {"85", "THINCTL_EXTEND_DATA_AT"},
		"extend.data_step":           {`"20%"`, "default"},
		"pools.vault.extend.data_at": {"75", "config.toml:7"},
		"serve.listen":               {`"127.0.0.1:9723"`, "default"},
	} {
		if got[key] != want {
			t.Errorf("%s: got %v, want %v", key, got[key], want)
		}
	}
	if at := c.For("vault").Extend.DataAt; at != (Threshold{Percent: 75}) {
		t.Errorf("data_at of pool vault: got %s, want 75%%", at)
	}
}

func TestFaults(t *testing.T) {
	for _, test := range []struct{ name, file, want string }{
		{"all at once", `root = "thin"
frob = 1
[serve]
listne = "x"
interval = 15
log_level = "loud"
pprof = "yes"
volume_metrics = -1
[extend]
data_at = 100
data_step = "lots"
data_maximum = "-5G"
cool_down = "48h"
[serving]
x = 1
`, `config.toml:1: root: "thin" is not an absolute path; write a path that begins with /
config.toml:2: frob: no such key; ` + "`thinctl config sample`" + ` shows all keys
config.toml:4: serve.listne: no such key; did you mean serve.listen?
config.toml:5: serve.interval: 15 is not a time in quotes; write a time from 1s to 1h, such as "15s"
config.toml:6: serve.log_level: "loud" is not known; write one of debug, info, warn, error
config.toml:7: serve.pprof: "yes" is not true or false; write true or false
config.toml:8: serve.volume_metrics: -1 is not a number in the range; write a number from 0 to 1000000
config.toml:10: extend.data_at: 100 percent is not from 1 to 99; write the percentage in use, 1 to 99, or the free size, such as "5G"
config.toml:11: extend.data_step: "lots" is not a size; write a percentage of the size, such as "20%", or a size such as "10G"
config.toml:12: extend.data_maximum: "-5G" is not a size; write a size such as "10G"
config.toml:13: extend.cool_down: 48h is too long; write a time from 1s to 24h, such as "15s", or "0s" for never
config.toml:14: serving: no such table; ` + "`thinctl config sample`" + ` shows all keys
config.toml:15: serving.x: no such key; ` + "`thinctl config sample`" + ` shows all keys`},
		{"contradictions", `[extend]
data_at = "50G"
data_step = "60G"
data_maximum = "40G"
metadata_maximum = "16G"

[pools.a.extend]
data_maximum = "100G"
[pools.b.extend]
metadata_maximum = "1G"
metadata_step = "2G"
`, `config.toml:4: extend.data_maximum: 50G can never be free below the maximum of 40G; choose a smaller free size, or raise the maximum
config.toml:4: extend.data_maximum: the step of 60G is larger than the maximum of 40G; make the step smaller, or raise the maximum
config.toml:5: extend.metadata_maximum: 16G is more metadata than the kernel uses; write at most 16646400K
config.toml:11: pools.b.extend.metadata_step: the step of 2G is larger than the maximum of 1G; make the step smaller, or raise the maximum`},
		{"pools", `[pools]
vault = 1
[pools."no/pool"]
[pools.x]
interval = "5s"
extned = 1
[pools.x.extend]
data_att = 3
[pools.x.other]
`, `config.toml:2: pools.vault: not a table; write [pools.vault]
config.toml:3: pools.no/pool: not a valid name of a pool; ` + "`thinctl pool list`" + ` shows the pools
config.toml:5: pools.x.interval: no such key; ` + "`thinctl config sample`" + ` shows all keys
config.toml:6: pools.x.extned: no such key; ` + "`thinctl config sample`" + ` shows all keys
config.toml:8: pools.x.extend.data_att: no such key; did you mean pools.x.extend.data_at?
config.toml:9: pools.x.other: no such table; ` + "`thinctl config sample`" + ` shows all keys`},
		{"containerds", `[serve]
listen = "unix:/run/m.sock"
[containerd]
x = 1
[containerd."a/b"]
pool = "vault"
[containerd.none]
[containerd.odd]
pool = "no/pool"
namespace = ".x"
socket = "run/s"
filesystem = "btrfs"
size = "lots"
scoket = "/x"
[containerd.odd.more]
[containerd.long]
pool = "vault"
socket = "/` + strings.Repeat("x", 100) + `"
[containerd.small]
pool = "vault"
filesystem = "xfs"
size = "299M"
[containerd.twice]
pool = "vault"
namespace = "small"
socket = "/run/thinctl/../thinctl/small.sock"
[containerd.web]
pool = "vault"
socket = "/run/m.sock"
`, `config.toml:4: containerd.x: not a table; write [containerd.NAME]
config.toml:5: containerd.a/b: not a valid name; use letters, digits and . _ -, a letter or digit first, at most 64
config.toml:7: containerd.none: no pool is set; write pool = "NAME" in the table
config.toml:9: containerd.odd.pool: "no/pool" is not a valid name; write the name of a pool; ` + "`thinctl pool list`" + ` shows them
config.toml:10: containerd.odd.namespace: ".x" is not a valid name; write letters, digits and . _ -, a letter or digit first, at most 64
config.toml:11: containerd.odd.socket: "run/s" is not an absolute path; write a path that begins with /
config.toml:12: containerd.odd.filesystem: "btrfs" is not known; write one of ext4, xfs
config.toml:13: containerd.odd.size: "lots" is not a size; write a size such as "10G"
config.toml:14: containerd.odd.scoket: no such key; did you mean containerd.odd.socket?
config.toml:15: containerd.odd.more: no such table; ` + "`thinctl config sample`" + ` shows all keys
config.toml:18: containerd.long.socket: the path has 101 bytes, at most 100 are allowed; choose a shorter path
config.toml:22: containerd.small.size: 299M is too small for xfs; write at least 300M, or 0 for the pool's base size
config.toml:25: containerd.twice.namespace: containerd.small uses the namespace small of pool vault, too; choose another namespace for one of them: each containerd removes the snapshots of the other
config.toml:26: containerd.twice.socket: containerd.small uses the socket /run/thinctl/small.sock, too; choose another socket for one of them
config.toml:29: containerd.web.socket: serve.listen uses the socket /run/m.sock, too; choose another socket for one of them`},
		{"an imagefs that hides a directory", `root = "/srv/pools"
[containerd.a]
pool = "vault"
imagefs = "/run/fs"
[containerd.b]
pool = "vault"
imagefs = "/run/fs/"
[containerd.c]
pool = "vault"
imagefs = "/srv/pools/vault"
[containerd.d]
pool = "vault"
imagefs = "/srv"
[containerd.e]
pool = "vault"
imagefs = "run/fs"
`, `config.toml:7: containerd.b.imagefs: containerd.a uses the directory /run/fs, too; choose another directory for one of them
config.toml:10: containerd.c.imagefs: a mount at /srv/pools/vault would hide the pools; choose a directory of its own, such as /run/thinctl/c.fs
config.toml:13: containerd.d.imagefs: a mount at /srv would hide the pools; choose a directory of its own, such as /run/thinctl/d.fs
config.toml:16: containerd.e.imagefs: "run/fs" is not an absolute path; write a path that begins with /`},
		{"a list of containerds", "[[containerd]]\npool = \"vault\"\n", `config.toml:1: containerd: not a table; write [containerd.NAME]`},
		{"listening", "[serve]\nlisten = \"localhost\"\n", `config.toml:2: serve.listen: "localhost" is not host:port; ` + listenRemedy},
		{"port", "[serve]\nlisten = \":70000\"\n", `config.toml:2: serve.listen: "70000" is not a port from 1 to 65535; ` + listenRemedy},
		{"socket", "[serve]\nlisten = \"unix:run/x\"\n", `config.toml:2: serve.listen: "run/x" is not an absolute path of at most 107 bytes; ` + listenRemedy},
		{"TLS without an address", "[serve]\nlisten = \"\"\nweb_config = \"/etc/w\"\n", `config.toml:3: serve.web_config: without effect, since serve.listen is empty; set serve.listen, or remove this key`},
		{"a list of tables", "[[serve]]\nlisten = \"\"\n", `config.toml:1: serve: no such key; ` + "`thinctl config sample`" + ` shows all keys`},
		{"not TOML", "root = \"/x\"\n[serve\n", `config.toml:2: not valid TOML: expected '.' or ']' to end table name, but got '\n' instead; see https://toml.io`},
		{"a value", "root = \"/x\"\n\nx = \n", `config.toml:3: not valid TOML: expected value but found '\n' instead; see https://toml.io`},
		{"a string", "root = \"/x\nx = 1\n", `config.toml:1: not valid TOML: strings cannot contain newlines; see https://toml.io`},
		{"twice", "root = \"/x\"\nroot = \"/y\"\n", `config.toml:2: not valid TOML: Key 'root' has already been defined.; see https://toml.io`},
	} {
		_, err := Parse([]byte(test.file), "config.toml", Sources{})
		if fault.KindOf(err) != fault.Invalid || err.Error() != test.want {
			t.Errorf("%s: got\n%v\nwant\n%s", test.name, err, test.want)
		}
	}
}

// The defaults of a containerd depend on its table's name. Settings lists its keys, with
// those of one pool only if asked for.
func TestContainerds(t *testing.T) {
	c := parse(t, `[containerd.k8s]
pool = "vault"
[containerd.docker]
pool = "slow"
namespace = "moby"
socket = "/run/docker-snapshots.sock"
containerd = "/run/docker/containerd/containerd.sock"
filesystem = "xfs"
size = "20G"
imagefs = "/run/thinctl/docker.fs"
`, Sources{})
	want := []Containerd{
		{
			Name: "docker", Pool: "slow", Namespace: "moby", Socket: "/run/docker-snapshots.sock",
			Containerd: "/run/docker/containerd/containerd.sock", FileSystem: "xfs", Size: 20 * units.GiB,
			ImageFS: "/run/thinctl/docker.fs",
		},
		{
			Name: "k8s", Pool: "vault", Namespace: "k8s", Socket: "/run/thinctl/k8s.sock",
			Containerd: "/run/containerd/containerd.sock", FileSystem: "ext4",
		},
	}
	if got := c.Containerds(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	shown := func(pool string) (lines []string) {
		for _, one := range c.Settings(pool) {
			if strings.HasPrefix(one.Key, "containerd.") {
				lines = append(lines, one.Key+" "+one.Value+" "+one.Origin.String())
			}
		}
		return lines
	}
	const docker, k8s = `containerd.docker.namespace "moby" config.toml:5`, `containerd.k8s.namespace "k8s" default`
	if got := shown(""); len(got) != 14 || got[1] != docker || got[8] != k8s {
		t.Errorf("all settings: got %q, want 14 with %q and %q", got, docker, k8s)
	}
	if got := shown("vault"); len(got) != 7 || got[0] != `containerd.k8s.pool "vault" config.toml:2` {
		t.Errorf("settings of pool vault: got %q, want those of containerd.k8s", got)
	}
	_, sample, _ := strings.Cut(Sample(), "docs/containerd.md.\n")
	if got := parse(t, uncommented(sample), Sources{}).Containerds(); len(got) != 1 || got[0] != want[1] {
		t.Errorf("sample: got %+v, want %+v", got, want[1])
	}
}

func TestFaultsOutsideTheFile(t *testing.T) {
	env := map[string]string{"THINCTL_SERVE_LISTEN": "nowhere", "THINCTL_EXTEND_DATA_STEP": "20%"}
	_, err := Parse(nil, "", Sources{
		Getenv: func(name string) string { return env[name] },
		Flags:  map[string]Flag{"serve.interval": {"interval", "soon"}},
	})
	want := `THINCTL_SERVE_LISTEN: serve.listen: "nowhere" is not host:port; ` + listenRemedy + `
--interval: serve.interval: "soon" is not a time; write a time from 1s to 1h, such as "15s"`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	if _, err := Load(Sources{Path: path}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file that was named: got %v, want %v", err, os.ErrNotExist)
	}
	if err := os.WriteFile(path, []byte("[serve]\nlisten = 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Sources{Path: path}); err == nil || !strings.HasPrefix(err.Error(), path+":2: serve.listen: ") {
		t.Errorf("got %v, want an error at %s:2", err, path)
	}
}

// Parse returns faults or a configuration for any file, and never panics.
func FuzzParse(f *testing.F) {
	f.Add(Sample())
	f.Add("[pools.x.extend]\ndata_at=\"5G\"\n")
	f.Add("[containerd.x]\npool=\"v\"\n[containerd]\ny.z.w = 1\n")
	f.Add("pools = 1\n")
	f.Add("[[pools]]\nx=1\n[pools.y]\n")
	f.Add("pools.a.b.c = 1\n\"\" = 2\n")
	f.Fuzz(func(t *testing.T, file string) {
		c, err := Parse([]byte(file), "f", Sources{})
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatal(err)
			}
			return
		}
		c.Settings("")
	})
}
