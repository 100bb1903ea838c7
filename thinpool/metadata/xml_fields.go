package metadata

import "math"

// number parses a decimal number of so many bits.
func (s *scanner) number(a attribute, bits int) (uint64, error) {
	limit := uint64(math.MaxUint64) >> (64 - bits)
	var n uint64
	for _, c := range a.value {
		d := uint64(c - '0')
		if c < '0' || c > '9' {
			return 0, s.errorf("%s is %q, not a number", a.name, a.value[:min(len(a.value), 30)])
		}
		if n > (limit-d)/10 {
			return 0, s.errorf("%s is %s, want at most %d", a.name, a.value[:min(len(a.value), 30)], limit)
		}
		n = n*10 + d
	}
	if len(a.value) == 0 {
		return 0, s.errorf("%s is empty", a.name)
	}
	return n, nil
}

// numbers parses a tag's attributes into fields: each at most once, all that are not optional,
// and no others.
func (s *scanner) numbers(t *tag, fields []field) error {
	var found uint
	for _, a := range t.attributes[:t.n] {
		known := false
		for i := range fields {
			f := &fields[i]
			if string(a.name) != f.name {
				continue
			}
			known = true
			found |= 1 << i
			if f.into == nil {
				break
			}
			n, err := s.number(a, f.bits)
			if err != nil {
				return err
			}
			*f.into = n
			break
		}
		if !known {
			return s.errorf("<%s> has no attribute %s", t.name, a.name)
		}
	}
	for i, f := range fields {
		if found&(1<<i) == 0 && !f.optional {
			return s.errorf("<%s> without %s", t.name, f.name)
		}
	}
	return nil
}

type field struct {
	name     string
	into     *uint64 // nil: any text, which is ignored
	bits     int
	optional bool
}
