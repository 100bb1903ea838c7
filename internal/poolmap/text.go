package poolmap

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// clean replaces all characters that are not printable, such as control characters and
// direction marks, and bytes that are not UTF-8.
func clean(name string) string {
	if name == "" {
		return "(unnamed)"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(name, string(unicode.ReplacementChar)))
}

// columns returns the number of terminal columns of a character. Combining marks count as
// one, so that their number in a name is bounded.
func columns(r rune) int {
	switch {
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60,
		r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2 // East Asian Wide and Fullwidth, UAX #11
	}
	return 1
}

func width(s string) int {
	w := 0
	for _, r := range s {
		w += columns(r)
	}
	return w
}

// fit shortens s to at most limit columns. It cuts the middle, since names often differ at
// their ends only, and marks the cut.
func fit(s string, limit int, mark string) string {
	if width(s) <= limit {
		return s
	}
	runes := []rune(s)
	available := limit - width(mark)
	head, used := 0, 0
	for used+columns(runes[head]) <= (available+1)/2 {
		used += columns(runes[head])
		head++
	}
	tail := len(runes)
	for used+columns(runes[tail-1]) <= available {
		tail--
		used += columns(runes[tail])
	}
	return string(runes[:head]) + mark + string(runes[tail:])
}

func counted(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(n) + " " + what + "s"
}

// grouped formats n with commas between the thousands.
func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// percent formats a part as a percentage: 0% and 100% only if they are exact.
func percent(part, all uint64) string {
	switch p := 100 * float64(part) / float64(all); {
	case part == 0:
		return "0%"
	case part == all:
		return "100%"
	case p < 0.1:
		return "<0.1%"
	case p > 99.9:
		return ">99.9%"
	default:
		return fmt.Sprintf("%.1f%%", p)
	}
}
