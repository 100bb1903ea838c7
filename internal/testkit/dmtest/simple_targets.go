package dmtest

import (
	"strconv"

	"golang.org/x/sys/unix"

	"thinctl/dm"
	"thinctl/units"
)

// idle has methods without effect, for targets that need only some of their own.
type idle struct{}

func (idle) table() string          { return "" }
func (idle) status(bool) string     { return "" }
func (idle) message([]string) error { return unix.EINVAL }
func (idle) areas() []area          { return nil }
func (idle) preresume() error       { return nil }
func (idle) resume()                {}
func (idle) presuspend()            {}
func (idle) postsuspend()           {}
func (idle) discards() bool         { return false }
func (idle) destroy()               {}

// failing is the error target.
type failing struct{ idle }

func (failing) io(op, units.Bytes, units.Bytes, []byte) error { return unix.EIO }

// linear is the linear target.
type linear struct {
	idle
	k    *Kernel
	on   area
	text string
}

func (b builder) linear() (target, error) {
	if len(b.args) != 2 {
		return nil, unix.EINVAL
	}
	offset, err := strconv.ParseUint(b.args[1], 10, 64)
	if err != nil {
		return nil, unix.EINVAL
	}
	dev, err := b.open(b.args[0])
	if err != nil {
		return nil, err
	}
	return &linear{k: b.k, on: area{dev, units.Sectors(offset), b.line.Length}, text: b.line.Params}, nil
}

func (t *linear) table() string  { return t.text }
func (t *linear) areas() []area  { return []area{t.on} }
func (t *linear) discards() bool { return t.k.discards(t.on.dev) }

func (t *linear) io(op op, offset, length units.Bytes, data []byte) error {
	return t.k.io(t.on.dev, op, t.on.start.Bytes()+offset, length, data)
}

// flakey is the flakey target. It is always down if it has no Up interval, else always
// up, so that tests do not depend on the time.
type flakey struct {
	linear
	spec dm.Flakey
}

func (b builder) flakey() (target, error) {
	parsed, err := dm.ParseFlakey(b.line)
	if err != nil || parsed.Up+parsed.Down == 0 || parsed.DropWrites && parsed.ErrorWrites {
		return nil, unix.EINVAL
	}
	dev, err := b.open(b.args[0])
	if err != nil {
		return nil, err
	}
	on := area{dev, parsed.Offset, b.line.Length}
	printed := parsed
	if !parsed.DropWrites && !parsed.ErrorWrites && !parsed.ErrorReads {
		// Without features all IO fails, and 6.12 prints both error features
		// (dm-flakey.c, parse_features).
		printed.ErrorReads, printed.ErrorWrites = true, true
	}
	return &flakey{linear{k: b.k, on: on, text: printed.Line().Params}, parsed}, nil
}

func (t *flakey) io(op op, offset, length units.Bytes, data []byte) error {
	if t.spec.Up > 0 {
		return t.linear.io(op, offset, length, data)
	}
	writes := op != opRead
	plain := !t.spec.DropWrites && !t.spec.ErrorWrites && !t.spec.ErrorReads
	switch {
	case plain, writes && t.spec.ErrorWrites, !writes && t.spec.ErrorReads:
		return unix.EIO
	case writes && t.spec.DropWrites:
		return nil
	}
	return t.linear.io(op, offset, length, data)
}
