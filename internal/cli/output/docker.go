package output

import (
	"strings"
	"unicode"

	docker "github.com/docker/go-units"

	"thinctl/units"
)

// HumanSize formats a size as Docker does, in powers of 1000.
func HumanSize(b units.Bytes) string { return docker.HumanSize(float64(b)) }

// HumanSizeOf is HumanSize for a size that may be unknown.
func HumanSizeOf(b *units.Bytes) string {
	if b == nil {
		return "unknown"
	}
	return HumanSize(*b)
}

// AmountOf is HumanSizeOf in a sentence.
func AmountOf(b *units.Bytes) string {
	if b == nil {
		return "an unknown amount"
	}
	return HumanSize(*b)
}

// TreeSize formats a size as `docker images --tree` did, with a space.
func TreeSize(b units.Bytes) string {
	return docker.CustomSize("%.4g %s", float64(b), 1000, []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"})
}

const shortDigits = 12

// ShortID returns the first 12 digits of an id.
func ShortID(id string) string {
	return id[:min(len(id), shortDigits)]
}

// Harmless replaces control characters, which a terminal would obey, in text from an image or
// archive.
func Harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// Clipped shortens a text as Docker does, with an ellipsis.
func Clipped(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
