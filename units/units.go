// Package units has types for sizes in bytes and in sectors, so that the compiler
// rejects a mixture of the two.
//
// Sizes are exact integers. The suffixes K, M, G, T and P are powers of 1024, as in the
// options of Docker's devicemapper driver.
package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size or an offset in bytes.
type Bytes uint64

// Sectors is a size or an offset in the kernel's 512-byte sectors.
type Sectors uint64

// SectorSize is the size of a sector in device mapper's tables and statuses. It does not
// depend on a device's logical block size.
const SectorSize Bytes = 512

// Binary multiples of a byte.
const (
	KiB Bytes = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
	PiB
)

// Bytes returns the size in bytes.
func (s Sectors) Bytes() Bytes { return Bytes(s) * SectorSize }

// Sectors returns the number of whole sectors in b.
func (b Bytes) Sectors() Sectors { return Sectors(b / SectorSize) }

// RoundUp rounds b up to a multiple of unit, which must not be zero. If the result does
// not fit, RoundUp returns the largest multiple that does.
func (b Bytes) RoundUp(unit Bytes) Bytes {
	rest := b % unit
	if rest == 0 {
		return b
	}
	if b > math.MaxUint64-(unit-rest) {
		return b - rest
	}
	return b + unit - rest
}

var suffixes = []struct {
	letter string
	size   Bytes
}{{"P", PiB}, {"T", TiB}, {"G", GiB}, {"M", MiB}, {"K", KiB}}

// String formats b for people, with a fraction if it is not exact: "64K", "1.50G".
func (b Bytes) String() string {
	for _, s := range suffixes {
		if b < s.size {
			continue
		}
		if b%s.size == 0 {
			return fmt.Sprintf("%d%s", b/s.size, s.letter)
		}
		return fmt.Sprintf("%.2f%s", float64(b)/float64(s.size), s.letter)
	}
	return fmt.Sprintf("%dB", uint64(b))
}

// Exact formats b without rounding, in the largest unit of which it is a multiple. Parse
// reads the text.
func (b Bytes) Exact() string {
	for _, s := range suffixes {
		if b >= s.size && b%s.size == 0 {
			return fmt.Sprintf("%d%s", b/s.size, s.letter)
		}
	}
	return strconv.FormatUint(uint64(b), 10)
}

// Parse reads a size such as "100G", "64k", "1.5T", "4096" or "512MiB". A number without
// a suffix is in bytes. The result must be a whole number of bytes that fits in 63 bits,
// as the kernel's file sizes do.
func Parse(text string) (Bytes, error) {
	fail := func(why string) (Bytes, error) {
		return 0, fmt.Errorf("size %q: %s; write a number with K, M, G, T or P (powers of 1024), such as 10G", text, why)
	}
	s := strings.ToUpper(strings.TrimSpace(text))
	s = strings.TrimSuffix(s, "B")
	s = strings.TrimSuffix(s, "I")
	unit := Bytes(1)
	for _, suffix := range suffixes {
		if rest, ok := strings.CutSuffix(s, suffix.letter); ok {
			s, unit = rest, suffix.size
			break
		}
	}
	whole, fraction, dotted := strings.Cut(s, ".")
	if whole == "" || (dotted && fraction == "") {
		return fail("not a number")
	}
	value, err := digits(whole)
	if err != nil {
		return fail(err.Error())
	}
	if value > math.MaxInt64/uint64(unit) {
		return fail("too large")
	}
	total := value * uint64(unit)
	if dotted {
		part, err := fractionOf(fraction, uint64(unit))
		if err != nil {
			return fail(err.Error())
		}
		total += part
	}
	if total > math.MaxInt64 {
		return fail("too large")
	}
	return Bytes(total), nil
}

func digits(s string) (uint64, error) {
	var v uint64
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("not a number")
		}
		d := uint64(c - '0')
		if v > (math.MaxUint64-d)/10 {
			return 0, fmt.Errorf("too large")
		}
		v = v*10 + d
	}
	return v, nil
}

// fractionOf returns 0.<fraction> of unit in bytes. It rejects fractions of a byte.
func fractionOf(fraction string, unit uint64) (uint64, error) {
	if len(fraction) > 6 {
		return 0, fmt.Errorf("more than six digits after the point")
	}
	v, err := digits(fraction)
	if err != nil {
		return 0, err
	}
	scale := uint64(1)
	for range fraction {
		scale *= 10
	}
	whole, rest := unit/scale, unit%scale
	if (v*rest)%scale != 0 && unit < uint64(KiB) {
		return 0, fmt.Errorf("not a whole number of bytes")
	}
	return v*whole + v*rest/scale, nil
}
