package metadata

// differences joins blocks that come in the order of their virtual addresses.
type differences struct {
	visit   func(Difference) error
	data    bool // DeltaOptions.Data
	last    Difference
	stopped bool // by visit
}

func (d *differences) add(one Difference) error {
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

func (d *differences) continues(one Difference) bool {
	last := &d.last
	if last.Blocks == 0 || last.Kind != one.Kind || last.Virtual+last.Blocks != one.Virtual {
		return false
	}
	return !d.data || ((one.Kind == RightOnly || last.Left+last.Blocks == one.Left) &&
		(one.Kind == LeftOnly || last.Right+last.Blocks == one.Right))
}

func (d *differences) flush() error {
	if d.last.Blocks == 0 {
		return nil
	}
	err := d.visit(d.last)
	d.last = Difference{}
	d.stopped = err != nil
	return err
}
