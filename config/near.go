package config

import "strings"

// nearest returns the key that a misspelt one may stand for, "" for none.
func nearest(name string) string {
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
	best, least := "", 3 // more changes than two are another word
	for _, k := range all {
		known := k.name
		if own {
			known = k.own
		}
		if known == "" {
			continue
		}
		if d := distance(rest, known); d < least {
			best, least = prefix+known, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}
