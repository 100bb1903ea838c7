package dmtest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"thinctl/blockdev"
	"thinctl/dm"
	"thinctl/fault"
	"thinctl/units"
)

// table is the table in one slot of a device.
type table struct {
	targets  []placed
	readOnly bool
	devs     []blockdev.Number // the devices that it uses, each once
}

type placed struct {
	start, length units.Sectors
	kind          string
	target        target
}

// target is a target's instance in one table (struct target_type).
type target interface {
	// table returns the parameters as the kernel prints them.
	table() string
	status(noFlush bool) string
	message(args []string) error
	// areas returns the ranges of other devices that the target needs.
	areas() []area
	// preresume may return an error; the device then stays suspended.
	preresume() error
	resume()
	presuspend()
	postsuspend()
	// io performs IO on a range of the target.
	io(op op, offset, length units.Bytes, data []byte) error
	discards() bool
	destroy()
}

type area struct {
	dev           blockdev.Number
	start, length units.Sectors
}

func (t *table) length() units.Sectors {
	if t == nil || len(t.targets) == 0 {
		return 0
	}
	last := t.targets[len(t.targets)-1]
	return last.start + last.length
}

// Load implements [dm.Kernel].
func (k *Kernel) Load(ctx context.Context, ref dm.Ref, targets []dm.Target, options dm.LoadOptions) error {
	if len(targets) == 0 {
		return &dm.Error{Op: opLoad, Object: ref.String(), Kind: fault.Invalid, Detail: "the table is empty"}
	}
	var lines []dm.Line
	var texts []string
	for _, t := range targets {
		lines = append(lines, t.Line())
		texts = append(texts, t.Line().String())
	}
	_, err := call(ctx, k, opLoad, ref, strings.Join(texts, "; "), func() (struct{}, error) {
		d, err := k.find(ref)
		if err != nil {
			return struct{}{}, err
		}
		fresh, err := k.build(d, lines, options.ReadOnly)
		if err != nil {
			return struct{}{}, err
		}
		if err := k.admit(d, fresh); err != nil {
			k.drop(d, fresh)
			return struct{}{}, err
		}
		d.loaded = true
		old := d.inactive
		d.inactive = fresh
		k.drop(d, old)
		return struct{}{}, nil
	})
	return err
}

// build creates a table and opens the devices that it uses (dm-table.c,
// dm_table_add_target and dm_table_complete).
func (k *Kernel) build(d *device, lines []dm.Line, readOnly bool) (*table, error) {
	t := &table{readOnly: readOnly}
	for i, line := range lines {
		single := line.Type == dm.TypeThinPool
		if _, ok := k.targets[line.Type]; !ok {
			k.drop(d, t)
			return nil, fmt.Errorf("%w (%w)", missingTarget(line.Type), unix.EINVAL)
		}
		bad := line.Length == 0 || line.Start != t.length() || single && (len(lines) > 1 || i > 0 || readOnly)
		if bad {
			k.drop(d, t)
			return nil, unix.EINVAL
		}
		made, err := k.construct(d, t, line)
		if err != nil {
			k.drop(d, t)
			return nil, err
		}
		t.targets = append(t.targets, placed{line.Start, line.Length, line.Type, made})
	}
	return t, nil
}

func (k *Kernel) construct(d *device, t *table, line dm.Line) (target, error) {
	args := strings.Fields(line.Params)
	b := builder{k: k, d: d, t: t, line: line, args: args}
	switch line.Type {
	case dm.TypeThinPool:
		return b.pool()
	case dm.TypeThin:
		return b.thin()
	case dm.TypeLinear:
		return b.linear()
	case dm.TypeFlakey:
		return b.flakey()
	case dm.TypeError:
		return failing{}, nil
	}
	return nil, unix.EINVAL
}

// builder holds the arguments of a target's constructor.
type builder struct {
	k    *Kernel
	d    *device
	t    *table
	line dm.Line
	args []string
}

// open opens a device for the table (dm-table.c, dm_get_device).
func (b builder) open(text string) (blockdev.Number, error) {
	dev, err := blockdev.ParseNumber(text)
	switch {
	case err != nil:
		return dev, unix.EINVAL
	case dev == b.d.number:
		return dev, unix.EINVAL
	case !b.k.exists(dev):
		return dev, unix.ENXIO
	}
	if slices.Contains(b.t.devs, dev) {
		return dev, nil
	}
	b.t.devs = append(b.t.devs, dev)
	if b.d.uses[dev]++; b.d.uses[dev] == 1 {
		b.k.opens[dev]++
	}
	return dev, nil
}

// drop destroys a table and closes its devices. The tables of one device share their
// opens (dm.c, dm_get_table_device).
func (k *Kernel) drop(d *device, t *table) {
	if t == nil {
		return
	}
	for _, p := range t.targets {
		p.target.destroy()
	}
	for _, dev := range t.devs {
		if d.uses[dev]--; d.uses[dev] == 0 {
			delete(d.uses, dev)
			k.close(dev)
		}
	}
}

// admit makes the checks of dm-ioctl.c, table_load. The kernel checks the sizes of the
// devices below at a device's first load; after that, only when a table becomes live.
func (k *Kernel) admit(d *device, t *table) error {
	if d.fixed != "" && t.targets[0].kind != d.fixed && t.targets[0].kind != dm.TypeError {
		return unix.EINVAL
	}
	if d.loaded {
		return nil
	}
	return k.measure(t)
}

func (k *Kernel) measure(t *table) error {
	for _, p := range t.targets {
		for _, a := range p.target.areas() {
			// A device of size 0 passes (dm-table.c, device_area_is_invalid).
			if size := k.sizeOf(a.dev).Sectors(); size > 0 && a.start+a.length > size {
				return unix.EINVAL
			}
		}
	}
	return nil
}

// Clear implements [dm.Kernel].
func (k *Kernel) Clear(ctx context.Context, ref dm.Ref) error {
	_, err := call(ctx, k, opClear, ref, "", func() (struct{}, error) {
		d, err := k.find(ref)
		if err == nil {
			old := d.inactive
			d.inactive = nil
			k.drop(d, old)
		}
		return struct{}{}, err
	})
	return err
}

// Table implements [dm.Kernel].
func (k *Kernel) Table(ctx context.Context, ref dm.Ref) ([]dm.Line, error) {
	return call(ctx, k, opTable, ref, "", func() ([]dm.Line, error) {
		d, err := k.find(ref)
		if err != nil {
			return nil, err
		}
		return d.live.lines(target.table), nil
	})
}

// Status implements [dm.Kernel].
func (k *Kernel) Status(ctx context.Context, ref dm.Ref, options dm.StatusOptions) (dm.Info, []dm.Line, error) {
	var info dm.Info
	lines, err := call(ctx, k, opStatus, ref, "", func() ([]dm.Line, error) {
		d, err := k.find(ref)
		if err != nil {
			return nil, err
		}
		// The kernel fills the header before it calls the targets (table_status). So a
		// status that commits may raise an event after its own info was taken.
		info = k.info(d)
		return d.live.lines(func(t target) string { return t.status(options.NoFlush) }), nil
	})
	if err != nil {
		return dm.Info{}, nil, err
	}
	return info, lines, nil
}

func (t *table) lines(params func(target) string) []dm.Line {
	if t == nil {
		return nil
	}
	var lines []dm.Line
	for _, p := range t.targets {
		lines = append(lines, dm.Line{Start: p.start, Length: p.length, Type: p.kind, Params: params(p.target)})
	}
	return lines
}

// Deps implements [dm.Kernel].
func (k *Kernel) Deps(ctx context.Context, ref dm.Ref) ([]blockdev.Number, error) {
	return call(ctx, k, opDeps, ref, "", func() ([]blockdev.Number, error) {
		d, err := k.find(ref)
		if err != nil || d.live == nil {
			return nil, err
		}
		return slices.Clone(d.live.devs), nil
	})
}

// Message implements [dm.Kernel].
func (k *Kernel) Message(ctx context.Context, ref dm.Ref, text string) (string, error) {
	return call(ctx, k, opMessage, ref, text, func() (string, error) {
		d, err := k.find(ref)
		if err != nil {
			return "", err
		}
		args := strings.Fields(text)
		switch {
		case len(args) == 0:
			return "", unix.EINVAL
		case strings.EqualFold(args[0], "@cancel_deferred_remove") && len(args) == 1:
			d.deferred = false
			return "", nil
		case d.live == nil:
			return "", nil // without a table there is no error (dm-ioctl.c, target_message)
		}
		return "", d.live.targets[0].target.message(args)
	})
}
