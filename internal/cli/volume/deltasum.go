package volume

import (
	"fmt"
	"io"

	"thinctl/thinpool/metadata"
	"thinctl/units"
)

// volumeDeltaSum is the sum of each kind of difference between two volumes.
type volumeDeltaSum struct {
	Different units.Bytes  `json:"different_bytes"`
	LeftOnly  units.Bytes  `json:"left_only_bytes"`
	RightOnly units.Bytes  `json:"right_only_bytes"`
	Same      *units.Bytes `json:"same_bytes,omitempty"` // with --same
}

func newVolumeDeltaSum(same bool) *volumeDeltaSum {
	s := &volumeDeltaSum{}
	if same {
		s.Same = new(units.Bytes)
	}
	return s
}

func (s *volumeDeltaSum) of(kind metadata.DeltaKind) *units.Bytes {
	switch kind {
	case metadata.LeftOnly:
		return &s.LeftOnly
	case metadata.RightOnly:
		return &s.RightOnly
	case metadata.Same:
		return s.Same
	}
	return &s.Different
}

func (s *volumeDeltaSum) Write(w io.Writer) {
	fmt.Fprintf(w, "\n%s different, %s left_only, %s right_only", s.Different, s.LeftOnly, s.RightOnly)
	if s.Same != nil {
		fmt.Fprintf(w, ", %s same", *s.Same)
	}
	fmt.Fprintln(w)
}
