package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Setting is a key with its value and its origin.
type Setting struct {
	Key    string
	Value  string // as in the file
	Origin Origin
}

// Settings returns all keys in the order of the sample. For a pool, it returns the
// settings of that pool; for "", it adds the keys of all pools' own tables at the end.
func (c Config) Settings(pool string) []Setting {
	own := c.ownSettings(pool)
	var all []Setting
	for _, k := range c.keys() {
		setting, ok := own[k.name]
		if !ok {
			setting = Setting{k.name, k.written(), c.origin(k.name)}
		}
		all = append(all, setting)
	}
	if pool == "" {
		for _, name := range c.Pools() {
			own := c.ownSettings(name)
			for _, k := range c.keys() {
				if setting, ok := own[k.name]; ok {
					all = append(all, setting)
				}
			}
		}
	}
	return append(all, c.containerdSettings(pool)...)
}

// ownSettings returns the settings in a pool's own table, by global key.
func (c Config) ownSettings(pool string) map[string]Setting {
	own := map[string]Setting{}
	values := c.pools[pool]
	for _, k := range poolKeys(&values) {
		full := "pools." + pool + "." + k.name
		if origin, ok := c.origins[full]; ok {
			own[globalName(k.name)] = Setting{full, k.written(), origin}
		}
	}
	return own
}

// containerdSettings returns the keys of the snapshotters of a pool, or of all pools for "".
func (c Config) containerdSettings(pool string) (all []Setting) {
	for _, table := range c.Containerds() {
		if pool != "" && table.Pool != pool {
			continue
		}
		for _, k := range containerdKeys(&table) {
			full := "containerd." + table.Name + "." + k.name
			all = append(all, Setting{full, k.written(), c.origin(full)})
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

// written returns a key's value as in the file.
func (k key) written() string {
	text := k.get()
	if _, err := strconv.Atoi(text); err == nil && !strings.HasSuffix(k.name, "_step") {
		return text
	}
	if text == "true" || text == "false" {
		return text
	}
	return strconv.Quote(text)
}

// Sample returns a file with every key, commented out, at its default.
func Sample() string {
	var b strings.Builder
	b.WriteString("# thinctl's configuration. Each key is shown with its default. `thinctl config check`\n" +
		"# lists all errors in this file; `thinctl config show` prints each setting and its\n" +
		"# source. Flags take precedence over environment variables such as\n" +
		"# THINCTL_SERVE_LISTEN, and these over this file.\n" +
		"# Sizes take the suffixes K, M, G, T and P, which are powers of 1024.\n")
	write := func(k key, name string) {
		for line := range strings.SplitSeq(k.doc, "\n") {
			fmt.Fprintf(&b, "# %s\n", line)
		}
		fmt.Fprintf(&b, "#%s = %s\n", name, k.written())
	}
	initial := defaults()
	last := ""
	for _, k := range initial.keys() {
		table, name, ok := strings.Cut(k.name, ".")
		if !ok {
			table, name = "", k.name
		}
		if table != last {
			last = table
			fmt.Fprintf(&b, "\n[%s]\n", table)
		}
		b.WriteString("\n")
		write(k, name)
	}
	b.WriteString("\n# A pool can have its own activate, scan_every, trim_every and trim_rate, and its own\n" +
		"# keys of [extend]. They take precedence over all other sources for that pool.\n" +
		"#[pools.vault]\n#activate = false\n#[pools.vault.extend]\n#data_maximum = \"500G\"\n")
	b.WriteString("\n# A containerd that keeps its snapshots in a pool: one table for each, with a name of\n" +
		"# your choice. See docs/containerd.md.\n#[containerd.k8s]\n")
	example := containerdDefaults("k8s")
	example.Pool = "vault"
	for _, k := range containerdKeys(&example) {
		b.WriteString("#\n")
		write(k, k.name)
	}
	return b.String()
}
