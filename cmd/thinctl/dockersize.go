package main

import (
	"strings"
	"time"
	"unicode"

	docker "github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"thinctl/units"
)

// Sizes and times of images, layers and containers are written as Docker does:
// 1000-based, four digits.

func humanSize(b units.Bytes) string { return docker.HumanSize(float64(b)) }

// humanSizeOf writes what may be unknown.
func humanSizeOf(b *units.Bytes) string {
	if b == nil {
		return "unknown"
	}
	return humanSize(*b)
}

// amountOf is a size that may be unknown, in a sentence.
func amountOf(b *units.Bytes) string {
	if b == nil {
		return "an unknown amount"
	}
	return humanSize(*b)
}

// treeSize is how `docker images --tree` wrote it, when there still was a space.
func treeSize(b units.Bytes) string {
	return docker.CustomSize("%.4g %s", float64(b), 1000, []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"})
}

// ago tells how long it is that something was made. Builders that want the same
// image each time give the beginning of time.
func (c *call) ago(t time.Time) string {
	if t.Unix() <= 0 {
		return "N/A"
	}
	return docker.HumanDuration(c.now().Sub(t)) + " ago"
}

func (c *call) now() time.Time {
	if c.host.Now != nil {
		return c.host.Now()
	}
	return time.Now()
}

const shortDigits = 12

// digits is an id as far as it is shown.
func (c *call) digits(id string) string {
	if c.flags.Bool("no-trunc") {
		return id
	}
	return shortID(id)
}

func shortID(id string) string {
	return id[:min(len(id), shortDigits)]
}

func noTruncFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-trunc", Usage: "write ids and texts in full"}
}

func quietFlag(usage string) cli.Flag {
	return &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: usage}
}

// harmless takes out of a stranger's text what a terminal would obey.
func harmless(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// clipped is Docker's ellipsis.
func clipped(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
