package layers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"thinctl/fault"
	"thinctl/snapshots"
	"thinctl/thinpool"
	"thinctl/units"
)

// RemovalOptions are the options of a removal of layers.
type RemovalOptions struct {
	// Needed returns what else needs which layers, by layer id; images do. It must
	// leave out what With removes. It is called for the plan, and again in the
	// transaction.
	Needed func(*thinpool.Tx) (map[string]string, error)
	// With writes the caller's documents in the transaction of the removal, before
	// Needed is called. It may run more than once. A plan does not run it.
	With func(*thinpool.Tx) error
	// Measure makes a plan include how much space the removal frees. The pool's
	// metadata is read for it.
	Measure bool
	// Unused removes those of the layers that exist and that nothing needs, and leaves
	// the others. Without it the removal is all or nothing.
	Unused bool
}

// Plan is what a removal would do.
type Plan struct {
	Layers []string          // to be removed, child first
	Inits  []string          // that go with them, keys
	Kept   map[string]string // of the others: layer id -> who needs it
	// Freed is the space that returns to the pool. It is nil if it was not requested or
	// cannot be known; Unmeasured gives the reason. The removal itself reads no
	// metadata.
	Freed      *units.Bytes
	Unmeasured error
}

// volumes returns the names of the volumes, which are the keys of the snapshots. Each
// comes before its parent.
func (p Plan) volumes() []string {
	var names []string
	for _, id := range p.Layers {
		if slices.Contains(p.Inits, id) {
			names = append(names, initVolume(id))
		}
		names = append(names, layerVolume(id))
	}
	return names
}

// PlanRemoval returns what RemoveLayers would remove, and the space that it would free.
func (s *Store) PlanRemoval(ctx context.Context, layers []string, o RemovalOptions) (Plan, error) {
	for n := 1; ; n++ {
		p, err := s.plan(ctx, layers, o)
		if err != nil {
			return Plan{}, failed("plan the removal of", "layers", err)
		}
		if !o.Measure {
			return p, nil
		}
		var freed units.Bytes
		if len(p.Layers) > 0 {
			freed, err = s.pool.Freed(ctx, p.volumes()...)
		}
		switch {
		case err == nil:
			p.Freed = &freed
		case overtaken(err) && n < removalTries:
			continue
		case ctx.Err() != nil:
			return Plan{}, failed("plan the removal of", "layers", err)
		default:
			p.Unmeasured = failed("measure", "layers", err)
		}
		return p, nil
	}
}

// removalTries is how many times a removal makes a new plan after other processes have
// changed the layers.
const removalTries = 10

// plan plans on the present state. Leases of killed processes are removed first.
func (s *Store) plan(ctx context.Context, layers []string, o RemovalOptions) (p Plan, err error) {
	var leased []string
	look := func(tx *thinpool.Tx) (err error) {
		if leased, err = snapshots.LeasedIn(tx); err != nil {
			return err
		}
		p, err = planIn(tx, layers, o)
		return err
	}
	if err := s.pool.View(ctx, look); err != nil || len(leased) == 0 {
		return p, err
	}
	if err := s.snaps.ClearLeases(ctx); err != nil {
		return p, err
	}
	return p, s.pool.View(ctx, look)
}

// planIn plans within a transaction. layers are whole ids.
func planIn(tx *thinpool.Tx, layers []string, o RemovalOptions) (Plan, error) {
	n, err := readNeeds(tx, o.Needed)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Kept: map[string]string{}}
	asked := map[string]bool{}
	for _, id := range layers {
		if _, there := n.layers[id]; there {
			asked[id] = true
		} else if !o.Unused {
			return Plan{}, &Error{Op: "remove", Object: "layer " + short(id), Kind: fault.NotFound}
		}
	}
	for _, id := range n.childFirst(asked) {
		if who := n.who(id, p.Layers); who != "" {
			p.Kept[id] = who
			continue
		}
		p.Layers = append(p.Layers, id)
		if n.inits[id] {
			p.Inits = append(p.Inits, id)
		}
	}
	return p, nil
}

// needs is what needs which layers.
type needs struct {
	layers   map[string]Layer
	children map[string][]string
	inits    map[string]bool // layers that have one
	direct   map[string]string
}

func readNeeds(tx *thinpool.Tx, others func(*thinpool.Tx) (map[string]string, error)) (needs, error) {
	n := needs{
		layers:   map[string]Layer{},
		children: map[string][]string{},
		inits:    map[string]bool{},
		direct:   map[string]string{},
	}
	layers, err := AllIn(tx)
	if err != nil {
		return n, err
	}
	for _, l := range layers {
		n.layers[l.ID] = l
		n.children[l.Parent] = append(n.children[l.Parent], l.ID)
	}
	inits, err := initsIn(tx)
	if err != nil {
		return n, err
	}
	for _, i := range inits {
		n.inits[i.Key] = i.Layer != ""
	}
	leased, err := snapshots.LeasedIn(tx)
	if err != nil {
		return n, err
	}
	for _, id := range leased {
		n.direct[id] = "a load or another operation in progress"
	}
	containers, err := ContainersIn(tx)
	if err != nil {
		return n, err
	}
	for _, c := range containers {
		n.direct[c.Layer] = "container " + c.Name
	}
	if others == nil {
		return n, nil
	}
	more, err := others(tx)
	for id, who := range more {
		n.direct[id] = who
	}
	return n, err
}

// who returns what needs a layer after those in gone are removed.
func (n needs) who(id string, gone []string) string {
	if who := n.direct[id]; who != "" {
		return who
	}
	var children []string
	for _, child := range n.children[id] {
		if !slices.Contains(gone, child) {
			children = append(children, short(child))
		}
	}
	switch len(children) {
	case 0:
		return ""
	case 1:
		return "layer " + children[0]
	}
	return "layers " + strings.Join(children, ", ")
}

// childFirst orders layers so that each layer comes before its parent.
func (n needs) childFirst(asked map[string]bool) []string {
	depth := func(id string) int {
		d := 0
		for at := n.layers[id]; at.Parent != "" && d <= len(n.layers); d++ {
			at = n.layers[at.Parent]
		}
		return d
	}
	type placed struct {
		id    string
		depth int
	}
	var all []placed
	for id := range asked {
		all = append(all, placed{id, depth(id)})
	}
	slices.SortFunc(all, func(a, b placed) int {
		if a.depth != b.depth {
			return b.depth - a.depth
		}
		return strings.Compare(a.id, b.id)
	})
	var ids []string
	for _, p := range all {
		ids = append(ids, p.id)
	}
	return ids
}

// errReplan reports that the layers changed between a plan and its transaction.
var errReplan = errors.New("the layers have changed")

// RemoveLayers removes layers in one transaction: all of them, or with
// RemovalOptions.Unused those that nothing needs. If it returns an error together with
// Removed.Layers, the layers are removed and their blocks are not given back.
func (s *Store) RemoveLayers(ctx context.Context, layers []string, o RemovalOptions) (Removed, error) {
	for n := 1; ; n++ {
		removed, err := s.removeLayers(ctx, layers, o)
		if !errors.Is(err, errReplan) || n == removalTries {
			return removed, failed("remove", "layers", err)
		}
	}
}

func (s *Store) removeLayers(ctx context.Context, layers []string, o RemovalOptions) (Removed, error) {
	planned, err := s.plan(ctx, layers, o)
	if err != nil {
		return Removed{}, err
	}
	if err := planned.refusal(o.Unused); err != nil {
		return Removed{}, err
	}
	// A process that is about to view a layer does not find it, or is found itself.
	unlock, err := s.snaps.LockVolumes(ctx, planned.volumes())
	if err != nil {
		return Removed{}, err
	}
	defer unlock()
	removals, err := s.snaps.RemoveAll(ctx, planned.volumes(), snapshots.RemoveOptions{
		With: func(tx *thinpool.Tx) error { return planned.apply(tx, layers, o) },
	})
	switch {
	case len(removals) == 0 && overtaken(err):
		return Removed{}, errReplan
	case len(removals) == 0 && errors.Is(err, thinpool.ErrOpen):
		return Removed{}, s.busy(ctx, planned, layers, o, err)
	case len(removals) == 0:
		return Removed{}, err
	}
	removed := Removed{Layers: planned.Layers, Inits: planned.Inits}
	removed.count(removals)
	return removed, err
}

// busy returns the error for layers whose device is open. A reader that opened one has
// come to need the layer since the plan was made, if a new plan differs: then it is
// errReplan.
func (s *Store) busy(ctx context.Context, planned Plan, layers []string, o RemovalOptions, err error) error {
	now, planErr := s.plan(ctx, layers, o)
	if planErr == nil && !slices.Equal(now.Layers, planned.Layers) {
		return errReplan
	}
	return errors.Join(heldOpen("remove", "layers", fault.Busy, err), planErr)
}

// refusal returns the error that lists what needs which layers, unless they may stay.
func (p Plan) refusal(unused bool) error {
	if unused || len(p.Kept) == 0 {
		return nil
	}
	var ids []string
	for id := range p.Kept {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var who []string
	for _, id := range ids {
		who = append(who, fmt.Sprintf("layer %s is needed by %s", short(id), p.Kept[id]))
	}
	return &Error{
		Op:     "remove",
		Object: "layers",
		Kind:   fault.Busy,
		Detail: strings.Join(who, "; "),
		Remedy: "remove those first",
	}
}

// apply writes the documents of a removal. It plans again: between plan and transaction
// a layer may have become needed.
func (p Plan) apply(tx *thinpool.Tx, layers []string, o RemovalOptions) error {
	if o.With != nil {
		if err := o.With(tx); err != nil {
			return err
		}
	}
	now, err := planIn(tx, layers, o)
	if errors.Is(err, fault.NotFound) {
		return errReplan
	}
	if err != nil {
		return err
	}
	if err := now.refusal(o.Unused); err != nil {
		return err
	}
	if !slices.Equal(now.Layers, p.Layers) || !slices.Equal(now.Inits, p.Inits) {
		return errReplan
	}
	for _, id := range p.Layers {
		if err := tx.Delete(kindLayers, id); err != nil {
			return err
		}
	}
	return nil
}
