package dm

import (
	"fmt"
	"strconv"

	"thinctl/blockdev"
	"thinctl/units"
)

// Thin is the thin target, the table of a thin volume. The caller chooses ID, which
// has 24 bits. The pool does not store the volume's length.
type Thin struct {
	Length         units.Sectors
	Pool           blockdev.Number
	ID             uint32
	ExternalOrigin blockdev.Number // read-only device with the content of unmapped blocks; zero for none
}

// Line implements [Target].
func (t Thin) Line() Line {
	params := fmt.Sprintf("%s %d", t.Pool, t.ID)
	if !t.ExternalOrigin.IsZero() {
		params += " " + t.ExternalOrigin.String()
	}
	return Line{Length: t.Length, Type: TypeThin, Params: params}
}

// ParseThin parses a thin volume's table line.
func ParseThin(line Line) (Thin, error) {
	p := newTokens(line, TypeThin)
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

// ThinStatus holds a thin volume's status.
type ThinStatus struct {
	Failed  bool          // the pool has failed, or the kernel could not read the status
	Mapped  units.Sectors // includes blocks shared with other volumes
	Highest units.Sectors // highest mapped sector; valid only if Mapped > 0
}

// ParseThinStatus parses a thin volume's status.
func ParseThinStatus(line Line) (ThinStatus, error) {
	p := newTokens(line, TypeThin)
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

// Line returns s as the kernel prints it.
func (s ThinStatus) Line(length units.Sectors) Line {
	params := "Fail"
	if !s.Failed {
		highest := "-"
		if s.Mapped > 0 {
			highest = strconv.FormatUint(uint64(s.Highest), 10)
		}
		params = fmt.Sprintf("%d %s", s.Mapped, highest)
	}
	return Line{Length: length, Type: TypeThin, Params: params}
}
