package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Setting is a key with its value, and where that came from.
type Setting struct {
	Key    string
	Value  string // as it is written after the =
	Origin Origin
}

// Settings are all keys, in the order of the sample; with a pool's name what
// holds for that pool, else those that pools have of their own come last.
func (c Config) Settings(pool string) []Setting {
	global := settings{root: c.Root, busyTimeout: c.BusyTimeout, serve: c.Serve, pool: c.Pool}
	var all []Setting
	for _, k := range keys() {
		one := Setting{k.name, k.written(&global), c.origin(k.name)}
		if own, ok := c.pools[pool]; ok && k.own != "" {
			if full := "pools." + pool + "." + k.own; c.origins[full] != (Origin{}) {
				one = Setting{full, k.written(&own), c.origins[full]}
			}
		}
		all = append(all, one)
	}
	if pool != "" {
		return append(all, c.ofContainerds(pool)...)
	}
	for _, name := range c.Pools() {
		own := c.pools[name]
		for _, k := range keys() {
			full := "pools." + name + "." + k.own
			if origin, ok := c.origins[full]; ok && k.own != "" {
				all = append(all, Setting{full, k.written(&own), origin})
			}
		}
	}
	return append(all, c.ofContainerds("")...)
}

// ofContainerds are all keys of the snapshotters of a pool, of all pools where it
// is "".
func (c Config) ofContainerds(pool string) (all []Setting) {
	for _, one := range c.Containerds() {
		if pool != "" && one.Pool != pool {
			continue
		}
		s := settings{containerd: one}
		for _, k := range containerdKeys() {
			full := "containerd." + one.Name + "." + k.own
			all = append(all, Setting{full, k.written(&s), c.origin(full)})
		}
	}
	return all
}

func (c Config) origin(key string) Origin {
	if origin, ok := c.origins[key]; ok {
		return origin
	}
	return Origin{Name: "default"}
}

// written is a key's value as the file has it.
func (k key) written(s *settings) string {
	word := k.get(s)
	if _, err := strconv.Atoi(word); err == nil && !strings.HasSuffix(k.name, "_step") {
		return word
	}
	if word == "true" || word == "false" {
		return word
	}
	return strconv.Quote(word)
}

// Sample is a file with every key, commented out, at its default.
func Sample() string {
	var b strings.Builder
	b.WriteString("# thinctl's configuration. Each key is shown with its default. What is wrong in\n" +
		"# here is told, all at once, by `thinctl config check`; `thinctl config show` says\n" +
		"# what holds and where it came from. Flags go before variables such as\n" +
		"# THINCTL_SERVE_LISTEN, variables before this file.\n" +
		"# Sizes take K, M, G, T and P, which are 1024-based.\n")
	initial := defaults()
	table := ""
	for _, k := range keys() {
		name := k.name
		if above, below, ok := strings.Cut(k.name, "."); ok {
			if above != table {
				table = above
				fmt.Fprintf(&b, "\n[%s]\n", table)
			}
			name = below
		}
		b.WriteString("\n")
		for line := range strings.SplitSeq(k.doc, "\n") {
			fmt.Fprintf(&b, "# %s\n", line)
		}
		fmt.Fprintf(&b, "#%s = %s\n", name, k.written(&initial))
	}
	b.WriteString("\n# A pool may have its own activate, scan_every, trim_every and trim_rate, and any\n" +
		"# key of [extend]. They go before everything else for that pool.\n" +
		"#[pools.vault]\n#activate = false\n#[pools.vault.extend]\n#data_maximum = \"500G\"\n")
	b.WriteString("\n# A containerd that keeps its snapshots in a pool, one table for each; its name is\n" +
		"# yours to choose. docs/containerd.md tells the rest.\n#[containerd.k8s]\n")
	example := containerdDefaults("k8s")
	example.containerd.Pool = "vault"
	for _, k := range containerdKeys() {
		b.WriteString("#\n")
		for line := range strings.SplitSeq(k.doc, "\n") {
			fmt.Fprintf(&b, "# %s\n", line)
		}
		fmt.Fprintf(&b, "#%s = %s\n", k.name, k.written(&example))
	}
	return b.String()
}
