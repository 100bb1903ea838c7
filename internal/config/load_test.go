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

// The sample is the defaults, and so it is with every line of it in force.
func TestSample(t *testing.T) {
	want := defaults()
	for _, sample := range []string{"", Sample(), uncommented(Sample())} {
		c := parse(t, sample, Sources{})
		if c.Root != want.root || c.Serve != want.serve || c.Pool != want.pool {
			t.Errorf("%+v, want %+v, of\n%s", c, want, sample)
		}
	}
	c := parse(t, uncommented(Sample()), Sources{})
	for _, setting := range c.Settings("") {
		if setting.Origin.Line == 0 {
			t.Errorf("%s: the sample does not have it", setting.Key)
		}
	}
}

// uncommented puts the keys of a sample in force, but not the pool's.
func uncommented(sample string) string {
	sample, _, _ = strings.Cut(sample, "# A pool may have")
	var b strings.Builder
	for line := range strings.Lines(sample) {
		if strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "# ") {
			line = line[1:]
		}
		b.WriteString(line)
	}
	return b.String()
}

func TestEveryKindOfValue(t *testing.T) {
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
	wantServe := Serve{"unix:/run/thinctl/metrics.sock", "/etc/thinctl/web.yml", true, 90 * time.Second, 0, slog.LevelWarn, "json"}
	wantPool := Pool{false, 6 * time.Hour, 24 * time.Hour, 100 * units.MiB, Extend{true,
		Threshold{Free: 5 * units.GiB}, Step{Size: 10 * units.GiB}, 500 * units.GiB,
		Threshold{Percent: 60}, Step{Percent: 25}, 8 * units.GiB, 0, false}}
	if c.Root != "/srv/thin" || c.Serve != wantServe || c.Pool != wantPool || c.For("other") != wantPool {
		t.Errorf("%+v", c)
	}
	wantPool.Activate, wantPool.TrimEvery, wantPool.Extend.DataAt = true, time.Hour, Threshold{Percent: 90}
	if got := c.For("vault"); got != wantPool {
		t.Errorf("vault has %+v, want %+v", got, wantPool)
	}
	if names := c.Pools(); len(names) != 1 || names[0] != "vault" {
		t.Errorf("pools %v", names)
	}
}

// A flag goes before a variable, a variable before the file, the file before the
// default; a pool's own before all.
func TestOrigins(t *testing.T) {
	file := "[serve]\ninterval = \"20s\"\nlog_format = \"json\"\n[extend]\ndata_at = 70\n[pools.vault.extend]\ndata_at = 75\n"
	env := map[string]string{"THINCTL_SERVE_INTERVAL": "30s", "THINCTL_EXTEND_DATA_AT": "85", "THINCTL_SERVE_PPROF": "1"}
	c := parse(t, file, Sources{Getenv: func(name string) string { return env[name] }, Flags: map[string]Flag{"serve.interval": {"interval", "40s"}}})
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
			t.Errorf("%s: %v, want %v", key, got[key], want)
		}
	}
	if at := c.For("vault").Extend.DataAt; at != (Threshold{Percent: 75}) {
		t.Errorf("vault: %s", at)
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
config.toml:2: frob: no such key; ` + "`thinctl config sample`" + ` has all of them
config.toml:4: serve.listne: no such key; did you mean serve.listen?
config.toml:5: serve.interval: 15 is not a time in quotes; write a time from 1s to 1h, such as "15s"
config.toml:6: serve.log_level: "loud" is not known; write one of debug, info, warn, error
config.toml:7: serve.pprof: "yes" is not true or false; write true or false
config.toml:8: serve.volume_metrics: -1 is not such a number; write a number from 0 to 1000000
config.toml:10: extend.data_at: 100 percent in use is not from 1 to 99; write the percent in use, 1 to 99, or what has to be free, such as "5G"
config.toml:11: extend.data_step: "lots" is not a size; write percent of the size, such as "20%", or a size such as "10G"
config.toml:12: extend.data_maximum: "-5G" is not a size; write a size such as "10G"
config.toml:13: extend.cool_down: 48h is too long; write a time from 1s to 24h, such as "15s", or "0s" for never
config.toml:14: serving: no such table; ` + "`thinctl config sample`" + ` has all of them
config.toml:15: serving.x: no such key; ` + "`thinctl config sample`" + ` has all of them`},
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
`, `config.toml:4: extend.data_maximum: 50G can never be free below the maximum of 40G; ask for less to be free, or raise the maximum
config.toml:4: extend.data_maximum: a step of 60G is beyond the maximum of 40G; make the step smaller, or raise the maximum
config.toml:5: extend.metadata_maximum: 16G is more metadata than the kernel uses; write at most 16646400K
config.toml:11: pools.b.extend.metadata_step: a step of 2G is beyond the maximum of 1G; make the step smaller, or raise the maximum`},
		{"pools", `[pools]
vault = 1
[pools."no/pool"]
[pools.x]
interval = "5s"
extned = 1
[pools.x.extend]
data_att = 3
[pools.x.other]
`, `config.toml:2: pools.vault: it is no table; write [pools.vault]
config.toml:3: pools.no/pool: no pool can have that name; ` + "`thinctl pool list`" + ` shows the pools
config.toml:5: pools.x.interval: no such key; ` + "`thinctl config sample`" + ` has all of them
config.toml:6: pools.x.extned: no such key; ` + "`thinctl config sample`" + ` has all of them
config.toml:8: pools.x.extend.data_att: no such key; did you mean pools.x.extend.data_at?
config.toml:9: pools.x.other: no such table; ` + "`thinctl config sample`" + ` has all of them`},
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
`, `config.toml:4: containerd.x: it is no table; write [containerd.NAME]
config.toml:5: containerd.a/b: it cannot have that name; use letters, digits and . _ -, a letter or digit first, at most 64
config.toml:7: containerd.none: it has no pool; write pool = "NAME" in it
config.toml:9: containerd.odd.pool: "no/pool" is not one; write a pool's name; ` + "`thinctl pool list`" + ` shows the pools
config.toml:10: containerd.odd.namespace: ".x" is not one; write letters, digits and . _ -, a letter or digit first, at most 64
config.toml:11: containerd.odd.socket: "run/s" is not an absolute path; write a path that begins with /
config.toml:12: containerd.odd.filesystem: "btrfs" is not known; write one of ext4, xfs
config.toml:13: containerd.odd.size: "lots" is not a size; write a size such as "10G"
config.toml:14: containerd.odd.scoket: no such key; did you mean containerd.odd.socket?
config.toml:15: containerd.odd.more: no such table; ` + "`thinctl config sample`" + ` has all of them
config.toml:18: containerd.long.socket: a socket's path has at most 100 bytes here, and this has 101; choose a shorter one
config.toml:22: containerd.small.size: 299M is too small for xfs; write at least 300M, or 0 for the pool's base size
config.toml:25: containerd.twice.namespace: containerd.small has the namespace small of pool vault too; give each its own: a containerd removes what it does not know
config.toml:26: containerd.twice.socket: containerd.small has the socket /run/thinctl/small.sock too; give each its own
config.toml:29: containerd.web.socket: serve.listen has the socket /run/m.sock too; give each its own`},
		{"where an imagefs would hide something", `root = "/srv/pools"
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
`, `config.toml:7: containerd.b.imagefs: containerd.a has the directory /run/fs too; give each its own
config.toml:10: containerd.c.imagefs: /srv/pools/vault would hide the pools; choose a directory of its own, such as /run/thinctl/c.fs
config.toml:13: containerd.d.imagefs: /srv would hide the pools; choose a directory of its own, such as /run/thinctl/d.fs
config.toml:16: containerd.e.imagefs: "run/fs" is not an absolute path; write a path that begins with /`},
		{"a list of containerds", "[[containerd]]\npool = \"vault\"\n", `config.toml:1: containerd: it is no table; write [containerd.NAME]`},
		{"listening", "[serve]\nlisten = \"localhost\"\n", `config.toml:2: serve.listen: "localhost" is not host:port; ` + listenRemedy},
		{"port", "[serve]\nlisten = \":70000\"\n", `config.toml:2: serve.listen: "70000" is not a port from 1 to 65535; ` + listenRemedy},
		{"socket", "[serve]\nlisten = \"unix:run/x\"\n", `config.toml:2: serve.listen: "run/x" is not an absolute path of at most 107 bytes; ` + listenRemedy},
		{"TLS of nothing", "[serve]\nlisten = \"\"\nweb_config = \"/etc/w\"\n", `config.toml:3: serve.web_config: nothing is served: serve.listen is empty; set serve.listen, or leave this out`},
		{"a list of tables", "[[serve]]\nlisten = \"\"\n", `config.toml:1: serve: no such key; ` + "`thinctl config sample`" + ` has all of them`},
		{"no TOML", "root = \"/x\"\n[serve\n", `config.toml:2: expected '.' or ']' to end table name, but got '\n' instead; this is no TOML: see https://toml.io`},
		{"a value", "root = \"/x\"\n\nx = \n", `config.toml:3: expected value but found '\n' instead; this is no TOML: see https://toml.io`},
		{"a string", "root = \"/x\nx = 1\n", `config.toml:1: strings cannot contain newlines; this is no TOML: see https://toml.io`},
		{"twice", "root = \"/x\"\nroot = \"/y\"\n", `config.toml:2: Key 'root' has already been defined.; this is no TOML: see https://toml.io`},
	} {
		_, err := Parse([]byte(test.file), "config.toml", Sources{})
		if !errors.Is(err, ErrInvalid) || err.Error() != test.want {
			t.Errorf("%s:\n%v\nwant\n%s", test.name, err, test.want)
		}
	}
}

// What a containerd has follows its table's name; pools and containerds are of
// different tables, and are shown so.
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
		{Name: "docker", Pool: "slow", Namespace: "moby", Socket: "/run/docker-snapshots.sock",
			Containerd: "/run/docker/containerd/containerd.sock", FileSystem: "xfs", Size: 20 * units.GiB, ImageFS: "/run/thinctl/docker.fs"},
		{Name: "k8s", Pool: "vault", Namespace: "k8s", Socket: "/run/thinctl/k8s.sock", Containerd: "/run/containerd/containerd.sock", FileSystem: "ext4"},
	}
	if got := c.Containerds(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	shown := func(pool string) (lines []string) {
		for _, one := range c.Settings(pool) {
			if strings.HasPrefix(one.Key, "containerd.") {
				lines = append(lines, one.Key+" "+one.Value+" "+one.Origin.String())
			}
		}
		return lines
	}
	if got := shown(""); len(got) != 14 || got[1] != `containerd.docker.namespace "moby" config.toml:5` || got[8] != `containerd.k8s.namespace "k8s" default` {
		t.Errorf("shown: %q", got)
	}
	if got := shown("vault"); len(got) != 7 || got[0] != `containerd.k8s.pool "vault" config.toml:2` {
		t.Errorf("of vault: %q", got)
	}
	_, sample, _ := strings.Cut(Sample(), "tells the rest.\n")
	if got := parse(t, uncommented(sample), Sources{}).Containerds(); len(got) != 1 || got[0] != want[1] {
		t.Errorf("the sample's: %+v", got)
	}
}

func TestFaultsOutsideTheFile(t *testing.T) {
	env := map[string]string{"THINCTL_SERVE_LISTEN": "nowhere", "THINCTL_EXTEND_DATA_STEP": "20%"}
	_, err := Parse(nil, "", Sources{Getenv: func(name string) string { return env[name] }, Flags: map[string]Flag{"serve.interval": {"interval", "soon"}}})
	want := `THINCTL_SERVE_LISTEN: serve.listen: "nowhere" is not host:port; ` + listenRemedy + `
--interval: serve.interval: "soon" is not a time; write a time from 1s to 1h, such as "15s"`
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	if _, err := Load(Sources{Path: path}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that was asked for and is not there: %v", err)
	}
	if err := os.WriteFile(path, []byte("[serve]\nlisten = 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Sources{Path: path}); err == nil || !strings.HasPrefix(err.Error(), path+":2: serve.listen: ") {
		t.Errorf("got %v", err)
	}
}

// Whatever a file holds: faults or a configuration, and no panic.
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
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		c.Settings("")
	})
}
