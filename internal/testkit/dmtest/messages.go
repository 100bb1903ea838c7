package dmtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// message follows pool_message.
func (t *poolTarget) message(args []string) error {
	p := t.pool
	if p.features.mode >= modeNoMeta {
		if p.k.poolVersion().AtLeast(1, 10) {
			return unix.EOPNOTSUPP
		}
		return unix.EINVAL
	}
	if err := p.execute(strings.ToLower(args[0]), args[1:]); err != nil {
		return err
	}
	p.touched()
	_ = p.commit()
	return nil
}

// execute carries out one message.
func (p *pool) execute(verb string, args []string) error {
	counts := map[string]int{
		"create_thin": 1, "create_snap": 2, "delete": 1, "set_transaction_id": 2,
		"reserve_metadata_snap": 0, "release_metadata_snap": 0,
	}
	if want, known := counts[verb]; !known || want != len(args) {
		return unix.EINVAL
	}
	numbers := make([]uint64, len(args))
	for i, arg := range args {
		n, err := strconv.ParseUint(arg, 10, 64)
		if err != nil || verb != "set_transaction_id" && !validThinID(n) {
			return unix.EINVAL
		}
		numbers[i] = n
	}
	switch verb {
	case "create_thin":
		return p.meta.create(uint32(numbers[0]))
	case "create_snap":
		err := p.meta.snapshot(uint32(numbers[0]), uint32(numbers[1]))
		if err == nil {
			p.watchOrigin(uint32(numbers[0]), uint32(numbers[1]))
		}
		return err
	case "delete":
		return p.meta.delete(uint32(numbers[0]))
	case "set_transaction_id":
		return p.meta.setTransaction(numbers[0], numbers[1])
	case "reserve_metadata_snap":
		_ = p.commit()
		return p.meta.reserveSnap()
	}
	return p.meta.releaseSnap()
}

// watchOrigin records a snapshot whose origin accepts writes. The kernel takes such a
// snapshot, which may contain blocks that were written later
// (Documentation/admin-guide/device-mapper/thin-provisioning.rst). A read-only origin
// accepts no writes.
func (p *pool) watchOrigin(id, origin uint32) {
	var names []string
	for t := range p.thins {
		if t.id == origin && t.device.live.has(t) && !t.device.stopped() && !t.device.readOnly {
			names = append(names, string(t.device.name))
		}
	}
	slices.Sort(names)
	for _, name := range names {
		p.k.violations = append(p.k.violations, fmt.Sprintf(
			"create_snap %d %d: the origin is active as %s and not suspended", id, origin, name))
	}
}

func (t *table) has(wanted target) bool {
	return t != nil && slices.ContainsFunc(t.targets, func(p placed) bool { return p.target == wanted })
}
