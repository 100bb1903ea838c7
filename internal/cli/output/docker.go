package output

import (
	"strings"
	"unicode"

	docker "github.com/docker/go-units"

	"thinctl/units"
)

// Sizes and times of images, layers and containers are written as Docker does:
// 1000-based, four digits.

func HumanSize(b units.Bytes) string { return docker.HumanSize(float64(b)) }

// HumanSizeOf writes what may be unknown.
func HumanSizeOf(b *units.Bytes) string {
	if b == nil {
		return "unknown"
	}
	return HumanSize(*b)
}

// AmountOf is a size that may be unknown, in a sentence.
func AmountOf(b *units.Bytes) string {
	if b == nil {
		return "an unknown amount"
	}
	return HumanSize(*b)
}

// TreeSize is how `docker images --tree` wrote it, when there still was a space.
func TreeSize(b units.Bytes) string {
	return docker.CustomSize("%.4g %s", float64(b), 1000, []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"})
}

const shortDigits = 12

func ShortID(id string) string {
	return id[:min(len(id), shortDigits)]
}

// Harmless takes out of a stranger's text what a terminal would obey.
func Harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// Clipped is Docker's ellipsis.
func Clipped(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
