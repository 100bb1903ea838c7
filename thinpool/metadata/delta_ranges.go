package metadata

// differenceJoiner joins differences that arrive ordered by virtual block.
type differenceJoiner struct {
	visit   func(Difference) error
	data    bool // DeltaOptions.Data
	last    Difference
	stopped bool // visit returned an error
}

func (d *differenceJoiner) add(one Difference) error {
	if d.continues(one) {
		d.last.Blocks++
		return nil
	}
	if err := d.flush(); err != nil {
		return err
	}
	d.last = one
	return nil
}

func (d *differenceJoiner) continues(one Difference) bool {
	last := &d.last
	if last.Blocks == 0 || last.Kind != one.Kind || last.Virtual+last.Blocks != one.Virtual {
		return false
	}
	return !d.data || ((one.Kind == RightOnly || last.Left+last.Blocks == one.Left) &&
		(one.Kind == LeftOnly || last.Right+last.Blocks == one.Right))
}

func (d *differenceJoiner) flush() error {
	if d.last.Blocks == 0 {
		return nil
	}
	err := d.visit(d.last)
	d.last = Difference{}
	d.stopped = err != nil
	return err
}
