package config

import (
	"strings"

	"thinctl/internal/nearest"
)

// nearestKey returns the key that a misspelt one may stand for, "" for none.
func nearestKey(name string) string {
	prefix, rest := "", name
	all := keys()
	own := strings.HasPrefix(name, "pools.")
	if strings.HasPrefix(name, "containerd.") {
		own, all = true, containerdKeys()
	}
	if own {
		parts := strings.SplitN(name, ".", 3)
		if len(parts) < 3 {
			return ""
		}
		prefix, rest = parts[0]+"."+parts[1]+".", parts[2]
	}
	var known []string
	for _, k := range all {
		if own {
			known = append(known, k.own)
		} else {
			known = append(known, k.name)
		}
	}
	if near := nearest.Of(rest, known); near != "" {
		return prefix + near
	}
	return ""
}
