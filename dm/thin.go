package dm

import (
	"fmt"
	"strconv"

	"thinctl/blockdev"
	"thinctl/units"
)

// Thin is the table of a thin volume. ID is 24-bit and chosen by the pool's
// owner; the pool does not store the volume's length.
type Thin struct {
	Length         units.Sectors
	Pool           blockdev.Number
	ID             uint32
	ExternalOrigin blockdev.Number // zero for none: a read-only device read where nothing is mapped
}

// Line implements [Target].
func (t Thin) Line() Line {
	params := fmt.Sprintf("%s %d", t.Pool, t.ID)
	if !t.ExternalOrigin.IsZero() {
		params += " " + t.ExternalOrigin.String()
	}
	return Line{Length: t.Length, Type: ThinTarget, Params: params}
}

// ParseThin reads a thin volume's table line.
func ParseThin(line Line) (Thin, error) {
	p := newTokens(line, ThinTarget)
	t := Thin{Length: line.Length, Pool: p.dev("pool")}
	id := p.number("device id")
	if id > MaxThinID {
		p.fail("device id %d exceeds 24 bits", id)
	}
	t.ID = uint32(id)
	if p.more() {
		t.ExternalOrigin = p.dev("external origin")
	}
	return t, p.end()
}

// ThinStatus is what a thin volume says of itself.
type ThinStatus struct {
	Failed  bool          // the pool has failed, or the status could not be read
	Mapped  units.Sectors // includes blocks shared with other volumes
	Highest units.Sectors // highest mapped sector; holds only where Mapped > 0
}

// ParseThinStatus reads a thin volume's status.
func ParseThinStatus(line Line) (ThinStatus, error) {
	p := newTokens(line, ThinTarget)
	switch line.Params {
	case "Fail", "Error", "-":
		return ThinStatus{Failed: true}, p.err
	}
	s := ThinStatus{Mapped: units.Sectors(p.number("mapped sectors"))}
	if highest := p.next("highest mapped sector"); highest != "-" {
		s.Highest = units.Sectors(p.parse("highest mapped sector", highest))
	}
	return s, p.end()
}

// Line writes s as the kernel would.
func (s ThinStatus) Line(length units.Sectors) Line {
	params := "Fail"
	if !s.Failed {
		highest := "-"
		if s.Mapped > 0 {
			highest = strconv.FormatUint(uint64(s.Highest), 10)
		}
		params = fmt.Sprintf("%d %s", s.Mapped, highest)
	}
	return Line{Length: length, Type: ThinTarget, Params: params}
}
